#ifndef MOE_PASSES_ANALYSIS_DEQUANTIZE_H
#define MOE_PASSES_ANALYSIS_DEQUANTIZE_H

#include "passes/Analysis/WeightSource.h"

namespace moe {
class SliceAttr;

/// The matrix `[out, in]` behind a slice with `#moe.quant`, as f32, row-major:
/// `(q - zero[n, k / block]) * scale[n, k / block]`, values below 8 bits packed
/// along k with the low bits first. `bank` is the derived bank that asks, for
/// symbols and messages.
mlir::FailureOr<std::vector<float>> dequantize(BankOp bank, SliceAttr slice,
                                               WeightSource &source);
} // namespace moe

#endif // MOE_PASSES_ANALYSIS_DEQUANTIZE_H
