#include "runtime/Device/LaunchList.h"

#include <cstring>

namespace moe::rt {
namespace {

/// Where an argument of `bytes` goes that may begin at `place`.
size_t alignedFor(size_t place, uint32_t bytes) {
  size_t alignment = bytes >= 64 ? 64 : 8;
  return (place + alignment - 1) / alignment * alignment;
}

} // namespace

void LaunchList::add(const Kernel &kernel, uint32_t blocks,
                     void *const *arguments) {
  launches.push_back({&kernel, blocks, numBytes});
  for (size_t i = 0; i < kernel.parameterBytes.size(); ++i) {
    uint32_t size = kernel.parameterBytes[i];
    size_t place = alignedFor(numBytes, size);
    // What lies between arguments is compared, too.
    if (lines.size() * sizeof(Line) < place + size)
      lines.resize((place + size) / sizeof(Line) + 1, Line{});
    char *all = lines.data()->bytes;
    std::memset(all + numBytes, 0, place - numBytes);
    std::memcpy(all + place, arguments[i], size);
    numBytes = place + size;
  }
}

void LaunchList::clear() {
  launches.clear();
  numBytes = 0;
}

LaunchList::Entry LaunchList::operator[](size_t i) const {
  const Launch &launch = launches[i];
  Entry entry = {launch.kernel, launch.blocks, {}};
  size_t place = launch.begin;
  for (uint32_t size : launch.kernel->parameterBytes) {
    place = alignedFor(place, size);
    // The driver reads them.
    entry.arguments.push_back(const_cast<char *>(bytes() + place));
    place += size;
  }
  return entry;
}

uint64_t LaunchList::hash() const {
  uint64_t sum = launches.size();
  for (const Launch &launch : launches) {
    sum ^= reinterpret_cast<uintptr_t>(launch.kernel->function) +
           launch.blocks * uint64_t(0x9e3779b97f4a7c15);
    sum *= 0x100000001b3; // as FNV-1a does
  }
  return sum;
}

bool LaunchList::hasShapeOf(const LaunchList &other) const {
  if (size() != other.size())
    return false;
  for (size_t i = 0; i < size(); ++i)
    if (launches[i].kernel != other.launches[i].kernel ||
        launches[i].blocks != other.launches[i].blocks)
      return false;
  return true;
}

bool LaunchList::hasArgumentsOf(const LaunchList &other, size_t i) const {
  // Places follow from the kernels before, so they are the same.
  size_t begin = launches[i].begin;
  return begin == end(i) || std::memcmp(bytes() + begin, other.bytes() + begin,
                                        end(i) - begin) == 0;
}

} // namespace moe::rt
