#include "runtime/Core/Sample.h"

#include <algorithm>
#include <cstring>

namespace moe::rt {

uint64_t sampleKey(uint64_t seed, const float *row, int64_t width) {
  uint64_t h = seed;
  for (int64_t i = 0; i < width; ++i) {
    uint32_t bits;
    std::memcpy(&bits, row + i, sizeof(bits));
    h = (h ^ bits) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
  }
  h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
  h = (h ^ h >> 27) * 0x94d049bb133111ebu;
  return h ^ h >> 31;
}

void Sample::add(const float *row) {
  uint64_t key = sampleKey(seed, row, width);
  bool full = entries.size() == most;
  if (full && key >= entries.back().key)
    return;
  auto place = std::lower_bound(
      entries.begin(), entries.end(), key,
      [](const Entry &entry, uint64_t key) { return entry.key < key; });
  if (place != entries.end() && place->key == key)
    return;
  size_t at = place - entries.begin();
  size_t slot = entries.size();
  if (full) {
    slot = entries.back().slot;
    entries.pop_back();
  } else {
    rows.resize((slot + 1) * width);
  }
  entries.insert(entries.begin() + at, {key, slot});
  std::copy(row, row + width, rows.begin() + slot * width);
}

void Sample::write(std::vector<uint64_t> &keys,
                   std::vector<float> &values) const {
  keys.clear();
  values.clear();
  values.reserve(entries.size() * width);
  for (const Entry &entry : entries) {
    keys.push_back(entry.key);
    auto row = rows.begin() + entry.slot * width;
    values.insert(values.end(), row, row + width);
  }
}

} // namespace moe::rt
