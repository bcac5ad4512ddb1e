#ifndef MOE_PASSES_COMPRESS_OUTPUTS_H
#define MOE_PASSES_COMPRESS_OUTPUTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/BitVector.h"

namespace moe {

/// Removes results of a function, what only they need, and arguments that
/// nothing reads any more but did before.
void eraseOutputs(mlir::func::FuncOp function, const llvm::BitVector &results);

/// Removes ops without effect whose results nobody uses, and pools that no
/// layer uses.
void eraseDeadCode(mlir::ModuleOp module);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_OUTPUTS_H
