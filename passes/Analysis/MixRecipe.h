#ifndef MOE_PASSES_ANALYSIS_MIXRECIPE_H
#define MOE_PASSES_ANALYSIS_MIXRECIPE_H

#include "dialects/MoE/MoEOps.h"

namespace moe {
class WeightSource;

/// Makes the bytes of a derived bank whose recipe is a weighted sum of slices
/// (`#moe.mix`), quantised ones by their numbers: one slice of weight 1
/// dequantises it. Sums in f64, rounded once to the bank's type. Fails with a
/// diagnostic on the bank.
mlir::LogicalResult evaluateMix(BankOp bank, MixAttr mix, WeightSource &source,
                                std::string &bytes);
} // namespace moe

#endif // MOE_PASSES_ANALYSIS_MIXRECIPE_H
