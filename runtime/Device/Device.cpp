#include "runtime/Device/Device.h"

#include "runtime/Core/Text.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace moe::rt {
namespace {

/// Failures of kernels, after which the context is of no more use.
bool isFatal(CuResult result) {
  switch (result) {
  case CuEccUncorrectable:
  case CuIllegalAddress:
  case CuLaunchTimeout:
  case CuAssert:
  case CuHardwareStackError:
  case CuIllegalInstruction:
  case CuMisalignedAddress:
  case CuInvalidAddressSpace:
  case CuInvalidPc:
  case CuLaunchFailed:
  case CuContained:
    return true;
  default:
    return false;
  }
}

} // namespace

Device::Scope::Scope(const Device &device) : driver(device.driver()) {
  if (driver.ctxGetCurrent(&previous) == CuSuccess &&
      previous == device.context)
    return;
  // A failure shows in the call that this is for.
  changed = driver.ctxSetCurrent(device.context) == CuSuccess;
}

Device::Scope::~Scope() {
  if (changed)
    driver.ctxSetCurrent(previous);
}

Result<std::unique_ptr<Device>> Device::open(const Driver &driver,
                                             int ordinal) {
  auto devices = listDevices(driver);
  if (!devices)
    return devices.error();
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= devices->size()) {
    std::string known;
    for (const DeviceInfo &info : *devices)
      known += text(known.empty() ? "" : "; ", describeDevice(info));
    return {Code::NotFound,
            text("there is no CUDA device ", ordinal, "; there are ", known)};
  }
  const DeviceInfo &info = (*devices)[static_cast<size_t>(ordinal)];
  if (info.prohibited)
    return {Code::Unsupported,
            text("cannot open ", info.text(),
                 ": its compute mode prohibits use (nvidia-smi -c)")};
  std::unique_ptr<Device> device(new (std::nothrow) Device(driver, info));
  if (!device)
    return {Code::OutOfMemory, "cannot allocate a device"};
  const char *blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
  device->launchesBlock = blocking && std::strcmp(blocking, "1") == 0;
  CuDevice handle = 0;
  CuResult result = driver.deviceGet(&handle, ordinal);
  if (!result)
    result = driver.primaryCtxRetain(&device->context, handle);
  if (!result) {
    Scope scope(*device);
    result = driver.streamCreate(&device->queue, CuStreamNonBlocking);
  }
  if (result)
    return {result == CuOutOfMemory ? Code::OutOfMemory : Code::Unsupported,
            text("cannot open ", info.text(), ": ", errorText(driver, result))};
  return device;
}

Device::~Device() {
  if (!context)
    return;
  {
    Scope scope(*this);
    if (queue) {
      api.streamSynchronize(queue);
      api.streamDestroy(queue);
    }
    for (Staging &half : staging) {
      if (half.free)
        api.eventDestroy(half.free);
      if (half.data)
        api.memFreeHost(half.data);
    }
  }
  CuDevice handle = 0;
  if (api.deviceGet(&handle, facts.ordinal) == CuSuccess)
    api.primaryCtxRelease(handle);
}

DeviceBuffer &DeviceBuffer::operator=(DeviceBuffer &&other) noexcept {
  if (this == &other)
    return *this;
  free();
  owner = std::exchange(other.owner, nullptr);
  address = std::exchange(other.address, 0);
  bytes = std::exchange(other.bytes, 0);
  label = std::move(other.label);
  return *this;
}

void DeviceBuffer::free() {
  if (address) {
    Device::Scope scope(*owner);
    // Waits until the device has done what may use it. After a failed kernel
    // this fails too; then the context's end frees.
    owner->api.memFree(address);
  }
  owner = nullptr;
  address = 0;
  bytes = 0;
}

Result<DeviceBuffer> Device::allocate(uint64_t bytes, std::string name) {
  if (!broken.ok())
    return broken;
  DeviceBuffer buffer;
  buffer.owner = this;
  buffer.label = std::move(name);
  if (!bytes)
    return buffer;
  Scope scope(*this);
  CuResult result = api.memAlloc(&buffer.address, bytes);
  if (!result) {
    buffer.bytes = bytes;
    return buffer;
  }
  buffer.address = 0;
  size_t free = 0, total = 0;
  if (result != CuOutOfMemory || api.memGetInfo(&free, &total) != CuSuccess)
    return explain(result, text("allocate ", buffer.label));
  auto size = [](uint64_t count) {
    return bytesText(static_cast<double>(count));
  };
  return {Code::OutOfMemory,
          text(facts.text(), ": no memory for ", buffer.label, ": ",
               size(bytes), " asked for, ", size(free), " of ", size(total),
               " free, ",
               bytes > free ? text(size(bytes - free), " missing")
                            : std::string("but not in one piece"))};
}

Result<uint64_t> Device::freeMemory() {
  if (!broken.ok())
    return broken;
  Scope scope(*this);
  size_t free = 0, total = 0;
  if (CuResult result = api.memGetInfo(&free, &total))
    return explain(result, "ask how much memory is free");
  return uint64_t(free);
}

Status Device::synchronize() {
  if (!broken.ok())
    return broken;
  Scope scope(*this);
  if (CuResult result = api.streamSynchronize(queue))
    return explain(result, "wait for the device");
  numLaunches = 0;
  return {};
}

void Device::giveUp(const Status &why) {
  if (broken.ok())
    broken = why;
}

void Device::noteLaunch(const std::string &name) {
  lastKernel = name;
  ++numLaunches;
}

Status Device::explain(CuResult result, const std::string &action) {
  std::string what = errorText(api, result);
  if (!isFatal(result))
    return {result == CuOutOfMemory ? Code::OutOfMemory : Code::Internal,
            text(facts.text(), ": cannot ", action, ": ", what)};
  std::string who;
  if (!numLaunches)
    // Someone else's kernel: contexts are shared within a process.
    who = text("cannot ", action);
  else if (numLaunches == 1 || launchesBlock)
    who = text("kernel ", quote(lastKernel), " failed");
  else
    who = text("one of the last ", numLaunches, " kernels failed, the last ",
               quote(lastKernel),
               " (CUDA_LAUNCH_BLOCKING=1 in the environment tells which)");
  broken = Status(Code::ModelFailed, text(facts.text(), ": ", who, ": ", what));
  return broken;
}

} // namespace moe::rt
