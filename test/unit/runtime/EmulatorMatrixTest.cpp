// Numbers of 16 bits, and products of matrices of them.
#include "runtime/Emulator/Numbers.h"
#include "test/unit/runtime/EmulatorKernels.h"

#include <cmath>
#include <cstring>
#include <limits>

using namespace moe::emu;
using namespace moe::test;
using moe::rt::Status;

namespace {

TEST(Numbers, RoundTripAndRound) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    uint16_t half = static_cast<uint16_t>(bits);
    if (!std::isnan(fromF16(half))) {
      ASSERT_EQ(toF16(fromF16(half)), half);
    }
    if (!std::isnan(fromBf16(half))) {
      ASSERT_EQ(toBf16(fromBf16(half)), half);
    }
  }
  EXPECT_EQ(toBf16(1 + 0x1p-8f), 0x3F80); // ties to even
  EXPECT_EQ(toBf16(1 + 0x3p-8f), 0x3F82);
  EXPECT_EQ(toF16(1 + 0x1p-11f), 0x3C00);
  EXPECT_EQ(toF16(1 + 0x3p-11f), 0x3C02);
  EXPECT_EQ(toF16(65519), 0x7BFF);
  EXPECT_EQ(toF16(65520), 0x7C00);
  EXPECT_EQ(toF16(0x1p-25f), 0);
  EXPECT_EQ(toF16(0x3p-25f), 2);
  EXPECT_TRUE(std::isnan(fromF16(toF16(NAN))));
  EXPECT_TRUE(std::isnan(fromBf16(toBf16(NAN))));
  EXPECT_EQ(fromF16(0x0001), 0x1p-24f);
  EXPECT_EQ(fromF16(0xFC00), -std::numeric_limits<float>::infinity());
}

TEST(Numbers, EveryE4M3Number) {
  for (int code = 0; code < 256; ++code) {
    int exponent = code >> 3 & 15, fraction = code & 7;
    double size = exponent ? std::ldexp(8 + fraction, exponent - 10)
                           : std::ldexp(fraction, -9);
    float number = fromE4M3(static_cast<uint8_t>(code));
    if (code % 128 == 127) {
      EXPECT_TRUE(std::isnan(number)) << code;
      continue;
    }
    EXPECT_EQ(number, code < 128 ? size : -size) << code;
    EXPECT_EQ(toE4M3(number), code);
    if (code % 128 == 126)
      continue;
    // Between two numbers: to the nearer, in the middle to the even one.
    float next = fromE4M3(static_cast<uint8_t>(code + 1));
    float middle = (number + next) / 2;
    EXPECT_EQ(toE4M3(middle), code % 2 ? code + 1 : code) << code;
    EXPECT_EQ(toE4M3(std::nextafter(middle, number)), code) << code;
    EXPECT_EQ(toE4M3(std::nextafter(middle, next)), code + 1) << code;
  }
  EXPECT_EQ(toE4M3(1e30f), 0x7E);
  EXPECT_EQ(toE4M3(-std::numeric_limits<float>::infinity()), 0xFE);
  EXPECT_EQ(toE4M3(1e-30f), 0);
  EXPECT_EQ(toE4M3(NAN), 0x7F);
}

int32_t packed(const uint16_t *numbers, size_t distance = 1) {
  return static_cast<int32_t>(numbers[0] | uint32_t(numbers[distance]) << 16);
}

/// d = a b + c with a 16x16, b 16x8 (row by row), by one warp.
template <int kind>
void multiply(void **arguments) {
  auto *a = static_cast<const uint16_t *>(arguments[0]);
  auto *b = static_cast<const uint16_t *>(arguments[1]);
  auto *c = static_cast<const float *>(arguments[2]);
  auto *d = static_cast<float *>(arguments[3]);
  int32_t g = moegpu_emu_thread_id() / 4, t = moegpu_emu_thread_id() % 4;
  int32_t rows[4], columns[2];
  float in[4], out[4];
  for (int i = 0; i < 4; ++i) {
    rows[i] = packed(a + (g + i % 2 * 8) * 16 + t * 2 + i / 2 * 8);
    in[i] = c[(g + i / 2 * 8) * 8 + t * 2 + i % 2];
  }
  for (int i = 0; i < 2; ++i)
    columns[i] = packed(b + (t * 2 + i * 8) * 8 + g, 8);
  moegpu_emu_mma_m16n8k16(out, rows, columns, in, kind, "mma");
  for (int i = 0; i < 4; ++i)
    store(d + (g + i / 2 * 8) * 8 + t * 2 + i % 2, out[i]);
}

