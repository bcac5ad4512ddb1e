#include "runtime/Device/DeviceMemory.h"

namespace moe::rt {

/// Sizes of a growing sequence are few: steps of an eighth.
static uint64_t rounded(uint64_t bytes) {
  uint64_t step = 256;
  while (step * 8 < bytes)
    step *= 2;
  return (std::max<uint64_t>(bytes, 1) + step - 1) / step * step;
}

Result<DeviceBuffer> DeviceMemory::allocate(uint64_t bytes, std::string name) {
  auto made = device.allocate(bytes, name);
  if (made || made.error().code != Code::OutOfMemory || spare.empty())
    return made;
  // What waits to be launched may use it.
  if (Status status = queue.flush(); !status.ok())
    return status;
  spare.clear();
  return device.allocate(bytes, std::move(name));
}

Result<CuPointer> DeviceMemory::take(uint64_t bytes, const char *name) {
  uint64_t wanted = rounded(bytes);
  DeviceBuffer buffer;
  auto found = spare.lower_bound({wanted, 0});
  if (found != spare.end() && found->first.first <= wanted + wanted / 4) {
    buffer = std::move(found->second);
    spare.erase(found);
  } else {
    auto made = allocate(wanted, name);
    if (!made)
      return made.error();
    buffer = std::move(*made);
  }
  CuPointer address = buffer.pointer();
  taken.emplace(address, std::move(buffer));
  return address;
}

void DeviceMemory::give(CuPointer address) {
  auto found = taken.find(address);
  if (found == taken.end())
    return;
  uint64_t size = found->second.size();
  spare.emplace(std::pair(size, address), std::move(found->second));
  taken.erase(found);
}

const DeviceBuffer *DeviceMemory::find(CuPointer address) const {
  auto after = taken.upper_bound(address);
  if (after == taken.begin())
    return nullptr;
  const DeviceBuffer &buffer = std::prev(after)->second;
  return address - buffer.pointer() < buffer.size() ? &buffer : nullptr;
}

} // namespace moe::rt
