#include "passes/Raise/AttentionMatch.h"

#include "passes/Raise/WeightRef.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

/// The product that reads `weights` on its left, behind nodes that do not
/// change them (but for NaN, the weights of rows without keys).
static NodeOp productOf(Value softmax, Value &weights) {
  SmallVector<Value> work = {softmax};
  for (unsigned i = 0; i < work.size() && i < 6; ++i)
    for (Operation *user : work[i].getUsers()) {
      auto node = dyn_cast<NodeOp>(user);
      if (!node || !node.getNumResults())
        continue;
      if (node.is("MatMul") && node.getInputs()[0] == work[i]) {
        weights = work[i];
        return node;
      }
      if (node.is("Where") || node.is("Cast") || node.is("Identity") ||
          node.is("IsNaN") || node.is("Dropout"))
        work.push_back(node.getResult(0));
    }
  return {};
}

namespace {
/// Follows the scores from the softmax back to their product.
struct ScoreWalk {
  AttentionMatch &match;
  bool capped = false;
  double inside = 1; ///< factor in front of the cap

  bool follow(Value value, unsigned depth);
};
} // namespace

bool ScoreWalk::follow(Value value, unsigned depth) {
  auto node = value.getDefiningOp<NodeOp>();
  if (!node || !depth || !node.getDomain().empty())
    return false;
  auto scalar = [&](unsigned i) { return constantFloat(node.getInputs()[i]); };
  double &factor = capped ? inside : match.scoreFactor;
  if (node.is("MatMul")) {
    if (isConstant(node.getInputs()[0]) || isConstant(node.getInputs()[1]))
      return false;
    match.scores = value;
    match.queries = node.getInputs()[0];
    match.keys = node.getInputs()[1];
    return true;
  }
  if (node.is("Identity") || (node.is("Cast") && f32Type(node.getInputs()[0])))
    return follow(node.getInputs()[0], depth - 1);
  if (node.is("Mul"))
    for (unsigned side : {0u, 1u})
      if (auto number = scalar(1 - side)) {
        factor *= *number;
        return follow(node.getInputs()[side], depth - 1);
      }
  if (node.is("Div"))
    if (auto number = scalar(1)) {
      factor /= *number;
      return follow(node.getInputs()[0], depth - 1);
    }
  if (node.is("Tanh") && !capped) {
    capped = true;
    return follow(node.getInputs()[0], depth - 1);
  }
  // A cap is applied before any mask, so there is none behind it.
  if (capped)
    return false;
  AttentionMatch before = match;
  if (node.is("Add"))
    for (unsigned side : {0u, 1u}) {
      match = before;
      // What is added after a factor of the scores is not multiplied by it.
      if (match.scoreFactor != 1)
        return false;
      match.addends.push_back(node.getInputs()[1 - side]);
      if (follow(node.getInputs()[side], depth - 1))
        return true;
      capped = false;
      inside = 1;
    }
  if (node.is("Where"))
    for (unsigned hidden : {1u, 2u})
      if (auto number = scalar(hidden); number && *number <= -1e9) {
        match.conditions.push_back(node.getInputs()[0]);
        return follow(node.getInputs()[3 - hidden], depth - 1);
      }
  return false;
}

std::optional<AttentionMatch> moe::matchAttention(NodeOp softmax,
                                                  std::string &reason) {
  auto type = f32Type(softmax.getResult(0));
  if (!type || type.getRank() != 4 ||
      axisOf(softmax.intAttribute("axis", -1), 4) != 3) {
    reason = "it is no softmax over the last of four dimensions of f32";
    return std::nullopt;
  }
  AttentionMatch match;
  NodeOp product = productOf(softmax.getResult(0), match.weights);
  if (!product) {
    reason = "no product reads its result";
    return std::nullopt;
  }
  match.output = product.getResult(0);
  match.values = product.getInputs()[1];
  ScoreWalk walk{match};
  if (!walk.follow(softmax.getInputs()[0], 12)) {
    reason = "what it reads is no product with masks and factors";
    return std::nullopt;
  }
  if (walk.capped) {
    match.softcap = match.scoreFactor;
    match.scoreFactor *= walk.inside;
  }
  auto four = [](Value v) {
    auto type = f32Type(v);
    return type && type.getRank() == 4;
  };
  if (!four(match.queries) || !four(match.keys) || !four(match.values) ||
      !four(match.output) || isConstant(match.values)) {
    reason = "its products are not of four dimensions of f32";
    return std::nullopt;
  }
  return match;
}
