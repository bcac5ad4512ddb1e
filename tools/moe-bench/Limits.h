// What this machine can do at most: loops without anything to wait for.
#ifndef MOE_TOOLS_MOEBENCH_LIMITS_H
#define MOE_TOOLS_MOEBENCH_LIMITS_H

#include <cstddef>

namespace moe::bench {

/// One sample, about a millisecond: independent f32 FMAs on `threads` cores at
/// once in GFLOP/s, in 512-bit vectors where the machine has them, else 256.
/// 0 without FMA.
double sampleFma(int threads);

/// The same for products of bf16 pairs (AVX512_BF16); 0 without them.
double sampleBf16(int threads);

/// GB/s of `threads` cores reading `bytes` bytes at `memory`, each its part.
double sampleRead(const void *memory, size_t bytes, int threads);

/// Memory too large for the caches, on huge pages, touched; unmapped at the
/// end. Null data when it cannot be had.
class LargeMemory {
public:
  LargeMemory();
  ~LargeMemory();
  LargeMemory(const LargeMemory &) = delete;
  LargeMemory &operator=(const LargeMemory &) = delete;
  char *data = nullptr;
  size_t size = 0;
};

/// Prints the limits for 1 to `threads` threads: medians and quartiles of
/// `rounds` samples of each, taken in turn.
int runLimits(int threads, int rounds);

/// The machine in one line, so that times of two runs can be compared; returns
/// its GFLOP/s.
double printMachine(int threads);

} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_LIMITS_H
