#ifndef MOE_PASSES_COMPRESS_ORDER_H
#define MOE_PASSES_COMPRESS_ORDER_H

#include "passes/Compress/Layers.h"

namespace moe {

/// What a step does to a model, in the only order that loses nothing: scores
/// and similarities need whole experts, factors need unquantised numbers
/// (arXiv 2406.02500, section 5).
enum class Stage { Trim, Merge, Factor, Quantize };

/// Notes in the module that step `name` has run, and gives the layers that it
/// is to work on (`only`, or all). Fails with an error where a step of a later
/// stage has run before, or there is no such layer.
mlir::FailureOr<std::vector<MoELayer>>
beginStep(mlir::ModuleOp module, llvm::StringRef name, Stage stage,
          llvm::ArrayRef<int64_t> only = {});

} // namespace moe

#endif // MOE_PASSES_COMPRESS_ORDER_H
