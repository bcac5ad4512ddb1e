// mma.sync and ldmatrix. Fragments lie in registers as the PTX manual says:
// with g = lane / 4 and t = lane % 4, register i of an operand of 16-bit
// numbers holds row g (+ 8) and columns 2t, 2t + 1 (+ 8), one of tf32 numbers
// row g (+ 8) and column t (+ 4), one of E4M3 numbers row g (+ 8) and columns
// 4t to 4t + 3 (+ 16).
#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"
#include "runtime/Emulator/Numbers.h"

#include <cstring>

namespace moe::emu {

using rt::text;

namespace {
struct Mma {
  float *d;
  const int32_t *a;
  const int32_t *b;
  const float *c;
};

struct Ldmatrix {
  int32_t *registers;
  uint8_t *row;
};

/// Operands and sums, row by row.
struct Tile {
  float a[16][32], b[32][8], sums[16][8];
};
} // namespace

template <bool isF16>
static float half(int32_t pair, uint32_t which) {
  uint16_t bits =
      static_cast<uint16_t>(static_cast<uint32_t>(pair) >> 16 * which);
  return isF16 ? fromF16(bits) : fromBf16(bits);
}

/// The tensor core takes no notice of the last bits.
static float tf32(int32_t bits) {
  return floatOf(static_cast<uint32_t>(bits) & 0xFFFFE000);
}

static void placeTf32(Tile &tile, const Mma &one, uint32_t g, uint32_t t) {
  for (uint32_t i = 0; i < 4; ++i)
    tile.a[g + 8 * (i & 1)][t + 4 * (i >> 1)] = tf32(one.a[i]);
  for (uint32_t i = 0; i < 2; ++i)
    tile.b[t + 4 * i][g] = tf32(one.b[i]);
}

template <bool isF16>
static void placeHalves(Tile &tile, const Mma &one, uint32_t g, uint32_t t) {
  for (uint32_t which = 0; which < 2; ++which) {
    for (uint32_t i = 0; i < 4; ++i)
      tile.a[g + 8 * (i & 1)][2 * t + which + 8 * (i >> 1)] =
          half<isF16>(one.a[i], which);
    for (uint32_t i = 0; i < 2; ++i)
      tile.b[2 * t + which + 8 * i][g] = half<isF16>(one.b[i], which);
  }
}

static void placeE4M3(Tile &tile, const Mma &one, uint32_t g, uint32_t t) {
  auto number = [](int32_t four, uint32_t n) {
    return fromE4M3(static_cast<uint8_t>(static_cast<uint32_t>(four) >> 8 * n));
  };
  for (uint32_t n = 0; n < 4; ++n) {
    for (uint32_t i = 0; i < 4; ++i)
      tile.a[g + 8 * (i & 1)][4 * t + n + 16 * (i >> 1)] = number(one.a[i], n);
    for (uint32_t i = 0; i < 2; ++i)
      tile.b[4 * t + n + 16 * i][g] = number(one.b[i], n);
  }
}

/// Products of two such numbers are exact in f32, so fusing changes nothing.
#ifdef __x86_64__
__attribute__((target_clones("avx2", "default")))
#endif
static void multiply(Tile &tile, int depth) {
  for (int m = 0; m < 16; ++m) {
    float row[8];
    std::memcpy(row, tile.sums[m], sizeof row);
    for (int k = 0; k < depth; ++k)
      for (int n = 0; n < 8; ++n)
        row[n] += tile.a[m][k] * tile.b[k][n];
    std::memcpy(tile.sums[m], row, sizeof row);
  }
}

void Multiprocessor::mma(float *d, const int32_t *a, const int32_t *b,
                         const float *c, int32_t kind, const char *site) {
  if (kind < 0 || kind > 3)
    fail(site, text("multiplies matrices of kind ", kind,
                    "; there are kinds 0 (bf16), 1 (f16), 2 (tf32) and 3 "
                    "(e4m3)"));
  Mma mine = {d, a, b, c};
  if (!meet({Act::Mma, site}, &mine))
    return;
  Tile tile;
  auto *place = kind == 3   ? placeE4M3
                : kind == 2 ? placeTf32
                : kind == 1 ? placeHalves<true>
                            : placeHalves<false>;
  for (uint32_t lane = 0; lane < warpSize; ++lane) {
    const Mma &one = deposit<Mma>(lane);
    uint32_t g = lane / 4, t = lane % 4;
    place(tile, one, g, t);
    for (uint32_t i = 0; i < 4; ++i)
      tile.sums[g + 8 * (i >> 1)][2 * t + (i & 1)] = one.c[i];
  }
  multiply(tile, kind == 3 ? 32 : kind == 2 ? 8 : 16);
  for (uint32_t lane = 0; lane < warpSize; ++lane)
    for (uint32_t i = 0; i < 4; ++i)
      deposit<Mma>(lane).d[i] =
          tile.sums[lane / 4 + 8 * (i >> 1)][lane % 4 * 2 + (i & 1)];
  if (counter)
    counter->mma(site);
  dismiss(thread / warpSize);
}

void Multiprocessor::ldmatrix(int32_t *registers, void *row, int32_t count,
                              bool transposed, const char *site) {
  if (count != 1 && count != 2 && count != 4)
    fail(site, text("loads ", count, " matrices; it takes 1, 2 or 4"));
  // Only the first 8 lanes of each matrix give a row.
  if (static_cast<int32_t>(thread % warpSize) < 8 * count) {
    const char *verb = "reads (as a row of a matrix)";
    if (!isShared(row))
      fail(site, text(verb, " 16 bytes of global memory; the matrix must lie "
                            "in shared memory"));
    failIfFound(shadow.read(sharedAccess(row, 16, verb, site)), site);
  }
  Ldmatrix mine = {registers, static_cast<uint8_t *>(row)};
  if (!meet({Act::Ldmatrix, site}, &mine))
    return;
  for (uint32_t matrix = 0; matrix < static_cast<uint32_t>(count); ++matrix) {
    uint16_t numbers[8][8];
    for (uint32_t r = 0; r < 8; ++r)
      std::memcpy(numbers[r], deposit<Ldmatrix>(8 * matrix + r).row, 16);
    for (uint32_t lane = 0; lane < warpSize; ++lane) {
      uint32_t g = lane / 4, t = lane % 4;
      uint32_t low = transposed ? numbers[2 * t][g] : numbers[g][2 * t];
      uint32_t high =
          transposed ? numbers[2 * t + 1][g] : numbers[g][2 * t + 1];
      deposit<Ldmatrix>(lane).registers[matrix] =
          static_cast<int32_t>(low | high << 16);
    }
  }
  if (counter) {
    Request request;
    for (uint32_t i = 0; i < 8 * static_cast<uint32_t>(count); ++i)
      request.set(i, reinterpret_cast<uintptr_t>(deposit<Ldmatrix>(i).row), 16);
    counter->request(site, Counter::Shared, request, Counter::Read);
  }
  dismiss(thread / warpSize);
}

} // namespace moe::emu
