// Where a model runs: what `--device` says, and what the machine has.
#ifndef MOE_RUNTIME_DEVICE_DEVICECHOICE_H
#define MOE_RUNTIME_DEVICE_DEVICECHOICE_H

#include "runtime/Device/Device.h"

#include <string_view>

namespace moe::rt {

struct DeviceRequest {
  enum Kind { Auto, Cpu, Cuda };
  Kind kind = Auto;
  int ordinal = -1; // of Cuda; -1: the first that is usable
};

/// "auto", "cpu", "cuda" or "cuda:N".
Result<DeviceRequest> parseDevice(std::string_view value);

/// What kernels need at least.
struct DeviceNeeds {
  int major = 8, minor = 0; // compute capability
};

struct DeviceChoice {
  std::unique_ptr<Device> device; // none: the CPU
  std::string reason;             // for -v: "CPU: no NVIDIA driver: ..."
};

/// Opens the first usable GPU, or the one asked for. Only Auto falls back to
/// the CPU; then the reason says why. With Cpu no driver is looked for.
Result<DeviceChoice>
chooseDevice(const DeviceRequest &request, const DeviceNeeds &needs = {},
             Result<const Driver *> (*load)() = loadDriver);

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_DEVICECHOICE_H
