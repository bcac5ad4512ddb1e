#ifndef MOE_PASSES_KERNELS_PASSES_H
#define MOE_PASSES_KERNELS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace moe {
#define GEN_PASS_DECL
#include "passes/Kernels/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/Kernels/Passes.h.inc"
} // namespace moe

#endif // MOE_PASSES_KERNELS_PASSES_H
