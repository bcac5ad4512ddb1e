#ifndef MOE_PASSES_ANALYSIS_HIDDEN_H
#define MOE_PASSES_ANALYSIS_HIDDEN_H

#include "dialects/MoE/MoEOps.h"
#include "passes/Analysis/Numbers.h"

namespace moe {
class WeightSource;

/// The first half of an expert, up to what its last matrix reads.
struct HiddenLayer {
  Activation activation = Activation::Identity;
  double alpha = 1, beta = 0, limit = 0;
  mlir::Attribute gate, up, gateBias, upBias; ///< gate may be null, and biases

  /// Of an expert of kind ffn or glu; fails with an error for others.
  static mlir::FailureOr<HiddenLayer> of(ExpertOp expert);
  explicit HiddenLayer(HiddenAttr recipe);
  /// The recipe that evaluates it on `inputs`.
  HiddenAttr on(mlir::Attribute inputs) const;

  /// What it makes of rows `x`, `[rows, hidden]`, in f64.
  mlir::FailureOr<Numbers> evaluate(mlir::Operation *at, const Numbers &x,
                                    WeightSource &weights) const;

private:
  HiddenLayer() = default;
};

/// `rows` times a matrix `[out, in]`, plus a bias where there is one.
mlir::FailureOr<Numbers> multiplyRows(mlir::Operation *at, const Numbers &rows,
                                      mlir::Attribute matrix,
                                      mlir::Attribute bias,
                                      WeightSource &weights);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_HIDDEN_H
