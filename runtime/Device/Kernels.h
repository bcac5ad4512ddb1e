// Code of a device: modules from PTX or cubins, and the kernels in them.
#ifndef MOE_RUNTIME_DEVICE_KERNELS_H
#define MOE_RUNTIME_DEVICE_KERNELS_H

#include "runtime/Device/Device.h"

#include <string_view>

namespace moe::rt {

/// A function of a module, and the shape of its blocks.
struct Kernel {
  Device *device = nullptr;
  CuFunction function = nullptr;
  std::string name;
  uint32_t threads = 0;     // of a block
  uint32_t sharedBytes = 0; // dynamic
  /// Where somebody said so, the bytes of each parameter.
  bool hasParameters = false;
  std::vector<uint32_t> parameterBytes;
};

constexpr uint64_t kMostBlocks = 0x7fffffff; // of a launch

/// Code that lies on a device; taken away with this object, which must go
/// before the device and after its last launch has ended.
class Module {
public:
  /// `image` is PTX text or a cubin; `name` is for messages. PTX goes through
  /// the driver's assembler, unless the cache of cubins has what comes out.
  static Result<Module> load(Device &device, std::string name,
                             std::string_view image);

  Module() = default;
  Module(Module &&other) noexcept { *this = std::move(other); }
  Module &operator=(Module &&other) noexcept;
  ~Module() { unload(); }

  void unload();
  /// Whether the code came out of the cache.
  bool cached() const { return fromCache; }

  /// Checks that the device can start such blocks.
  Result<Kernel> kernel(const std::string &name, uint32_t threads,
                        uint32_t sharedBytes) const;

private:
  /// A cubin, or PTX with a zero at the end, which the driver then assembles.
  Status loadImage(const void *image);

  Device *owner = nullptr;
  CuModule handle = nullptr;
  std::string label;
  bool fromCache = false;
};

/// Puts a launch into the device's stream; `arguments[i]` points to the value
/// of the i-th parameter, which is copied. Without blocks nothing runs. How
/// the kernel fails is learnt by a later call.
Status launch(const Kernel &kernel, uint64_t blocks, void *const *arguments);

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_KERNELS_H
