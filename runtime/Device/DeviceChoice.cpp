#include "runtime/Device/DeviceChoice.h"

#include "runtime/Core/Text.h"
#include "runtime/Device/Ptx.h"

namespace moe::rt {
namespace {

Result<std::unique_ptr<Device>> openUsable(const Driver &driver,
                                           const DeviceInfo &info,
                                           const DeviceNeeds &needs) {
  if (!info.atLeast(needs.major, needs.minor))
    return {Code::Unsupported,
            text(info.text(), " has compute capability ", info.major, ".",
                 info.minor, ", ", needs.major, ".", needs.minor,
                 " is needed")};
  if (!needs.ptx.empty()) {
    Status status = checkPtx(needs.ptx, "the model", driver, info);
    if (!status.ok())
      return status;
  }
  return Device::open(driver, info.ordinal);
}

/// The first usable one, or why each is not.
Result<std::unique_ptr<Device>> openFirst(const Driver &driver,
                                          const DeviceNeeds &needs) {
  auto devices = listDevices(driver);
  if (!devices)
    return devices.error();
  std::string reasons;
  for (const DeviceInfo &info : *devices) {
    auto device = openUsable(driver, info, needs);
    if (device)
      return device;
    reasons += text(reasons.empty() ? "" : "; ", device.error().message);
  }
  return {Code::Unsupported, reasons};
}

Result<std::unique_ptr<Device>>
openCuda(int ordinal, const DeviceNeeds &needs,
         const std::function<Result<const Driver *>()> &load) {
  auto driver = load();
  if (!driver)
    return driver.error();
  if (ordinal < 0)
    return openFirst(**driver, needs);
  auto devices = listDevices(**driver);
  if (devices && static_cast<size_t>(ordinal) < devices->size())
    return openUsable(**driver, (*devices)[static_cast<size_t>(ordinal)],
                      needs);
  return Device::open(**driver, ordinal); // explains
}

} // namespace

Result<DeviceChoice>
chooseDevice(const DeviceRequest &request, const DeviceNeeds &needs,
             const std::function<Result<const Driver *>()> &load) {
  DeviceChoice choice;
  if (request.kind == DeviceRequest::Cpu) {
    choice.reason = "CPU: asked for";
    return choice;
  }
  auto device = openCuda(request.ordinal, needs, load);
  if (!device) {
    if (request.kind == DeviceRequest::Cuda)
      return device.error();
    choice.reason = "CPU: " + device.error().message;
    return choice;
  }
  choice.reason = "CUDA " + describeDevice((*device)->info());
  choice.device = std::move(*device);
  return choice;
}

} // namespace moe::rt
