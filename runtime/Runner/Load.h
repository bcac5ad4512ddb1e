// Finding the function table of a model in a file.
#ifndef MOE_RUNTIME_RUNNER_LOAD_H
#define MOE_RUNTIME_RUNNER_LOAD_H

#include "runtime/Core/Status.h"

#include <string>

namespace moe::rt {

/// Opens a model library or a bundle and asks it for its table. It stays loaded
/// until the process ends: sessions, threads and strings lead into it.
Result<const moe_api *> loadModel(const std::string &path);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_LOAD_H
