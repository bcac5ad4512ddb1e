#ifndef MOE_CODEGEN_CUDA_GPU_H
#define MOE_CODEGEN_CUDA_GPU_H

#include <cstdint>

namespace moe::cuda {
/// What a GPU can do, as far as the cost model asks. Every number stands here
/// and nowhere else, with where it is from; none was fitted to a kernel of
/// ours.
///
/// [L] is Luo et al., "Dissecting the NVIDIA Hopper Architecture through
/// Microbenchmarking and Multiple Level Analysis", arXiv 2501.12084, tables 3
/// to 5, 8, 9 and section 6.2, on an H800 PCIe (the same multiprocessor, 114 of
/// them), as a public survey quotes it; the paper was not at hand.
struct Gpu {
  const char *name = "NVIDIA H200";
  int64_t multiprocessors = 132;
  /// Of multiprocessors under load; the clock at which a dense product of the
  /// tensor cores falls to `tensor` is lower (see `wgmmaClock`).
  double clock = 1.755e9;

  /// Bytes per second. Measured on an H200: a large copy, read and written.
  double memory = 4.3e12;
  /// From L2 to all multiprocessors by loads and cp.async: 4472 bytes per clock
  /// in [L].
  double l2 = 4472 * 1.755e9;
  /// The same by bulk copies (TMA): the 6150 bytes per clock that DeepGEMM's
  /// own model of Hopper counts on. Not measured.
  double l2Bulk = 6150 * 1.755e9;
  int64_t l2Bytes = 60 << 20;
  /// Of the 256 KB of a multiprocessor, where kernels want little shared
  /// memory.
  int64_t l1Bytes = 192 << 10;

  /// Multiply-adds of bf16, two operations each, per second. Measured on H200s:
  /// products of 8192^3 random numbers, at the power limit.
  double tensor = 790e12;
  /// The share that mma.sync reaches. In [L] 62.9 % of the peak on average,
  /// where wgmma reaches more than 95 %; taken of `tensor` here, which is on
  /// the slow side.
  double mmaShare = 0.629;
  /// Operations per clock and multiprocessor of wgmma, by its latency in [L]:
  /// m64n256k16 in 128 clocks.
  double wgmmaPerClock = 4096;

  /// Bytes per clock and multiprocessor to and from shared memory; results of
  /// special functions; lanes of all schedulers.
  double sharedPerClock = 128, specialPerClock = 16, lanesPerClock = 128;
  int64_t registers = 65536, sharedBytes = 227 << 10;

  /// Clocks until a load returns, unloaded: [L]. L2 is between 258, in the near
  /// half, and 414.
  double memoryLatency = 656, l2Latency = 336, l1Latency = 32,
         sharedLatency = 29;
  /// Seconds between the end of a kernel and the first work of the next one in
  /// a stream that is kept full. An assumption; not measured.
  double kernelGap = 1.5e-6;

  /// Whether bytes that are read again later do not come from memory then: half
  /// of L2 is for the rest.
  bool staysInL2(double bytes) const {
    return bytes <= static_cast<double>(l2Bytes) / 2;
  }

  /// The clock that is left where tensor cores are busy all the time.
  double wgmmaClock() const {
    return tensor / (static_cast<double>(multiprocessors) * wgmmaPerClock);
  }
};

/// Clocks of a wgmma m64nNk16 that reads both operands from shared memory: [L],
/// table 9. Below n = 64 its operands cannot be read as fast.
inline double wgmmaClocks(int64_t n) {
  return n <= 8 ? 18 : n <= 16 ? 20 : n <= 32 ? 24 : static_cast<double>(n) / 2;
}
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_GPU_H
