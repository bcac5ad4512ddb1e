// A compiled model as its descriptor describes it.
#ifndef MOE_RUNTIME_CORE_MODEL_H
#define MOE_RUNTIME_CORE_MODEL_H

#include "runtime/Core/Status.h"
#include "runtime/IRInterface.h"

#include <cstdint>

namespace moe::rt {

inline const moe_port &asPort(const moert_port &port) {
  static_assert(sizeof(moe_port) == sizeof(moert_port));
  return reinterpret_cast<const moe_port &>(port);
}

inline moe_tensor &asTensor(moert_tensor &tensor) {
  static_assert(sizeof(moe_tensor) == sizeof(moert_tensor));
  return reinterpret_cast<moe_tensor &>(tensor);
}

/// Checks a descriptor: magic, version, processor, ports. What the compiler got
/// wrong is Internal, what this machine lacks is Unsupported.
Status checkDescriptor(const moert_model &model);

/// Index of a port by name, or NotFound with the names there are. `kind` is
/// "input" or "output".
Result<uint32_t> findPort(const moert_port *ports, uint32_t count,
                          const char *kind, const char *name);

/// Does the tensor fit the port (type, rank, fixed sizes)? Otherwise
/// InvalidArgument that names the port, what came and what is right.
Status checkTensor(const moe_port &port, const char *kind,
                   const moe_tensor &tensor);

/// Do inputs that share a symbol agree? `tensors` has one entry per input.
Status checkSymbols(const moert_model &model, const moe_tensor *tensors);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_MODEL_H
