// Threads of a block that can go on.
#ifndef MOE_RUNTIME_EMULATOR_READYTHREADS_H
#define MOE_RUNTIME_EMULATOR_READYTHREADS_H

#include "runtime/Runner/Random.h"

#include <utility>
#include <vector>

namespace moe::emu {

/// A ring; each thread is in it at most once. Takes them as they came, or any.
class ReadyThreads {
public:
  void start(uint32_t threads) {
    size_t size = 1;
    while (size < threads)
      size *= 2;
    ring.resize(size);
    mask = size - 1;
    first = count = 0;
  }
  bool empty() const { return count == 0; }
  void add(uint32_t thread) { at(count++) = static_cast<uint16_t>(thread); }
  uint32_t take() {
    uint32_t thread = at(0);
    ++first;
    --count;
    return thread;
  }
  uint32_t takeAny(rt::Random &random) {
    std::swap(at(0), at(random.below(count)));
    return take();
  }

private:
  uint16_t &at(size_t index) { return ring[(first + index) & mask]; }

  std::vector<uint16_t> ring;
  size_t mask = 0;
  size_t first = 0;
  size_t count = 0;
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_READYTHREADS_H
