#include "runtime/Device/DeviceChoice.h"

#include "runtime/Core/Text.h"
#include "runtime/Device/Ptx.h"

namespace moe::rt {
namespace {

struct Opened {
  DeviceInfo info;
  std::unique_ptr<Device> device; // none: the caller has it
};

Result<Opened> open(const Driver &driver, int ordinal) {
  auto device = Device::open(driver, ordinal);
  if (!device)
    return device.error();
  DeviceInfo info = (*device)->info();
  return Opened{std::move(info), std::move(*device)};
}

Result<Opened> openUsable(const Driver &driver, const DeviceInfo &info,
                          const DeviceNeeds &needs) {
  if (!info.atLeast(needs.major, needs.minor))
    return {Code::Unsupported,
            text(info.text(), " has compute capability ", info.major, ".",
                 info.minor, ", ", needs.major, ".", needs.minor,
                 " is needed")};
  // A cubin needs no driver that reads the PTX it was made of.
  if (!needs.ptx.empty() && !runsCubin(needs.cubin, info)) {
    Status status = checkPtx(needs.ptx, "the model", driver, info);
    if (!status.ok())
      return status;
  }
  if (needs.isOpen && needs.isOpen(info))
    return Opened{info, nullptr};
  auto opened = open(driver, info.ordinal);
  if (opened && needs.prepare)
    if (Status status = needs.prepare(opened->device); !status.ok())
      return status;
  return opened;
}

/// The first usable one, or why each is not.
Result<Opened> openFirst(const Driver &driver, const DeviceNeeds &needs) {
  auto devices = listDevices(driver);
  if (!devices)
    return devices.error();
  Status why(Code::Unsupported, "");
  for (const DeviceInfo &info : *devices) {
    auto device = openUsable(driver, info, needs);
    if (device)
      return device;
    why.code = device.error().code;
    why.message +=
        text(why.message.empty() ? "" : "; ", device.error().message);
  }
  return why;
}

Result<Opened> openCuda(int ordinal, const DeviceNeeds &needs,
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
  return open(**driver, ordinal); // explains
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
  choice.reason = "CUDA " + describeDevice(device->info);
  choice.ordinal = device->info.ordinal;
  choice.device = std::move(device->device);
  return choice;
}

} // namespace moe::rt
