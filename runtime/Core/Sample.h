// A sample of rows that depends on the rows alone.
#ifndef MOE_RUNTIME_CORE_SAMPLE_H
#define MOE_RUNTIME_CORE_SAMPLE_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::rt {

/// hash64(seed, row): with h = seed, for the bits w of each element (f32):
/// `h = (h ^ w) * 0x9e3779b97f4a7c15; h ^= h >> 32`; at the end the finish of
/// SplitMix64, `h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9;
/// h = (h ^ h >> 27) * 0x94d049bb133111eb; h ^= h >> 31`.
uint64_t sampleKey(uint64_t seed, const float *row, int64_t width);

/// Keeps the rows of the smallest keys, each key once: whatever the order of
/// rows and however they are spread over samples, the union is the same.
class Sample {
public:
  static constexpr size_t most = 1024;

  Sample() = default;
  Sample(uint64_t seed, int64_t width) : seed(seed), width(width) {}

  void add(const float *row);

  int64_t size() const { return static_cast<int64_t>(entries.size()); }
  /// Keys, ascending, and `[size, width]` rows in their order.
  void write(std::vector<uint64_t> &keys, std::vector<float> &values) const;

private:
  struct Entry {
    uint64_t key;
    size_t slot; // of `rows`
  };
  uint64_t seed = 0;
  int64_t width = 0;
  std::vector<Entry> entries; // by key
  std::vector<float> rows;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_SAMPLE_H