template <int kind>
void checkMultiply(uint16_t (*to)(float), float (*from)(uint16_t)) {
  std::vector<uint16_t> a, b;
  for (float value : randomFloats(16 * 16, 1))
    a.push_back(to(value));
  for (float value : randomFloats(16 * 8, 2))
    b.push_back(to(value));
  std::vector<float> c = randomFloats(16 * 8, 3);
  Device device;
  device.argument("a", a);
  device.argument("b", b);
  device.argument("c", c);
  float *d = device.argument("d", std::vector<float>(16 * 8));
  Status status = device.run(multiply<kind>, {});
  ASSERT_TRUE(status.ok()) << status.message;
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      double sum = c[m * 8 + n];
      for (int k = 0; k < 16; ++k)
        sum += double(from(a[m * 16 + k])) * from(b[k * 8 + n]);
      EXPECT_NEAR(d[m * 8 + n], sum, 2e-6) << m << " " << n;
    }
}

TEST(EmulatorMatrix, MultipliesMatrices) {
  checkMultiply<0>(toBf16, fromBf16);
  checkMultiply<1>(toF16, fromF16);
}

/// The same with a 16x8 and b 8x8 of tf32 numbers.
void multiplyTf32(void **arguments) {
  auto *a = static_cast<const int32_t *>(arguments[0]);
  auto *b = static_cast<const int32_t *>(arguments[1]);
  auto *d = static_cast<float *>(arguments[2]);
  int32_t g = moegpu_emu_thread_id() / 4, t = moegpu_emu_thread_id() % 4;
  int32_t rows[4], columns[2];
  float in[4] = {}, out[4];
  for (int i = 0; i < 4; ++i)
    rows[i] = a[(g + i % 2 * 8) * 8 + t + i / 2 * 4];
  for (int i = 0; i < 2; ++i)
    columns[i] = b[(t + i * 4) * 8 + g];
  moegpu_emu_mma_m16n8k8(out, rows, columns, in, "mma");
  for (int i = 0; i < 4; ++i)
    store(d + (g + i / 2 * 8) * 8 + t * 2 + i % 2, out[i]);
}

TEST(EmulatorMatrix, MultipliesTf32) {
  std::vector<float> a = randomFloats(16 * 8, 1), b = randomFloats(8 * 8, 2);
  Device device;
  device.argument("a", a);
  device.argument("b", b);
  float *d = device.argument("d", std::vector<float>(16 * 8));
  Status status = device.run(multiplyTf32, {});
  ASSERT_TRUE(status.ok()) << status.message;
  // Bits beyond the tenth are cut off.
  auto cut = [](float x) { return double(floatOf(bitsOf(x) & 0xFFFFE000)); };
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      double sum = 0;
      for (int k = 0; k < 8; ++k)
        sum += cut(a[m * 8 + k]) * cut(b[k * 8 + n]);
      EXPECT_NEAR(d[m * 8 + n], sum, 2e-6) << m << " " << n;
    }
}

/// The same with a 16x32 and b 32x8 (column by column) of E4M3 numbers.
void multiplyE4M3(void **arguments) {
  auto *a = static_cast<const uint8_t *>(arguments[0]);
  auto *b = static_cast<const uint8_t *>(arguments[1]);
  auto *d = static_cast<float *>(arguments[2]);
  int32_t g = moegpu_emu_thread_id() / 4, t = moegpu_emu_thread_id() % 4;
  int32_t rows[4], columns[2];
  float in[4] = {1, 2, 3, 4}, out[4];
  for (int i = 0; i < 4; ++i)
    std::memcpy(&rows[i], a + (g + i % 2 * 8) * 32 + t * 4 + i / 2 * 16, 4);
  for (int i = 0; i < 2; ++i)
    std::memcpy(&columns[i], b + g * 32 + t * 4 + i * 16, 4);
  moegpu_emu_mma_m16n8k32(out, rows, columns, in, "mma");
  for (int i = 0; i < 4; ++i)
    store(d + (g + i / 2 * 8) * 8 + t * 2 + i % 2, out[i] - in[i]);
}

