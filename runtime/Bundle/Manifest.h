// What a compiled model says about itself, read without running it.
#ifndef MOE_RUNTIME_BUNDLE_MANIFEST_H
#define MOE_RUNTIME_BUNDLE_MANIFEST_H

#include "runtime/Core/Status.h"

#include <string>
#include <string_view>

namespace moe::rt {

/// The bytes that every ELF file starts with.
extern const std::string_view elfMagic;

/// The manifest (JSON, see moe_runtime.h) of the executable, library or bundle
/// that lies in `bytes`: the ELF section "moe_manifest" of its code.
Result<std::string_view> findManifest(std::string_view bytes,
                                      const std::string &what);

} // namespace moe::rt

#endif // MOE_RUNTIME_BUNDLE_MANIFEST_H
