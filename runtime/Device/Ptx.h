// What PTX says of itself: whether a device can run it, and its kernels'
// parameters.
#ifndef MOE_RUNTIME_DEVICE_PTX_H
#define MOE_RUNTIME_DEVICE_PTX_H

#include "runtime/Device/Device.h"

#include <map>
#include <string_view>

namespace moe::rt {

/// What `.version` and `.target` say.
struct PtxHeader {
  int versionMajor = 0, versionMinor = 0;
  std::string target;       // "sm_90a"
  int major = 0, minor = 0; // of the target
  char suffix = 0;          // 'a': this device only, 'f': its family, or none
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
