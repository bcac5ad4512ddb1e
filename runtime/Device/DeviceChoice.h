// Where a model runs: what `--device` says, and what the machine has.
#ifndef MOE_RUNTIME_DEVICE_DEVICECHOICE_H
#define MOE_RUNTIME_DEVICE_DEVICECHOICE_H

#include "runtime/Core/DeviceRequest.h"
#include "runtime/Device/Device.h"

#include <functional>

namespace moe::rt {

/// What kernels need at least.
struct DeviceNeeds {
  int major = 8, minor = 0; // compute capability
  std::string_view ptx;     // what is to run there, if known
  std::string_view cubin;   // the architecture of one that is there, too
  /// Whether the caller has the device already, so that it is not opened again;
  /// may be empty. Its reason for no is not asked for.
  std::function<bool(const DeviceInfo &)> isOpen;
  /// What the caller does with a device before it is chosen; may be empty. One
  /// with which that fails is none for it.
  std::function<Status(std::unique_ptr<Device> &)> prepare;
};

struct DeviceChoice {
  /// None: the CPU, or what isOpen() found, or prepare() took.
  std::unique_ptr<Device> device;
  int ordinal = -1;   // of the device; -1: the CPU
  std::string reason; // for -v: "CPU: no NVIDIA driver: ..."
};

/// Opens the first usable GPU, or the one asked for. Only Auto falls back to
/// the CPU; then the reason says why. With Cpu no driver is looked for.
Result<DeviceChoice>
chooseDevice(const DeviceRequest &request, const DeviceNeeds &needs = {},
             const std::function<Result<const Driver *>()> &load = loadDriver);

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_DEVICECHOICE_H
