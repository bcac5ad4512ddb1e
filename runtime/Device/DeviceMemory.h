// Memory of a device that runs take and give back.
#ifndef MOE_RUNTIME_DEVICE_DEVICEMEMORY_H
#define MOE_RUNTIME_DEVICE_DEVICEMEMORY_H

#include "runtime/Device/LaunchQueue.h"

#include <map>

namespace moe::rt {

inline CuPointer addressOf(const void *memory) {
  return reinterpret_cast<CuPointer>(memory);
}

/// Asking the driver waits for the device, so what is given back is kept for
/// the next that wants as much. All work is in one stream: what was launched
/// before memory was given back is done before its next owner's.
class DeviceMemory {
public:
  DeviceMemory(Device &device, LaunchQueue &queue)
      : device(device), queue(queue) {}

  /// Memory to keep. Without room, what nobody has is returned to the driver
  /// first.
  Result<DeviceBuffer> allocate(uint64_t bytes, std::string name);
  /// Memory to give back.
  Result<CuPointer> take(uint64_t bytes, const char *name);
  void give(CuPointer address);
  /// What `address` is in; null where it is in nothing.
  const DeviceBuffer *find(CuPointer address) const;

private:
  Device &device;
  LaunchQueue &queue;
  std::map<CuPointer, DeviceBuffer> taken;
  /// By size and then address: runs that ask for the same get the same, so that
  /// their launches are the same.
  std::map<std::pair<uint64_t, CuPointer>, DeviceBuffer> spare;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_DEVICEMEMORY_H
