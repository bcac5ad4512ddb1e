#ifndef MOE_PASSES_RAISE_EXPLAINLAYER_H
#define MOE_PASSES_RAISE_EXPLAINLAYER_H

#include "passes/Raise/ExpertBody.h"
#include "passes/Raise/GateModel.h"

namespace moe {
/// A possible layer: expert bodies over one value, and logits.
struct LayerCandidate {
  mlir::Value tokens, logits;
  int64_t experts = 0; // columns of the logits
  llvm::SmallVector<const ExpertBody *> bodies;
  SymbolicShapes *shapes = nullptr; // of the graph
};

/// Why a candidate is no layer. `lost` lists the experts that the router can
/// choose and the file does not hold, where the rest is a proven layer.
struct Refusal {
  std::string reason;
  llvm::SmallVector<int64_t> lost;
  mlir::Operation *where = nullptr;
};

/// Explains a candidate: which value is the layer's result, which body serves
/// which column, what the gate does. All of it follows from evaluations of
/// the nodes with chosen logits, with the expert bodies replaced by stand-ins
/// (so neither weights nor their sizes matter), and is proved by others.
bool explainLayer(const LayerCandidate &candidate, const LinearLayers &layers,
                  BankNames &banks, MoELayerMatch &match, Refusal &refusal);
} // namespace moe

#endif // MOE_PASSES_RAISE_EXPLAINLAYER_H
