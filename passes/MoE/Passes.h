#ifndef MOE_PASSES_MOE_PASSES_H
#define MOE_PASSES_MOE_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moe {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/MoE/Passes.h.inc"
} // namespace moe

#endif // MOE_PASSES_MOE_PASSES_H
