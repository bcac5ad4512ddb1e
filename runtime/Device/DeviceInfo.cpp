// What the driver says of its devices.
#include "runtime/Core/Text.h"
#include "runtime/Device/Device.h"

namespace moe::rt {

std::string DeviceInfo::text() const {
  return rt::text("device ", ordinal, " (", printable(name), ")");
}

std::string describeDevice(const DeviceInfo &info) {
  return text(info.ordinal, ": ", printable(info.name), ", compute capability ",
              info.major, ".", info.minor, ", ",
              bytesText(static_cast<double>(info.memory)), ", ",
              info.multiprocessors, " multiprocessors");
}

Result<std::vector<DeviceInfo>> listDevices(const Driver &driver) {
  int count = 0;
  if (CuResult result = driver.deviceGetCount(&count))
    return {Code::Unsupported,
            text("cannot count the CUDA devices: ", errorText(driver, result))};
  std::vector<DeviceInfo> devices;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    DeviceInfo info;
    info.ordinal = ordinal;
    CuDevice device = 0;
    char name[256] = {};
    size_t memory = 0;
    int multiprocessors = 0, threads = 0, shared = 0, mode = 0;
    CuResult result = driver.deviceGet(&device, ordinal);
    if (!result)
      result = driver.deviceGetName(name, sizeof(name) - 1, device);
    if (!result)
      result = driver.deviceTotalMem(&memory, device);
    struct {
      CuDeviceAttribute attribute;
      int *value;
    } const wanted[] = {{CuCapabilityMajor, &info.major},
                        {CuCapabilityMinor, &info.minor},
                        {CuNumMultiprocessors, &multiprocessors},
                        {CuMaxThreadsPerBlock, &threads},
                        {CuMaxSharedBytesPerBlockOptIn, &shared},
                        {CuComputeMode, &mode}};
    for (const auto &[attribute, value] : wanted)
      if (!result)
        result = driver.deviceGetAttribute(value, attribute, device);
    if (result)
      return {Code::Unsupported,
              text("cannot ask CUDA device ", ordinal,
                   " what it is: ", errorText(driver, result))};
    info.name = name;
    info.memory = memory;
    info.multiprocessors = static_cast<uint32_t>(multiprocessors);
    info.maxThreads = static_cast<uint32_t>(threads);
    info.maxSharedBytes = static_cast<uint64_t>(shared);
    info.prohibited = mode == CuComputeModeProhibited;
    devices.push_back(std::move(info));
  }
  return devices;
}

} // namespace moe::rt