TEST(EmulatorMatrix, MultipliesE4M3) {
  std::vector<uint8_t> a, b;
  for (float value : randomFloats(16 * 32, 1))
    a.push_back(toE4M3(value));
  for (float value : randomFloats(8 * 32, 2))
    b.push_back(toE4M3(value));
  Device device;
  device.argument("a", a);
  device.argument("b", b);
  float *d = device.argument("d", std::vector<float>(16 * 8));
  Status status = device.run(multiplyE4M3, {});
  ASSERT_TRUE(status.ok()) << status.message;
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      double sum = 0;
      for (int k = 0; k < 32; ++k)
        sum += double(fromE4M3(a[m * 32 + k])) * fromE4M3(b[n * 32 + k]);
      EXPECT_NEAR(d[m * 8 + n], sum, 1e-5) << m << " " << n;
    }
}

TEST(EmulatorMatrix, NumbersInRegisters) {
  auto rounded = [](float x) {
    return floatOf(static_cast<uint32_t>(moegpu_emu_round_tf32(x)));
  };
  EXPECT_EQ(rounded(1 + 0x1p-11f), 1 + 0x1p-10f); // ties away from zero
  EXPECT_EQ(rounded(-1 - 0x1p-11f), -1 - 0x1p-10f);
  EXPECT_EQ(rounded(1 + 0x1p-12f), 1);
  EXPECT_TRUE(std::isnan(rounded(floatOf(0x7FFFFFFF))));
  EXPECT_EQ(rounded(INFINITY), INFINITY);

  auto pair = [](uint16_t low, uint16_t high) {
    return static_cast<int32_t>(low | uint32_t(high) << 16);
  };
  EXPECT_EQ(moegpu_emu_packed_fma(pair(toF16(3), toF16(-1)),
                                  pair(toF16(2), toF16(0.5f)),
                                  pair(toF16(1), toF16(4)), 1),
            pair(toF16(7), toF16(3.5f)));
  EXPECT_EQ(moegpu_emu_packed_fma(pair(toBf16(136), toBf16(2)),
                                  pair(toBf16(1), toBf16(3)),
                                  pair(toBf16(-128), toBf16(0)), 0),
            pair(toBf16(8), toBf16(6)));
  // Rounded once: a hair above the tie between 1 and the next number.
  EXPECT_EQ(moegpu_emu_packed_fma(toBf16(0x1p-60f), toBf16(1),
                                  toBf16(1 + 0x1p-7f), 0),
            toBf16(1 + 0x1p-7f));
  EXPECT_EQ(toBf16(roundToOdd(1 + 0x1p-8 + 0x1p-40)), 0x3F81);
  EXPECT_EQ(toBf16(roundToOdd(1 + 0x1p-8 - 0x1p-40)), 0x3F80);

  EXPECT_EQ(moegpu_emu_round_e4m3(1, -2, 0.5f, NAN), 0x7F30C038);
  EXPECT_EQ(moegpu_emu_permute_bytes(0x33221100, 0x77665544, 0x0246),
            0x00224466);
}

/// Each lane stores what it gets of four matrices, whose rows are 16 bytes
/// apart: number r * 8 + c of matrix i is 64 i + 8 r + c.
template <bool transposed>
void loadMatrices(void **arguments) {
  int32_t *out = static_cast<int32_t *>(arguments[0]);
  int32_t lane = moegpu_emu_thread_id();
  for (int i = 0; i < 8; ++i)
    store(shared<int16_t>() + lane * 8 + i, static_cast<int16_t>(lane * 8 + i));
  moegpu_emu_barrier(0, 0, "filled");
  int32_t registers[4];
  moegpu_emu_ldmatrix(registers, shared(lane * 16), 4, transposed, "ldmatrix");
  for (int i = 0; i < 4; ++i)
    store(out + lane * 4 + i, registers[i]);
}

TEST(EmulatorMatrix, LoadsMatrices) {
  for (bool transposed : {false, true}) {
    Device device;
    int32_t *out = device.argument("out", std::vector<int32_t>(128));
    Status status = device.run(
        transposed ? loadMatrices<true> : loadMatrices<false>, {1, 32, 512});
    ASSERT_TRUE(status.ok()) << status.message;
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        int g = lane / 4, t = lane % 4 * 2;
        int low = 64 * i + (transposed ? 8 * t + g : 8 * g + t);
        int high = low + (transposed ? 8 : 1);
        EXPECT_EQ(out[lane * 4 + i], low | high << 16) << lane << " " << i;
      }
  }
}

