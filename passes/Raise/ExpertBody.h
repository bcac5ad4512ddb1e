#ifndef MOE_PASSES_RAISE_EXPERTBODY_H
#define MOE_PASSES_RAISE_EXPERTBODY_H

#include "mlir/Interfaces/FunctionInterfaces.h"
#include "passes/Raise/Evaluate.h"
#include "passes/Raise/MoELayerMatch.h"
#include "llvm/ADT/MapVector.h"

namespace moe {
/// `result = data W^T (+ bias)` with constants W and bias. A stacked layer has
/// a matrix per expert: it applies all of them along a leading dimension, or
/// the one that `ids` says to each row (weights gathered by expert). A grouped
/// layer cuts its rows into one run per expert and puts the results together.
struct LinearLayer {
  mlir::Value data;       // features last, or before a last dimension of size 1
  mlir::Value product;    // before the bias is added
  mlir::Value addend;     // what the bias is added to: the product, reshaped
  mlir::Value result;     // with the bias
  mlir::Value ids;        // expert of each row, or null
  bool idsNested = false; // ids have a last dimension of size 1
  bool isLeft = false;    // W data instead of data W^T
  WeightRef weight;       // [out, in], stacked [experts, out, in]
  /// [rank, in] of a layer whose matrix is `weight low`, `weight` being [out,
  /// rank] then: two layers of low rank, one after the other. Or null.
  WeightRef low;
  WeightRef bias; // [out], stacked [experts, out], or null
  /// The runs of a grouped layer; `weight` is that of the first then, and
  /// `data` what all runs are cut from.
  std::vector<LinearLayer> parts;

  bool isGrouped() const { return !parts.empty(); }
  bool isStacked() const { return weight.rank() == 3; }
  int64_t outputs() const { return weight.shape[weight.rank() - 2]; }
  int64_t inputs() const { return (low ? low : weight).shape.back(); }
};

/// The linear layers of a function by their results, also those in branches.
using LinearLayers = llvm::MapVector<mlir::Value, LinearLayer>;
LinearLayers findLinearLayers(mlir::FunctionOpInterface function);

/// A small MLP of constant weights: one or two linear layers over one input,
/// elementwise nodes, a linear layer. Stacked: one per expert.
struct ExpertBody {
  mlir::Value input, hidden, output;
  std::vector<LinearLayer> first; // gate and up in any order, or fused
  LinearLayer down;

  /// Number of experts it holds.
  int64_t count() const {
    return down.isGrouped()   ? static_cast<int64_t>(down.parts.size())
           : down.isStacked() ? down.weight.shape[0]
                              : 1;
  }
  int64_t features() const { return first[0].inputs(); }
  int64_t outputs() const { return down.outputs(); }
};

std::vector<ExpertBody> findExpertBodies(const LinearLayers &layers);

/// Where rows come from: the value behind gathers, reshapes, broadcasts and
/// casts of whole rows. All experts of a layer have the same, and mostly its
/// router too.
mlir::Value tokenRoot(mlir::Value value);

/// True where both hold the same rows in the same order, perhaps in different
/// shapes of one value.
bool haveSameRows(mlir::Value a, mlir::Value b);

/// Where gate and up stand in what `first` computes.
struct BodyFit {
  ActivationMatch activation;
  unsigned gateLayer = 0, upLayer = 0;
  int64_t gateStart = 0, upStart = 0, step = 1;
};

/// Evaluates the elementwise part of `body` on samples and finds the formula
/// of `moe.expert` that gives the same. False with a reason.
bool fitBody(const ExpertBody &body, BodyFit &fit, std::string &error);

/// The matrices of expert `index` of `body` as slices; false where one is no
/// slice.
bool sliceExpert(const ExpertBody &body, const BodyFit &fit, int64_t index,
                 BankNames &banks, ExpertMatch &expert);
} // namespace moe

#endif // MOE_PASSES_RAISE_EXPERTBODY_H
