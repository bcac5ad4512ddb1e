// What code says of itself: whether a device can run it, PTX by its first lines
// and cubins by what they were assembled for; and kernels' parameters.
#ifndef MOE_RUNTIME_DEVICE_PTX_H
#define MOE_RUNTIME_DEVICE_PTX_H

#include "runtime/Device/Device.h"

#include <map>
#include <optional>
#include <string_view>

namespace moe::rt {

/// What code is for: "sm_90a".
struct CodeTarget {
  int major = 0, minor = 0;
  char suffix = 0; // 'a': this device only, 'f': its family, or none
};

/// Nothing where the name is none.
std::optional<CodeTarget> parseTarget(std::string_view name);

/// Whether a cubin for `architecture` runs on `device`: on those of its major
/// version that are no older, with an 'a' on those of the same version.
bool runsCubin(std::string_view architecture, const DeviceInfo &device);

/// What `.version` and `.target` say.
struct PtxHeader {
  int versionMajor = 0, versionMinor = 0;
  std::string name; // of the target
  CodeTarget target;
};

Result<PtxHeader> readPtxHeader(std::string_view ptx);

/// The bytes of each parameter of the kernels of a module, by name; those whose
/// parameters are written otherwise than compilers do are left out.
std::map<std::string, std::vector<uint32_t>, std::less<>>
readPtxParameters(std::string_view ptx);

/// Fails where the text is no PTX and, naming both sides, where the driver is
/// too old for its version or the device is not one that its target fits.
/// `name` is the module's.
Status checkPtx(std::string_view ptx, const std::string &name,
                const Driver &driver, const DeviceInfo &device);

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_PTX_H
