#ifndef MOE_PASSES_ANALYSIS_RESIDUAL_H
#define MOE_PASSES_ANALYSIS_RESIDUAL_H

#include "dialects/MoE/MoEOps.h"
#include "dialects/Onnx/OnnxOps.h"
#include <optional>

namespace moe {

/// Where an MoE layer hangs on the residual stream, in a module whose layers
/// are raised and whose other ops are still `onnx.node`s:
/// `after = before + MoE(norm(before))`.
struct ResidualBlock {
  onnx::NodeOp add; ///< gives `after`
  mlir::Value before, after;
  /// The Add in front of the layer, `before = blockBefore +
  /// branch(blockBefore)` (attention, mostly): with the layer it is the block.
  /// Null where `before` is not such a sum.
  onnx::NodeOp branchAdd;
  mlir::Value blockBefore;
};

/// The place of `apply` on the residual stream: its only use, followed through
/// reshapes, casts and sums with other experts' outputs, is an Add to the value
/// that its tokens are a norm of (or that they are). Nothing where it has none.
std::optional<ResidualBlock> findResidual(ApplyOp apply);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_RESIDUAL_H
