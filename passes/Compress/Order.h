#ifndef MOE_PASSES_COMPRESS_ORDER_H
#define MOE_PASSES_COMPRESS_ORDER_H

#include "mlir/IR/BuiltinOps.h"

namespace moe {

/// What a step does to a model, in the only order that loses nothing: scores
/// and similarities need whole experts, factors need unquantised numbers
/// (arXiv 2406.02500, section 5).
enum class Stage { Trim, Merge, Factor, Quantize };

/// Notes in the module that step `name` has run. Fails with an error where a
/// step of a later stage has run before.
mlir::LogicalResult enterStage(mlir::ModuleOp module, llvm::StringRef name,
                               Stage stage);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_ORDER_H
