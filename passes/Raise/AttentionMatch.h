#ifndef MOE_PASSES_RAISE_ATTENTIONMATCH_H
#define MOE_PASSES_RAISE_ATTENTIONMATCH_H

#include "dialects/MoERT/MoERTOps.h"
#include "passes/Raise/HeadLayout.h"
#include <optional>
#include <string>

namespace moe {
/// An operand of attention: a tensor of heads that the graph brings into the
/// form of a matrix product by moving and repeating it.
struct HeadsOperand {
  mlir::Value root;
  HeadLayout layout = HeadLayout::HeadsFirst;
  int64_t heads = 0, features = 0;
  double factor = 1; ///< the graph multiplies it by
};

/// Softmax of products between two products, as moert.attention says it.
/// First what structure shows, then what measuring shows.
struct AttentionMatch {
  // Structure.
  mlir::Value output;  ///< [B, heads, S, D]
  mlir::Value weights; ///< the softmax, as the second product reads it
  mlir::Value scores;  ///< the first product, [B, heads, S, L]
  mlir::Value queries, keys, values;         ///< operands of the products
  llvm::SmallVector<mlir::Value> addends;    ///< added to the scores
  llvm::SmallVector<mlir::Value> conditions; ///< choose scores to be hidden
  double scoreFactor = 1, softcap = 0;

  // Measured.
  HeadsOperand query, key, value;
  double scale = 1;
  bool causal = false;
  int64_t window = 0;
  mlir::Value keyMask;    ///< [B, L], where one hides keys
  bool maskIsOne = false; ///< only 1 shows a key, else anything but 0
  mlir::Value bias;       ///< [B or 1, heads or 1, S, L]
  moert::MaskedRow maskedRow = moert::MaskedRow::Zero;
};

/// What structure shows about the softmax of `node`; nothing, with a reason,
/// where it is not between two products.
std::optional<AttentionMatch> matchAttention(onnx::NodeOp softmax,
                                             std::string &reason);

/// Measures the rest of `match` and proves it: the nodes are evaluated with
/// random heads and masks and compared with attention. False with a reason
/// where it cannot be said in moert.
bool explainAttention(AttentionMatch &match, SymbolicShapes &shapes,
                      std::string &reason);
} // namespace moe

#endif // MOE_PASSES_RAISE_ATTENTIONMATCH_H
