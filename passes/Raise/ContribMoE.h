#ifndef MOE_PASSES_RAISE_CONTRIBMOE_H
#define MOE_PASSES_RAISE_CONTRIBMOE_H

#include "passes/Raise/MoELayerMatch.h"

namespace moe {
/// True for `MoE` and `QMoE` of `com.microsoft`.
bool isContribMoE(onnx::NodeOp node);

/// Reads a `MoE` or `QMoE` node: the operator's documented meaning, not the
/// habits of one provider (softmax over all experts, ties to the lower one).
/// Emits an error at the node and fails where it cannot be what it says.
mlir::FailureOr<MoELayerMatch> matchContribMoE(onnx::NodeOp node,
                                               BankNames &banks);
} // namespace moe

#endif // MOE_PASSES_RAISE_CONTRIBMOE_H
