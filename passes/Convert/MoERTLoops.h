#ifndef MOE_PASSES_CONVERT_MOERTLOOPS_H
#define MOE_PASSES_CONVERT_MOERTLOOPS_H

#include "dialects/MoERT/MoERTOps.h"
#include "passes/Convert/ScalarCode.h"

namespace moe {

// Each replaces its op, on tensors, by loops.
mlir::LogicalResult lowerToLoops(moert::GemmOp gemm);
mlir::LogicalResult lowerToLoops(moert::RouteOp route);
mlir::LogicalResult lowerToLoops(moert::ExpertFfnOp ffn);
/// Ops of whole models (embedding, norms, rotation, attention...) and products
/// of any rank.
mlir::LogicalResult lowerModelOp(mlir::Operation *op);

/// The static size of a dimension.
inline int64_t sizeOf(Value value, int64_t d) {
  return mlir::cast<mlir::RankedTensorType>(value.getType()).getDimSize(d);
}

// --- products of a row (MoERTGemm.cpp) ---------------------------------------

/// Row vector `[K]` times packed matrix `weights[e]` `[panels, K, width]`, as
/// `[panels, width]`.
Value timesPanels(Code c, Value row, Value weights, Value e);
/// Row vector times the matrix of expert `e`: packed `[E, panels, K, width]`,
/// or plain `[E, N, K]`, which gives `[N]`.
Value timesExpert(Code c, Value row, Value weights, Value e);
/// The same of packed weights that are coded (MoERTCoded.cpp).
Value timesCoded(Code c, Value row, const moert::ExpertFfnOp::Matrix &weights,
                 Value e);
/// Column `n` of a product by panels, or of a plain one.
Value column(Code c, Value product, Value n);

} // namespace moe

#endif // MOE_PASSES_CONVERT_MOERTLOOPS_H
