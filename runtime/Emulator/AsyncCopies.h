// cp.async: the copies that a thread has on their way.
#ifndef MOE_RUNTIME_EMULATOR_ASYNCCOPIES_H
#define MOE_RUNTIME_EMULATOR_ASYNCCOPIES_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::emu {

/// A queue in order of issue. A copy reads its source when it lands.
class AsyncCopies {
public:
  struct Copy {
    uint8_t *to;
    const uint8_t *from;
    uint8_t size;
    uint8_t valid; // bytes that are read; the rest becomes zero
    bool landed;
    uint32_t group;
    const char *site;
  };

  /// At a barrier that counts, once the copies before it are there.
  struct Arrival {
    size_t barrier;  // where in shared memory
    uint64_t copies; // that were issued before it
    const char *site;
  };

  void issue(Copy copy);
  void commit() { ++groups; }
  size_t size() const { return copies.size() - first; }
  void land(size_t index);
  /// Null when none is on its way.
  const Copy *oldest() const { return size() ? &copies[first] : nullptr; }
  /// The oldest copy, landed, if its group is not among the last `pending`
  /// ones. Call until null.
  const Copy *finishOne(uint32_t pending);

  void arriveAfter(size_t barrier, const char *site) {
    arrivals.push_back({barrier, issued, site});
  }
  bool hasArrivals() const { return !arrivals.empty(); }
  void landAll();
  /// The next arrival, if its copies have landed.
  const Arrival *landedArrival() const;
  /// The oldest copy of those. Call until null, then drop the arrival.
  const Copy *finishFor(const Arrival &arrival);
  void dropArrival() { arrivals.erase(arrivals.begin()); }

private:
  std::vector<Copy> copies;
  size_t first = 0; // before it: done
  uint32_t groups = 0;
  uint64_t issued = 0;
  std::vector<Arrival> arrivals;
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_ASYNCCOPIES_H
