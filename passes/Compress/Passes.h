#ifndef MOE_PASSES_COMPRESS_PASSES_H
#define MOE_PASSES_COMPRESS_PASSES_H

#include "dialects/MoE/MoEDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moe {
#define GEN_PASS_DECL
#include "passes/Compress/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Compress/Passes.h.inc"
} // namespace moe

#endif // MOE_PASSES_COMPRESS_PASSES_H
