#ifndef MOE_CODEGEN_LLVM_PASSES_H
#define MOE_CODEGEN_LLVM_PASSES_H

#include "dialects/MoERT/MoERTDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace moe {
#define GEN_PASS_DECL
#include "codegen/LLVM/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "codegen/LLVM/Passes.h.inc"
} // namespace moe

#endif // MOE_CODEGEN_LLVM_PASSES_H
