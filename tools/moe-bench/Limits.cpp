#include "tools/moe-bench/Limits.h"

#include "tools/moe-bench/Timing.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <immintrin.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using namespace moe::bench;

namespace {
constexpr long kSteps = 400000;
volatile float sink;

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

__attribute__((target("avx512f,avx512bf16"))) double dot512() {
  __m512 acc[16];
  __m512bh a = (__m512bh)_mm512_set1_epi16(0x3c00), b = a; // 2^-7
  for (auto &x : acc)
    x = _mm512_setzero_ps();
  for (long i = 0; i < kSteps; ++i) {
#pragma clang loop unroll(full)
    for (int j = 0; j < 16; ++j)
      acc[j] = _mm512_dpbf16_ps(acc[j], a, b);
    asm volatile("" : "+v"(a)); // not a loop of one product
  }
  __m512 sum = acc[0];
  for (int j = 1; j < 16; ++j)
    sum = _mm512_add_ps(sum, acc[j]);
  sink = _mm512_reduce_add_ps(sum);
  return kSteps * 16.0 * 32 * 2;
}

/// `bytes` is a multiple of 512, `memory` of 64.
__attribute__((target("avx512f"))) void read512(const char *memory,
                                                size_t bytes) {
  __m512i sums[8];
  for (auto &s : sums)
    s = _mm512_setzero_si512();
  for (size_t i = 0; i < bytes; i += 512)
#pragma clang loop unroll(full)
    for (int j = 0; j < 8; ++j)
      sums[j] =
          _mm512_xor_si512(sums[j], _mm512_load_si512(memory + i + 64 * j));
  for (int j = 1; j < 8; ++j)
    sums[0] = _mm512_xor_si512(sums[0], sums[j]);
  sink = static_cast<float>(_mm512_reduce_or_epi64(sums[0]));
}

void readWords(const char *memory, size_t bytes) {
  auto *words = reinterpret_cast<const uint64_t *>(memory);
  uint64_t sums[8] = {};
  for (size_t i = 0; i < bytes / 8; i += 8)
    for (int j = 0; j < 8; ++j)
      sums[j] ^= words[i + j];
  for (int j = 1; j < 8; ++j)
    sums[0] ^= sums[j];
  sink = static_cast<float>(sums[0]);
}

/// Work of `body(thread)` on all threads over the time from the first start
/// to the last end. All start together.
template <typename Body>
double rate(int threads, Body body) {
  std::atomic<int> waiting{threads};
  std::vector<double> starts(threads), ends(threads), work(threads);
  auto run = [&](int thread) {
    --waiting;
    while (waiting.load() > 0)
      _mm_pause();
    starts[thread] = seconds();
    work[thread] = body(thread);
    ends[thread] = seconds();
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i)
    others.emplace_back(run, i);
  run(0);
  for (std::thread &other : others)
    other.join();
  double total = 0;
  for (double w : work)
    total += w;
  return total * 1e-9 /
         (*std::max_element(ends.begin(), ends.end()) -
          *std::min_element(starts.begin(), starts.end()));
}

void printLimit(const char *name, const std::vector<double> &rates,
                const char *unit) {
  if (quantile(rates, 1) > 0)
    printf("  %-28s %9.1f  (%.1f .. %.1f) %s\n", name, median(rates),
           quantile(rates, 0.25), quantile(rates, 0.75), unit);
}
} // namespace

double moe::bench::sampleFma(int threads) {
  if (__builtin_cpu_supports("avx512f"))
    return rate(threads, [](int) { return fma512(); });
  if (__builtin_cpu_supports("fma"))
    return rate(threads, [](int) { return fma256(); });
  return 0;
}

double moe::bench::sampleBf16(int threads) {
  return __builtin_cpu_supports("avx512bf16")
             ? rate(threads, [](int) { return dot512(); })
             : 0;
}

double moe::bench::sampleRead(const void *memory, size_t bytes, int threads) {
  bool wide = __builtin_cpu_supports("avx512f");
  size_t part = bytes / threads / 512 * 512;
  return rate(threads, [&](int thread) {
    const char *from = static_cast<const char *>(memory) + thread * part;
    wide ? read512(from, part) : readWords(from, part);
    return static_cast<double>(part);
  });
}

LargeMemory::LargeMemory() {
  // Twice the last cache, of which a virtual machine may say anything.
  size_t cache = std::max<long>(sysconf(_SC_LEVEL3_CACHE_SIZE), 0);
  size_t memory =
      size_t(sysconf(_SC_AVPHYS_PAGES)) * size_t(sysconf(_SC_PAGESIZE));
  size_t mib = size_t(1) << 20;
  size_t wanted = std::min(std::max(2 * cache, 512 * mib), memory / 4);
  wanted = std::max(wanted / mib, size_t(64)) * mib;
  void *mapped = mmap(nullptr, wanted, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    return;
  madvise(mapped, wanted, MADV_HUGEPAGE);
  data = static_cast<char *>(mapped);
  size = wanted;
  auto *words = static_cast<uint64_t *>(mapped);
  for (size_t i = 0; i < size / 8; ++i)
    words[i] = i;
}

LargeMemory::~LargeMemory() {
  if (data)
    munmap(data, size);
}

int moe::bench::runLimits(int threads, int rounds) {
  LargeMemory large;
  constexpr size_t inCache = size_t(512) << 10;
  for (int n = 1; n <= threads; ++n) {
    std::vector<double> fma, bf16, memory, cache;
    for (int round = 0; round < rounds; ++round) {
      fma.push_back(sampleFma(n));
      bf16.push_back(sampleBf16(n));
      if (!large.data)
        continue;
      memory.push_back(sampleRead(large.data, large.size, n));
      cache.push_back(rate(n, [&](int thread) {
        const char *own = large.data + thread * inCache;
        constexpr int turns = 100;
        for (int i = 0; i < turns; ++i)
          __builtin_cpu_supports("avx512f") ? read512(own, inCache)
                                            : readWords(own, inCache);
        return double(turns) * inCache;
      }));
    }
    printf("%d thread%s, medians (quartiles) of %d\n", n, n > 1 ? "s" : "",
           rounds);
    printLimit("f32 multiply-add", fma, "GFLOP/s");
    printLimit("bf16 dot product", bf16, "GFLOP/s");
    printLimit("read from memory", memory, "GB/s");
    printLimit("read of 512 KiB per core", cache, "GB/s");
  }
  return 0;
}

double moe::bench::printMachine(int threads) {
  std::vector<double> fma, read;
  LargeMemory memory;
  for (int i = 0; i < 5; ++i) {
    fma.push_back(sampleFma(threads));
    read.push_back(memory.data ? sampleRead(memory.data, memory.size, threads)
                               : 0);
  }
  printf("%d thread%s; this machine: %.1f GFLOP/s (f32 multiply-add), "
         "%.1f GB/s (plain read)\n",
         threads, threads > 1 ? "s" : "", quantile(fma, 0.75),
         quantile(read, 0.75));
  return quantile(fma, 0.75);
}
