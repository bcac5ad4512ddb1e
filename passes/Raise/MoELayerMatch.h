#ifndef MOE_PASSES_RAISE_MOELAYERMATCH_H
#define MOE_PASSES_RAISE_MOELAYERMATCH_H

#include "passes/Raise/WeightRef.h"
#include <string>

namespace moe {
/// How tokens become logits: a linear layer, or `given` logits (no weight).
struct RouterMatch {
  mlir::Value input;  // tokens, of any rank; last dimension features
  mlir::Value weight; // [experts, features], or [features, experts]
  bool transposed = false;
  mlir::Value bias;   // [experts], or null
  mlir::Value logits; // the value itself, last dimension experts
};

/// What a `moe.gate` does with logits; see the operator for the meaning.
struct GateMatch {
  Score score = Score::Softmax;
  int64_t topK = 1;
  bool selectFirst = false;
  mlir::Value choiceBias; // [experts], or null
  mlir::Value values;     // weights come from here, or null
  int64_t groups = 0, topGroups = 0;
  GroupScore groupScore = GroupScore::Max;
  GroupMask groupMask = GroupMask::Zero;
  Norm norm = Norm::None;
  double normEpsilon = 0.0;
  double scale = 1.0;
  double sparseMixer = 0.0;      // 0: none
  double skipRatio = 0.0;        // 0: none
  llvm::SmallVector<bool> nulls; // experts without a body; empty: none
};

/// What the hidden layer of every expert computes.
struct ActivationMatch {
  ExpertKind kind = ExpertKind::Ffn;
  Activation activation = Activation::Identity;
  double alpha = 1.0, beta = 0.0, limit = 0.0;
};

/// The matrices of one expert, as slices of banks or products of two; null
/// where there is none, and no matrix at all for a null expert.
struct ExpertMatch {
  mlir::Attribute gate, up, down;
  SliceAttr gateBias, upBias, downBias;
  bool operator==(const ExpertMatch &other) const {
    return gate == other.gate && gateBias == other.gateBias && up == other.up &&
           upBias == other.upBias && down == other.down &&
           downBias == other.downBias;
  }
};

/// One MoE layer, whatever its encoding was: what emission needs.
struct MoELayerMatch {
  llvm::StringRef encoding; // for remarks: "contrib-op", "subgraph"
  std::string name;         // of the layer, for messages
  mlir::Value tokens;       // the experts' input, of any rank
  RouterMatch router;
  GateMatch gate;
  ActivationMatch activation;
  llvm::SmallVector<ExpertMatch> experts; // in the order of router columns
  /// Added to the layer's result (shared expert, start value of a scatter).
  llvm::SmallVector<mlir::Value> addends;
  mlir::Value output; // what the layer's result replaces
};

/// Finds the linear layer that computes `logits`, if it is one of constant
/// weights; else the logits are given.
RouterMatch matchRouter(mlir::Value logits);

/// Writes the pool, router, gate and apply of `match` before the op that
/// defines its output, and replaces that. `index` numbers the pool.
mlir::LogicalResult emitLayer(const MoELayerMatch &match, BankNames &banks,
                              int64_t index);
} // namespace moe

#endif // MOE_PASSES_RAISE_MOELAYERMATCH_H
