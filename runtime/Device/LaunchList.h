// Launches with their arguments.
#ifndef MOE_RUNTIME_DEVICE_LAUNCHLIST_H
#define MOE_RUNTIME_DEVICE_LAUNCHLIST_H

#include "runtime/Device/Kernels.h"

#include <vector>

namespace moe::rt {

/// Launches of kernels whose parameters are known, with copies of what these
/// were given.
class LaunchList {
public:
  void add(const Kernel &kernel, uint32_t blocks, void *const *arguments);
  void clear();
  size_t size() const { return launches.size(); }

  struct Entry {
    const Kernel *kernel;
    uint32_t blocks;
    std::vector<void *> arguments; // into the list
  };
  Entry operator[](size_t i) const;
  const Kernel &kernel(size_t i) const { return *launches[i].kernel; }

  /// Of kernels and blocks, not of arguments.
  uint64_t hash() const;
  bool hasShapeOf(const LaunchList &other) const;
  /// Of launch `i` of lists of one shape.
  bool hasArgumentsOf(const LaunchList &other, size_t i) const;

private:
  struct Launch {
    const Kernel *kernel;
    uint32_t blocks;
    size_t begin; // of its arguments
  };
  // What a tensor map is aligned to.
  struct alignas(64) Line {
    char bytes[64];
  };
  size_t end(size_t i) const {
    return i + 1 < launches.size() ? launches[i + 1].begin : numBytes;
  }
  const char *bytes() const { return lines.data()->bytes; }

  std::vector<Launch> launches;
  std::vector<Line> lines;
  size_t numBytes = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_LAUNCHLIST_H
