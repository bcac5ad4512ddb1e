#ifndef MOE_CODEGEN_LINK_WEIGHTWRITER_H
#define MOE_CODEGEN_LINK_WEIGHTWRITER_H

#include "mlir/IR/BuiltinOps.h"
#include "passes/Analysis/WeightSource.h"

namespace moe {

/// Hears of bytes done and bytes in all.
using WeightProgress = llvm::function_ref<void(uint64_t, uint64_t)>;

/// Writes every placed bank (`moe-place-weights`) of `module` into `fd`, which
/// messages call `path`, its place counted from `offset`. Banks of archives are
/// copied, derived ones made by their recipe, a piece at a time; mapped pages
/// are released on the way, so that memory stays flat however large the model
/// is.
mlir::LogicalResult writeWeights(mlir::ModuleOp module, WeightSource &source,
                                 llvm::StringRef path, int fd, uint64_t offset,
                                 WeightProgress progress);

} // namespace moe

#endif // MOE_CODEGEN_LINK_WEIGHTWRITER_H
