#ifndef MOE_PASSES_CONVERT_PASSES_H
#define MOE_PASSES_CONVERT_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moe {
#define GEN_PASS_DECL
#include "passes/Convert/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Convert/Passes.h.inc"
} // namespace moe

#endif // MOE_PASSES_CONVERT_PASSES_H
