#include "tools/moe-bench/Limits.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <immintrin.h>
#include <sys/mman.h>
#include <vector>

namespace {
constexpr long kSteps = 400000;
volatile float sink;

double seconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Sixteen chains hide the latency of two FMA units.
__attribute__((target("avx512f"))) double fma512() {
  __m512 acc[16], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (auto &x : acc)
    x = b;
  for (long i = 0; i < kSteps; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < 16; ++j)
      acc[j] = _mm512_fmadd_ps(acc[j], a, b);
  __m512 sum = acc[0];
  for (int j = 1; j < 16; ++j)
    sum = _mm512_add_ps(sum, acc[j]);
  sink = _mm512_reduce_add_ps(sum);
  return kSteps * 16.0 * 16 * 2;
}

__attribute__((target("avx2,fma"))) double fma256() {
  __m256 acc[12], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (auto &x : acc)
    x = b;
  for (long i = 0; i < kSteps; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; ++j)
      acc[j] = _mm256_fmadd_ps(acc[j], a, b);
  float out[8];
  __m256 sum = acc[0];
  for (int j = 1; j < 12; ++j)
    sum = _mm256_add_ps(sum, acc[j]);
  _mm256_storeu_ps(out, sum);
  sink = out[0];
  return kSteps * 12.0 * 8 * 2;
}

double upperQuartile(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() * 3 / 4];
}
} // namespace

double moe::bench::measureFmaPeak() {
  bool wide = __builtin_cpu_supports("avx512f");
  if (!wide && !__builtin_cpu_supports("fma"))
    return 0;
  std::vector<double> rates;
  for (int i = 0; i < 12; ++i) {
    double start = seconds();
    double work = wide ? fma512() : fma256();
    rates.push_back(work / (seconds() - start) * 1e-9);
  }
  return upperQuartile(rates);
}

double moe::bench::measureReadBandwidth() {
  constexpr size_t size = size_t(256) << 20;
  void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return 0;
  madvise(memory, size, MADV_HUGEPAGE);
  auto *words = static_cast<uint64_t *>(memory);
  for (size_t i = 0; i < size / 8; ++i)
    words[i] = i;
  std::vector<double> rates;
  for (int run = 0; run < 8; ++run) {
    double start = seconds();
    uint64_t sums[8] = {};
    for (size_t i = 0; i < size / 8; i += 8)
      for (int j = 0; j < 8; ++j)
        sums[j] += words[i + j];
    sink = static_cast<float>(sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^
                              sums[5] ^ sums[6] ^ sums[7]);
    rates.push_back(size / (seconds() - start) * 1e-9);
  }
  munmap(memory, size);
  return upperQuartile(rates);
}
