// What models with code for a GPU are linked with.
#include "runtime/Core/Text.h"
#include "runtime/Device/DeviceChoice.h"
#include "runtime/Device/DeviceModel.h"

#include <map>

namespace moe::rt {
namespace {

/// Sessions of a process share what lies on a device.
struct Shared {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<DeviceModel>> models;
};

Shared &shared() {
  // Kept to the end: sessions may be destroyed late.
  static Shared *made = new Shared;
  return *made;
}

Result<OffloadChoice> openModel(const moert_model &model,
                                const OffloadRequest &request) {
  // Nobody waits for others' weights who wants none.
  if (request.device.kind == DeviceRequest::Cpu)
    return OffloadChoice{nullptr, chooseDevice(request.device)->reason};
  const moert_device_code &code = *model.device;
  Shared &all = shared();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto keyOf = [&](int ordinal) {
    return text(request.driver ? request.driver : "", ":", ordinal);
  };
  std::shared_ptr<DeviceModel> found;
  DeviceNeeds needs;
  needs.ptx = code.ptx;
  if (code.cubin)
    needs.cubin = code.architecture;
  needs.isOpen = [&](const DeviceInfo &info) {
    found = all.models[keyOf(info.ordinal)].lock();
    // A kernel that failed took all with it that lay on the device.
    if (found && found->isBroken())
      found = nullptr;
    return found != nullptr;
  };
  needs.prepare = [&](std::unique_ptr<Device> &device) {
    auto made = DeviceModel::create(std::move(device), code,
                                    *model.weights_slot, request.progress);
    if (made)
      found = *made;
    return made.error();
  };
  auto choice = chooseDevice(request.device, needs, [&] {
    return request.driver ? loadDriverOf(request.driver) : loadDriver();
  });
  if (!choice)
    return choice.error();
  if (choice->ordinal < 0)
    return OffloadChoice{nullptr, choice->reason};
  all.models[keyOf(choice->ordinal)] = found;
  return OffloadChoice{found, choice->reason};
}

} // namespace
} // namespace moe::rt

extern "C" const moert_device_runtime moert_device_runtime_cuda = {
    moe::rt::openModel};
