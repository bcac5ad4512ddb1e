// Random numbers that are the same everywhere.
#ifndef MOE_RUNTIME_RUNNER_RANDOM_H
#define MOE_RUNTIME_RUNNER_RANDOM_H

#include <cstdint>

namespace moe::rt {

/// SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom
/// number generators", OOPSLA 2014).
class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}

  uint64_t next() {
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  /// Uniform in [0, 1), 53 bits.
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Uniform in [0, n); the bias is below n / 2^64.
  uint64_t below(uint64_t n) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(next()) * n >>
                                 64);
  }

private:
  uint64_t state;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_RANDOM_H
