#ifndef MOE_PASSES_RAISE_LAYERPROBE_H
#define MOE_PASSES_RAISE_LAYERPROBE_H

#include "passes/Raise/ExplainLayer.h"

namespace moe {
/// How the message begins where the graph picks an expert that is not there.
constexpr llvm::StringLiteral kBadExpertId = "expert id ";

/// Evaluates values of a candidate layer with chosen logits and tokens, where
/// stand-ins take the place of the experts: column j of all bodies computes
/// either the unit vector j (`measure`), or a fixed random affine function.
class LayerProbe {
public:
  LayerProbe(const LayerCandidate &candidate, const LinearLayers &layers);

  /// Columns of all bodies together.
  int64_t columns() const { return total; }
  /// The first column of body `index`.
  int64_t firstColumn(size_t index) const { return starts[index]; }
  int64_t features() const { return candidate.bodies[0]->features(); }
  int64_t outputs() const { return candidate.bodies[0]->outputs(); }
  /// Tokens the graph was fixed to, or 0 where their number is free.
  int64_t fixedTokens() const { return fixed; }

  /// The weight with which each column enters `value`, `[rows, columns]`, for
  /// rows of logits; false where `value` is no sum of weighted columns.
  bool measure(mlir::Value value, const HostTensor &logits, HostTensor &weights,
               std::string &error) const;
  /// `value` for tokens and logits of as many rows, as rows. `sequences` 2
  /// splits the tokens into two sequences where the graph has both.
  bool evaluate(mlir::Value value, const HostTensor &tokens,
                const HostTensor &logits, int64_t sequences, HostTensor &rows,
                std::string &error) const;
  /// What column `column` computes for a row of tokens in `evaluate`.
  void standIn(int64_t column, const double *row, double *out) const;

private:
  bool run(mlir::Value value, const HostTensor &tokens,
           const HostTensor &logits, int64_t sequences, int64_t window,
           HostTensor &rows, std::string &error) const;
  void column(int64_t column, int64_t window, const double *row,
              double *out) const;
  bool evaluatePicked(GraphEvaluator &evaluator, size_t index, int64_t window,
                      HostTensor &result) const;
  bool evaluateGrouped(GraphEvaluator &evaluator, size_t index, int64_t window,
                       HostTensor &result) const;
  bool evaluateBody(GraphEvaluator &evaluator, size_t index, int64_t window,
                    HostTensor &result) const;

  const LayerCandidate &candidate;
  std::vector<LinearLayer> others;
  llvm::SmallVector<int64_t> starts;
  int64_t total = 0, fixed = 0;
};
} // namespace moe

#endif // MOE_PASSES_RAISE_LAYERPROBE_H
