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
} // namespace

static float half(int32_t pair, uint32_t which, bool isF16) {
  uint16_t bits =
      static_cast<uint16_t>(static_cast<uint32_t>(pair) >> 16 * which);
  return isF16 ? fromF16(bits) : fromBf16(bits);
}

/// The tensor core takes no notice of the last bits.
static float tf32(int32_t bits) {
  return floatOf(static_cast<uint32_t>(bits) & 0xFFFFE000);
}

namespace {
/// A warp's fragments, row by row, of numbers of one kind.
struct WarpProduct {
  float a[16][32], b[32][8], sums[16][8];
  int depth;

  explicit WarpProduct(int32_t kind)
      : depth(kind == 2   ? 8
              : kind == 3 ? 32
                          : 16),
        kind(kind) {}

  void take(uint32_t lane, const Mma &one) {
    uint32_t g = lane / 4, t = lane % 4;
    uint32_t each = static_cast<uint32_t>(depth) / 8; // numbers of a register
    for (uint32_t n = 0; n < each; ++n) {
      for (uint32_t i = 0; i < 4; ++i)
        a[g + 8 * (i & 1)][each * (t + 4 * (i >> 1)) + n] = number(one.a[i], n);
      for (uint32_t i = 0; i < 2; ++i)
        b[each * (t + 4 * i) + n][g] = number(one.b[i], n);
    }
    for (uint32_t i = 0; i < 4; ++i)
      sums[g + 8 * (i >> 1)][2 * t + (i & 1)] = one.c[i];
  }
  /// Products of two such numbers are exact in f32.
  void multiply() {
    for (int m = 0; m < 16; ++m)
      for (int k = 0; k < depth; ++k)
        for (int n = 0; n < 8; ++n)
          sums[m][n] += a[m][k] * b[k][n];
  }

private:
  float number(int32_t bits, uint32_t n) const {
    return kind == 2   ? tf32(bits)
           : kind == 3 ? fromE4M3(static_cast<uint8_t>(
                             static_cast<uint32_t>(bits) >> 8 * n))
                       : half(bits, n, kind == 1);
  }
  int32_t kind;
};
} // namespace

void Multiprocessor::mma(float *d, const int32_t *a, const int32_t *b,
                         const float *c, int32_t kind, const char *site) {
  if (kind < 0 || kind > 3)
    fail(site, text("multiplies matrices of kind ", kind,
                    "; there are kinds 0 (bf16), 1 (f16), 2 (tf32) and 3 "
                    "(e4m3)"));
  Mma mine = {d, a, b, c};
  if (!meet({Act::Mma, site}, &mine))
    return;
  WarpProduct product(kind);
  for (uint32_t lane = 0; lane < warpSize; ++lane)
    product.take(lane, deposit<Mma>(lane));
  product.multiply();
  for (uint32_t lane = 0; lane < warpSize; ++lane)
    for (uint32_t i = 0; i < 4; ++i)
      deposit<Mma>(lane).d[i] =
          product.sums[lane / 4 + 8 * (i >> 1)][lane % 4 * 2 + (i & 1)];
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
