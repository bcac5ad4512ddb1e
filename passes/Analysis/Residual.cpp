#include "passes/Analysis/Residual.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

namespace {
/// What changes the shape or the type of its first input alone.
bool isView(Operation *op) {
  auto node = dyn_cast_or_null<NodeOp>(op);
  return isa_and_nonnull<tensor::CastOp>(op) ||
         (node &&
          (node.is("Reshape") || node.is("Cast") || node.is("Identity") ||
           node.is("Squeeze") || node.is("Unsqueeze") || node.is("Flatten")));
}

/// `value` without the views that it is seen through.
Value source(Value value) {
  while (isView(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  return value;
}

bool isConstant(Value value) {
  Operation *op = source(value).getDefiningOp();
  return isa_and_nonnull<WeightOp, onnx::ConstantOp, onnx::NoneOp>(op);
}

/// Is `value` a function of `stream` and constants alone, made of what norms
/// are made of?
bool isNormOf(Value value, Value stream) {
  static const char *unary[] = {
      "ReduceMean",         "ReduceSumSquare",  "ReduceL2",
      "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"};
  static const char *pointwise[] = {"Add", "Sub",  "Mul", "Div",
                                    "Pow", "Sqrt", "Abs", "Reciprocal"};
  auto isOneOf = [](NodeOp node, ArrayRef<const char *> names) {
    return llvm::any_of(
        names, [&](const char *name) { return node.getOpType() == name; });
  };
  // More nodes than any spelling of a norm has.
  constexpr size_t most = 64;
  llvm::SetVector<Value> open;
  open.insert(value);
  for (size_t i = 0; i < open.size(); ++i) {
    Value next = open[i];
    if (next == stream || isConstant(next))
      continue;
    Operation *op = next.getDefiningOp();
    auto node = dyn_cast_or_null<NodeOp>(op);
    if (isView(op) ||
        (node && isOneOf(node, unary) && next == node.getResult(0)))
      open.insert(op->getOperand(0));
    else if (node && isOneOf(node, pointwise))
      open.insert(node.getInputs().begin(), node.getInputs().end());
    else
      return false;
    if (open.size() > most)
      return false;
  }
  return open.contains(stream);
}

/// Does `value` depend on `on`?
bool dependsOn(Value value, Value on) {
  llvm::DenseSet<Operation *> seen;
  SmallVector<Value> open{value};
  while (!open.empty()) {
    Value next = open.pop_back_val();
    if (next == on)
      return true;
    Operation *op = next.getDefiningOp();
    if (!op || !seen.insert(op).second)
      continue;
    open.append(op->operand_begin(), op->operand_end());
    // Subgraphs read what is outside of them directly.
    op->walk([&](Operation *inner) {
      open.append(inner->operand_begin(), inner->operand_end());
    });
  }
  return false;
}

/// `add` of two values of one type, which is no broadcast.
bool isSum(NodeOp add) {
  return add && add.is("Add") &&
         add.getInputs()[0].getType() == add.getInputs()[1].getType();
}

/// The only operation that reads `value`, or null; observers do not count.
Operation *onlyUser(Value value) {
  Operation *only = nullptr;
  for (Operation *user : value.getUsers()) {
    if (isa<ObserveOp>(user))
      continue;
    if (only && only != user)
      return nullptr;
    only = user;
  }
  return only;
}
} // namespace

std::optional<ResidualBlock> moe::findResidual(ApplyOp apply) {
  if (apply.getTokens().size() != 1 || apply.getOuts().size() != 1)
    return std::nullopt;
  Value tokens = apply.getTokens()[0];
  Value value = apply.getResult(0);
  ResidualBlock found;
  while (!found.add) {
    Operation *user = onlyUser(value);
    if (!user)
      return std::nullopt;
    if (isView(user) && user->getOperand(0) == value) {
      value = user->getResult(0);
      continue;
    }
    auto add = dyn_cast<NodeOp>(user);
    if (!isSum(add) || add.getInputs()[0] == add.getInputs()[1])
      return std::nullopt;
    Value other = add.getInputs()[add.getInputs()[0] == value ? 1 : 0];
    if (isNormOf(tokens, other)) {
      found.add = add;
      found.before = other;
      found.after = add.getResult(0);
    }
    value = add.getResult(0); // a shared expert's output
  }
  // Models that serve one token at a time add in rank 2, say.
  auto branch = source(found.before).getDefiningOp<NodeOp>();
  if (!isSum(branch))
    return found;
  Value a = branch.getInputs()[0], b = branch.getInputs()[1];
  bool aFirst = dependsOn(b, source(a)), bFirst = dependsOn(a, source(b));
  if (aFirst == bFirst || isConstant(a) || isConstant(b))
    return found;
  Value stream = aFirst ? a : b;
  if (stream.getType() != found.before.getType())
    return found;
  found.branchAdd = branch;
  found.blockBefore = stream;
  return found;
}
