#include "passes/Raise/Evaluate.h"
#include "passes/Raise/NodeSupport.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

const HostTensor *GraphEvaluator::get(Value value) {
  auto found = values.find(value.getAsOpaquePointer());
  if (found == values.end()) {
    if (!error.empty() || !compute(value))
      return nullptr;
    found = values.find(value.getAsOpaquePointer());
  }
  return found == values.end() ? nullptr : &found->second;
}

/// The result of a Shape from known symbols alone.
bool GraphEvaluator::knowsShape(NodeOp node, HostTensor &tensor) {
  Value input = node.getInputs()[0];
  if (!known || values.count(input.getAsOpaquePointer()))
    return false;
  const SymbolicShape *sizes = known->shape(input);
  if (!sizes)
    return false;
  HostTensor like;
  for (const DimExpr &size : *sizes) {
    // Sizes that the node leaves out need not be known.
    like.shape.push_back(size.evaluate(knownSymbols).value_or(-1));
  }
  SmallVector<HostTensor> outputs;
  std::string why;
  const HostTensor *in = &like;
  if (!evaluateNode(node, in, outputs, why) ||
      llvm::any_of(outputs[0].data, [](double size) { return size < 0; }))
    return false;
  tensor = std::move(outputs[0]);
  return true;
}

bool GraphEvaluator::compute(Value value) {
  if (auto rule = rules.find(value); rule != rules.end()) {
    HostTensor tensor;
    if (!rule->second(*this, tensor))
      return fail("a stand-in failed");
    values[value.getAsOpaquePointer()] = std::move(tensor);
    return true;
  }
  HostTensor constant;
  std::string why;
  if (symbolic && isa<RankedTensorType>(value.getType()))
    if (const SymbolicShape *numbers = symbolic->elements(value)) {
      const SymbolicShape &sizes = *symbolic->shape(value);
      HostTensor tensor({}, 0.0, true);
      tensor.data.clear();
      for (const DimExpr &size : sizes)
        tensor.shape.push_back(size.evaluate(symbols));
      for (const DimExpr &number : *numbers)
        tensor.data.push_back(static_cast<double>(number.evaluate(symbols)));
      values[value.getAsOpaquePointer()] = std::move(tensor);
      return true;
    }
  Operation *op = value.getDefiningOp();
  if (!op)
    return fail(isGraphArgument(value) ? "depends on an argument of the graph"
                                       : "depends on what a loop carries");
  auto node = dyn_cast<NodeOp>(op);
  if (!node) {
    if (!readConstant(value, constant, why))
      return fail(why);
    values[value.getAsOpaquePointer()] = std::move(constant);
    return true;
  }
  if (node.is("If")) {
    const HostTensor *condition = get(node.input(0));
    if (!condition || condition->size() != 1 || node.getBodies().size() != 2)
      return fail("If: has no condition");
    Operation *yield = node.getBodies()[condition->data[0] != 0 ? 0 : 1]
                           .front()
                           .getTerminator();
    const HostTensor *result =
        get(yield->getOperand(cast<OpResult>(value).getResultNumber()));
    if (!result)
      return false;
    HostTensor copy = *result;
    values[value.getAsOpaquePointer()] = std::move(copy);
    return true;
  }
  if (node.is("Shape") && knowsShape(node, constant)) {
    values[value.getAsOpaquePointer()] = std::move(constant);
    return true;
  }
  if (node.is("Shape") && argumentShapes)
    if (auto argument = dyn_cast<BlockArgument>(node.getInputs()[0]);
        argument && isGraphArgument(argument) &&
        !values.count(argument.getAsOpaquePointer())) {
      HostTensor likeArgument;
      if (!argumentShapes(argument, likeArgument))
        return fail("needs the shape of an argument of the graph");
      const HostTensor *input = &likeArgument;
      SmallVector<HostTensor> outputs;
      if (!evaluateNode(node, input, outputs, why))
        return fail(why);
      values[value.getAsOpaquePointer()] = std::move(outputs[0]);
      return true;
    }
  if (!node.getBodies().empty())
    return fail(node.getOpType() + ": subgraphs are not evaluated");
  for (Value input : node.getInputs())
    if (!isa<NoneType>(input.getType()) && !get(input))
      return false;
  SmallVector<const HostTensor *> inputs;
  for (Value input : node.getInputs())
    inputs.push_back(isa<NoneType>(input.getType())
                         ? nullptr
                         : &values.find(input.getAsOpaquePointer())->second);
  SmallVector<HostTensor> outputs;
  if (!evaluateNode(node, inputs, outputs, why))
    return fail(why);
  for (auto [result, tensor] : llvm::zip(node.getResults(), outputs))
    if (!values.count(result.getAsOpaquePointer()))
      values[result.getAsOpaquePointer()] = std::move(tensor);
  return values.count(value.getAsOpaquePointer()) ||
         fail(node.getOpType() + ": has no such result");
}
