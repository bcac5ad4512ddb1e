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
  bool isAsked = request.device.kind == DeviceRequest::Cuda;
  auto fallBack = [&](const Status &why) -> Result<OffloadChoice> {
    if (isAsked)
      return why;
    return OffloadChoice{nullptr, "CPU: " + why.message};
  };
  DeviceNeeds needs;
  needs.ptx = model.device->ptx;
  auto choice = chooseDevice(request.device, needs, [&] {
    return request.driver ? loadDriverOf(request.driver) : loadDriver();
  });
  if (!choice)
    return choice.error();
  if (!choice->device)
    return OffloadChoice{nullptr, choice->reason};
  std::string key = text(request.driver ? request.driver : "", ":",
                         choice->device->info().ordinal);
  Shared &all = shared();
  std::lock_guard<std::mutex> lock(all.mutex);
  std::shared_ptr<DeviceModel> found = all.models[key].lock();
  // A kernel that failed took all with it that lay on the device.
  if (!found || found->isBroken()) {
    auto made = DeviceModel::create(std::move(choice->device), *model.device,
                                    *model.weights_slot);
    if (!made)
      return fallBack(made.error());
    found = *made;
    all.models[key] = found;
  }
  return OffloadChoice{found, choice->reason};
}

} // namespace
} // namespace moe::rt

extern "C" const moert_device_runtime moert_device_runtime_cuda = {
    moe::rt::openModel};
