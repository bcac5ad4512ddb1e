// The texts under runtime/LICENSES, embedded.
#ifndef MOE_RUNTIME_RUNNER_LICENSES_H
#define MOE_RUNTIME_RUNNER_LICENSES_H

#include <string_view>

namespace moe::rt {

/// Licences of everything that is linked into this program, as one text.
std::string_view licenseTexts();

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_LICENSES_H