/// y = a b^T with a [32 x 128] and b [16 x 128] in bf16, by 4 warps, each a
/// tile of 16 x 8 of y. Tiles of 32 along k are copied to one of two buffers,
/// 16 bytes at a time to where the row's swizzle says.
void multiplyTiles(void **arguments) {
  auto *a = static_cast<const uint16_t *>(arguments[0]);
  auto *b = static_cast<const uint16_t *>(arguments[1]);
  auto *y = static_cast<float *>(arguments[2]);
  constexpr int32_t k = 128, tile = 32, tiles = k / tile, rows = 32 + 16;
  int32_t thread = moegpu_emu_thread_id();
  int32_t lane = thread % 32, warp = thread / 32;
  // A row is 4 chunks; 8 rows of the same chunk lie in different banks.
  auto place = [&](int32_t buffer, int32_t row, int32_t chunk) {
    int32_t swizzled = chunk ^ (row / 2 % 4);
    return shared<uint16_t>((buffer * rows + row) * 64 + swizzled * 16);
  };
  auto fetch = [&](int32_t step) {
    for (int32_t i = thread; i < rows * 4; i += 128) {
      int32_t row = i / 4, chunk = i % 4;
      const uint16_t *from = row < 32 ? a + row * k : b + (row - 32) * k;
      moegpu_emu_async_copy(place(step % 2, row, chunk),
                            from + step * tile + chunk * 8, 16, 16, "fetch");
    }
    moegpu_emu_async_commit("fetched");
  };
  float sums[4] = {};
  fetch(0);
  for (int32_t step = 0; step < tiles; ++step) {
    moegpu_emu_async_wait(0, "wait");
    moegpu_emu_barrier(0, 0, "landed"); // and the other buffer is free
    if (step + 1 < tiles)
      fetch(step + 1);
    for (int32_t half = 0; half < 2; ++half) {
      int32_t rowsOfA[4], rowsOfB[2];
      moegpu_emu_ldmatrix(
          rowsOfA,
          place(step % 2, warp / 2 * 16 + lane % 16, half * 2 + lane / 16), 4,
          0, "load a");
      moegpu_emu_ldmatrix(rowsOfB,
                          place(step % 2, 32 + warp % 2 * 8 + lane % 8,
                                half * 2 + lane / 8 % 2),
                          2, 0, "load b");
      moegpu_emu_mma_m16n8k16(sums, rowsOfA, rowsOfB, sums, 0, "mma");
    }
  }
  for (int32_t i = 0; i < 4; ++i)
    store(y + (warp / 2 * 16 + lane / 4 + i / 2 * 8) * 16 + warp % 2 * 8 +
              lane % 4 * 2 + i % 2,
          sums[i], "store y");
}

TEST(EmulatorMatrix, MultipliesTiles) {
  auto toBf16s = [](const std::vector<float> &values) {
    std::vector<uint16_t> bits;
    for (float value : values)
      bits.push_back(toBf16(value));
    return bits;
  };
  std::vector<uint16_t> a = toBf16s(randomFloats(32 * 128, 1));
  std::vector<uint16_t> b = toBf16s(randomFloats(16 * 128, 2));
  for (Options options : schedules()) {
    SCOPED_TRACE(describe(options));
    options.count = true;
    Device device;
    device.argument("a", a);
    device.argument("b", b);
    float *y = device.argument("y", std::vector<float>(32 * 16));
    Counts counts;
    Status status =
        device.run(multiplyTiles, {1, 128, 2 * 48 * 64}, options, &counts);
    ASSERT_TRUE(status.ok()) << status.message;
    for (int m = 0; m < 32; ++m)
      for (int n = 0; n < 16; ++n) {
        double sum = 0;
        for (int k = 0; k < 128; ++k)
          sum += double(fromBf16(a[m * 128 + k])) * fromBf16(b[n * 128 + k]);
        ASSERT_NEAR(y[m * 16 + n], sum, 1e-5) << m << " " << n;
      }
    EXPECT_EQ(counts.find("mma")->mma, 4 * 8u);
    for (const char *site : {"fetch", "load a", "load b"})
      EXPECT_EQ(counts.find(site)->bankConflicts, 0u) << site;
    EXPECT_EQ(counts.find("fetch")->global.bytesRead, 48 * 128 * 2u);
    EXPECT_EQ(counts.find("fetch")->sectors, 48 * 128 * 2 / 32u);
  }
}

} // namespace
