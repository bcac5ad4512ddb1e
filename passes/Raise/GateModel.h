#ifndef MOE_PASSES_RAISE_GATEMODEL_H
#define MOE_PASSES_RAISE_GATEMODEL_H

#include "passes/Raise/Evaluate.h"
#include "passes/Raise/MoELayerMatch.h"

namespace moe {
/// What a gate can be made of, as found in the nodes of a layer.
struct GateHints {
  struct Bias {
    mlir::Value value;
    std::vector<double> numbers;
  };
  llvm::SmallVector<double> scalars; // scales and epsilons are among them
  llvm::SmallVector<Bias> biases;    // vectors as long as there are experts
  llvm::SmallVector<int64_t> groups; // sizes of a split of the experts
  llvm::SmallVector<int64_t> counts; // the k of TopK nodes
  /// Tables that say of each expert whether it is null.
  llvm::SmallVector<llvm::SmallVector<bool>> nullTables;
};

/// The weight of every expert for rows of logits `[T, E]`, in f64, as the
/// description of `moe.gate` says. `bias` are the numbers of the choice bias.
/// `slots` become the chosen columns of each row, best first.
HostTensor denseWeights(const GateMatch &gate, llvm::ArrayRef<double> bias,
                        const HostTensor &logits,
                        std::vector<int64_t> *slots = nullptr);

/// Finds the gate that gives `weights` for `logits`, among those that the
/// hints allow; false where there is none. Columns with `known` false are not
/// compared.
bool fitGate(const HostTensor &logits, const HostTensor &weights,
             const GateHints &hints, llvm::ArrayRef<bool> known,
             GateMatch &gate, std::vector<double> &bias);
} // namespace moe

#endif // MOE_PASSES_RAISE_GATEMODEL_H
