#include "runtime/Device/Kernels.h"

#include "runtime/Core/Text.h"
#include "runtime/Device/CubinCache.h"
#include "runtime/Device/Ptx.h"

#include <cstdio>

namespace moe::rt {
namespace {

// What a block gets of dynamic shared memory without asking for it.
constexpr uint32_t freeSharedBytes = 48 << 10;

/// The driver's linker for the time of one program. The log must not move
/// while it lives.
class Linker {
public:
  explicit Linker(Device &device) : device(device), api(device.driver()) {}
  ~Linker() {
    if (link)
      api.linkDestroy(link);
  }
  Linker(const Linker &) = delete;
  Linker &operator=(const Linker &) = delete;

  /// The cubin is the linker's.
  Result<std::string_view> assemble(const std::string &name, std::string &ptx) {
    CuJitOption options[] = {CuJitErrorLog, CuJitErrorLogBytes};
    void *values[] = {log, reinterpret_cast<void *>(sizeof(log) - 1)};
    void *cubin = nullptr;
    size_t size = 0;
    CuResult result = api.linkCreate(2, options, values, &link);
    if (!result)
      result = api.linkAddData(link, CuJitInputPtx, ptx.data(), ptx.size() + 1,
                               name.c_str(), 0, nullptr, nullptr);
    if (!result)
      result = api.linkComplete(link, &cubin, &size);
    if (!result)
      return std::string_view(static_cast<const char *>(cubin), size);
    Status status = device.explain(result, text("assemble ", quote(name)));
    std::string_view said(log);
    while (!said.empty() && (said.back() == '\n' || said.back() == ' '))
      said.remove_suffix(1);
    if (!said.empty())
      status.message += text("\n", said);
    return status;
  }

private:
  Device &device;
  const Driver &api;
  CuLink link = nullptr;
  char log[8192] = {};
};

} // namespace

Module &Module::operator=(Module &&other) noexcept {
  if (this == &other)
    return *this;
  unload();
  owner = std::exchange(other.owner, nullptr);
  handle = std::exchange(other.handle, nullptr);
  label = std::move(other.label);
  fromCache = other.fromCache;
  return *this;
}

void Module::unload() {
  if (handle) {
    Device::Scope scope(*owner);
    owner->driver().moduleUnload(handle);
  }
  owner = nullptr;
  handle = nullptr;
}

Status Module::loadImage(const void *image) {
  CuResult result =
      owner->driver().moduleLoadDataEx(&handle, image, 0, nullptr, nullptr);
  if (!result)
    return {};
  handle = nullptr;
  Status status = owner->explain(result, text("load ", quote(label)));
  if (result == CuNoBinaryForGpu) {
    const DeviceInfo &info = owner->info();
    status = Status(Code::Unsupported,
                    text(quote(label), " holds no code for ", info.text(),
                         ", which has compute capability ", info.major, ".",
                         info.minor));
  } else if (result == CuInvalidImage)
    status.code = Code::InvalidFile;
  return status;
}

Result<Module> Module::load(Device &device, std::string name,
                            std::string_view image) {
  if (!device.failure().ok())
    return device.failure();
  Module module;
  module.owner = &device;
  module.label = std::move(name);
  Device::Scope scope(device);
  if (image.substr(0, 4) == "\x7f"
                            "ELF") {
    if (Status status = module.loadImage(image.data()); !status.ok())
      return status;
    return module;
  }
  const Driver &driver = device.driver();
  const DeviceInfo &info = device.info();
  if (Status status = checkPtx(image, module.label, driver, info); !status.ok())
    return status;
  // No options but logs, which change nothing. Drivers that are not the
  // machine's have cubins of their own kind.
  std::string capability = text(info.major, ".", info.minor);
  std::string path =
      cubinCachePath({image, driver.library, text(driver.version), capability});
  uint64_t size = 0;
  Buffer kept = rt::loadCubin(path, size);
  // What the driver does not like is made anew.
  if (size && module.loadImage(kept.data()).ok()) {
    module.fromCache = true;
    return module;
  }
  if (!device.failure().ok())
    return device.failure();
  // The driver wants a zero at the end, and the text is not ours.
  std::string ptx(image);
  Linker linker(device);
  auto cubin = linker.assemble(module.label, ptx);
  if (!cubin) {
    // Whether linkers of all drivers take code for one architecture alone
    // (sm_90a) is not documented; loading does, and keeps it in the driver's
    // own cache.
    if (device.failure().ok() && module.loadImage(ptx.c_str()).ok())
      return module;
    return device.failure().ok() ? cubin.error() : device.failure();
  }
  if (Status status = module.loadImage(cubin->data()); !status.ok())
    return status;
  storeCubin(path, *cubin);
  return module;
}

Result<Kernel> Module::kernel(const std::string &name, uint32_t threads,
                              uint32_t sharedBytes) const {
  if (!owner)
    return {Code::InvalidArgument,
            text("no module to look for kernel ", quote(name), " in")};
  if (!owner->failure().ok())
    return owner->failure();
  Device::Scope scope(*owner);
  const Driver &driver = owner->driver();
  const DeviceInfo &info = owner->info();
  Kernel kernel;
  kernel.device = owner;
  kernel.name = name;
  kernel.threads = threads;
  kernel.sharedBytes = sharedBytes;
  CuResult result =
      driver.moduleGetFunction(&kernel.function, handle, name.c_str());
  if (result == CuNotFound)
    return {Code::NotFound, text(quote(label), " has no kernel ", quote(name))};
  int mostThreads = 0, staticBytes = 0;
  if (!result)
    result = driver.funcGetAttribute(&mostThreads, CuFunctionMaxThreads,
                                     kernel.function);
  if (!result)
    result = driver.funcGetAttribute(&staticBytes, CuFunctionStaticSharedBytes,
                                     kernel.function);
  if (result)
    return owner->explain(result, text("prepare kernel ", quote(name)));
  if (threads == 0 || threads > static_cast<uint32_t>(mostThreads))
    return {Code::Unsupported,
            text("kernel ", quote(name), " wants blocks of ", threads,
                 " threads; with the registers it needs ", info.text(),
                 " starts 1 to ", mostThreads)};
  uint64_t shared = uint64_t(sharedBytes) + static_cast<uint32_t>(staticBytes);
  if (shared > info.maxSharedBytes)
    return {Code::Unsupported, text("kernel ", quote(name), " wants ", shared,
                                    " bytes of shared memory for a block; ",
                                    info.text(), " has ", info.maxSharedBytes)};
  if (shared > freeSharedBytes)
    if (CuResult set = driver.funcSetAttribute(kernel.function,
                                               CuFunctionMaxDynamicSharedBytes,
                                               static_cast<int>(sharedBytes)))
      return owner->explain(set, text("give kernel ", quote(name), " ",
                                      sharedBytes, " bytes of shared memory"));
  return kernel;
}

Status launch(const Kernel &kernel, uint64_t blocks, void *const *arguments) {
  if (!kernel.function)
    return {Code::InvalidArgument,
            text("kernel ", quote(kernel.name), " is not loaded")};
  Device &device = *kernel.device;
  if (!device.failure().ok() || !blocks)
    return device.failure();
  if (blocks > kMostBlocks)
    return {Code::InvalidArgument,
            text("kernel ", quote(kernel.name), " cannot run ", blocks,
                 " blocks; a device runs up to ", kMostBlocks)};
  Device::Scope scope(device);
  CuResult result = device.driver().launchKernel(
      kernel.function, static_cast<unsigned>(blocks), 1, 1, kernel.threads, 1,
      1, kernel.sharedBytes, device.stream(), const_cast<void **>(arguments),
      nullptr);
  // Before blame is laid: it may have started and failed.
  device.noteLaunch(kernel.name);
  if (result)
    return device.explain(result, text("launch kernel ", quote(kernel.name)));
  return {};
}

} // namespace moe::rt
