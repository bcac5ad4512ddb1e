// Subgraphs of If and Loop.
#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/ImporterImpl.h"

using namespace mlir;
using namespace moe::onnx;

/// A type of all values of both types; null where their elements differ.
static Type join(Type a, Type b) {
  if (a == b)
    return a;
  auto s = dyn_cast<TensorType>(a), t = dyn_cast<TensorType>(b);
  if (!s || !t || s.getElementType() != t.getElementType())
    return {};
  auto x = dyn_cast<RankedTensorType>(a), y = dyn_cast<RankedTensorType>(b);
  if (!x || !y || x.getRank() != y.getRank())
    return UnrankedTensorType::get(s.getElementType());
  SmallVector<int64_t> shape;
  for (auto [m, n] : llvm::zip(x.getShape(), y.getShape()))
    shape.push_back(m == n ? m : ShapedType::kDynamic);
  return RankedTensorType::get(shape, x.getElementType());
}

static std::string spellElement(Type type) {
  auto tensor = dyn_cast<TensorType>(type);
  return tensor ? nameOfElement(tensor.getElementType()) : "absent";
}

static const pb::Graph *findBody(const pb::Node &node, StringRef name) {
  for (const pb::Attribute &attribute : node.attribute())
    if (attribute.name() == name && attribute.has_g())
      return &attribute.g();
  return nullptr;
}

/// The nodes of a subgraph, at the builder's block, and what it yields.
LogicalResult Importer::importBody(const pb::Graph &body, StringRef name,
                                   Scope &inner) {
  const pb::Node *outer = current;
  int outerIndex = currentIndex;
  int64_t outerOpset = currentOpset;
  if (failed(importGraph(body, inner)))
    return failure();
  current = outer, currentIndex = outerIndex, currentOpset = outerOpset;
  SmallVector<Value> results;
  for (const pb::ValueInfo &output : body.output()) {
    auto value = lookup(output.name(), inner, [&] {
      nodeError() << name << " never produces its output '" << output.name()
                  << "'";
    });
    if (failed(value))
      return failure();
    results.push_back(*value);
  }
  YieldOp::create(builder, builder.getUnknownLoc(), results);
  return success();
}

FailureOr<SmallVector<Type>>
Importer::importIf(const pb::Node &node, Scope &scope, OperationState &state) {
  SmallVector<Type> types;
  for (StringRef name : {"then_branch", "else_branch"}) {
    const pb::Graph *body = findBody(node, name);
    if (!body)
      return nodeError() << "has no " << name;
    OpBuilder::InsertionGuard guard(builder);
    Block *block = builder.createBlock(state.addRegion());
    Scope inner;
    inner.outer = &scope;
    inner.opsets = scope.opsets;
    inner.arguments = scope.arguments;
    if (failed(importBody(*body, name, inner)))
      return failure();
    TypeRange yielded = block->getTerminator()->getOperandTypes();
    if (static_cast<int>(yielded.size()) != node.output_size())
      return nodeError() << "has " << node.output_size()
                         << " outputs, but a branch of " << yielded.size();
    if (types.empty())
      types.append(yielded.begin(), yielded.end());
    for (auto [i, type] : llvm::enumerate(types)) {
      Type joined = join(type, yielded[i]);
      if (!joined)
        return nodeError() << "output " << i << " is " << spellElement(type)
                           << " in one branch and " << spellElement(yielded[i])
                           << " in the other";
      type = joined;
    }
  }
  return types;
}

/// Forgets a body, and what is known of its values.
void Importer::clearBody(Region &body) {
  for (BlockArgument argument : body.getArguments())
    integers.erase(argument);
  body.walk([&](Operation *op) {
    for (Value result : op->getResults())
      integers.erase(result);
    for (Region &region : op->getRegions())
      for (BlockArgument argument : region.getArguments())
        integers.erase(argument);
  });
  body.getBlocks().clear();
}

/// What of a Loop does not depend on its body's nodes.
LogicalResult Importer::checkLoop(const pb::Graph &body,
                                  const NodeFacts &facts) {
  int carried = std::max<int>(facts.inputs.size(), 2) - 2;
  if (body.input_size() != carried + 2)
    return nodeError() << "carries " << carried << " values, so its body needs "
                       << carried + 2 << " inputs, but has "
                       << body.input_size();
  if (body.output_size() != static_cast<int>(facts.numOutputs) + 1)
    return nodeError() << "has " << facts.numOutputs
                       << " outputs, so its body needs " << facts.numOutputs + 1
                       << ", but has " << body.output_size();
  if (static_cast<int>(facts.numOutputs) < carried)
    return nodeError() << "carries " << carried << " values, but has "
                       << facts.numOutputs << " outputs";
  for (auto [i, name, width] :
       {std::tuple(0, "trip count", 64), std::tuple(1, "condition", 1)}) {
    if (!facts.has(i))
      continue;
    RankedTensorType type = facts.ranked(i);
    if (!facts.element(i).isSignlessInteger(width) ||
        (type &&
         (type.getRank() > 1 || (type.getRank() == 1 && !type.isDynamicDim(0) &&
                                 type.getDimSize(0) != 1))))
      return nodeError() << "needs a " << name << " of one "
                         << (width == 1 ? "bool" : "int64") << ", not "
                         << facts.inputs[i];
  }
  for (int i = 2; i < carried + 2; ++i)
    if (!facts.has(i))
      return nodeError() << "leaves out the carried value '"
                         << body.input(i).name() << "'";
  return success();
}

FailureOr<SmallVector<Type>> Importer::importLoop(const pb::Node &node,
                                                  Scope &scope,
                                                  OperationState &state,
                                                  const NodeFacts &facts) {
  const pb::Graph *body = findBody(node, "body");
  if (!body)
    return nodeError() << "has no body";
  if (failed(checkLoop(*body, facts)))
    return failure();
  while (state.operands.size() < 2)
    state.addOperands(
        NoneOp::create(builder, state.location, builder.getNoneType())
            .getResult());
  // The body may have the iteration and the condition as lists of one.
  SmallVector<Type> types;
  for (int i = 0; i < 2; ++i) {
    SmallVector<int64_t> shape(
        body->input(i).type().tensor_type().shape().dim_size() == 1, 1);
    types.push_back(RankedTensorType::get(shape, i == 0 ? builder.getI64Type()
                                                        : builder.getI1Type()));
  }
  for (Type type : llvm::drop_begin(facts.inputs, 2))
    types.push_back(type);

  Region *region = state.addRegion();
  Block *block = nullptr;
  // What the body passes on must be what it reads: sizes that differ are
  // forgotten, until none does.
  for (bool settled = false; !settled;) {
    clearBody(*region);
    OpBuilder::InsertionGuard guard(builder);
    block = builder.createBlock(
        region, {}, types, SmallVector<Location>(types.size(), state.location));
    Scope inner;
    inner.outer = &scope;
    inner.opsets = scope.opsets;
    inner.arguments = scope.arguments;
    for (auto [input, value] : llvm::zip(body->input(), block->getArguments()))
      if (!input.name().empty() &&
          !inner.values.try_emplace(input.name(), value).second)
        return nodeError() << "body has two inputs of the name '"
                           << input.name() << "'";
    if (failed(importBody(*body, "body", inner)))
      return failure();
    TypeRange yielded = block->getTerminator()->getOperandTypes();
    auto condition = dyn_cast<TensorType>(yielded[0]);
    if (!condition || !condition.getElementType().isInteger(1))
      return nodeError() << "body gives a condition of type "
                         << spellElement(yielded[0]) << ", not bool";
    settled = true;
    for (size_t i = 2; i < types.size(); ++i) {
      Type joined = join(types[i], yielded[i - 1]);
      if (!joined)
        return nodeError() << "carries '" << body->input(i).name() << "' in as "
                           << spellElement(types[i]) << " and out as "
                           << spellElement(yielded[i - 1]);
      settled &= joined == types[i];
      types[i] = joined;
    }
  }

  SmallVector<Type> results(llvm::drop_begin(types, 2));
  size_t carried = results.size();
  Value condition;
  if (facts.has(1))
    condition = state.operands[1];
  int64_t rows = ShapedType::kDynamic;
  if (auto trips = facts.value(0); trips && trips->size() == 1 &&
                                   !ShapedType::isDynamic(trips->front()) &&
                                   conditionHolds(condition, *block))
    rows = std::max<int64_t>(trips->front(), 0);
  for (Type type : llvm::drop_begin(block->getTerminator()->getOperandTypes(),
                                    carried + 1)) {
    auto tensor = dyn_cast<TensorType>(type);
    if (!tensor)
      return nodeError() << "body leaves out a scan output";
    auto ranked = dyn_cast<RankedTensorType>(type);
    SmallVector<int64_t> shape{rows};
    if (ranked)
      llvm::append_range(shape, ranked.getShape());
    results.push_back(
        ranked ? Type(RankedTensorType::get(shape, tensor.getElementType()))
               : UnrankedTensorType::get(tensor.getElementType()));
  }
  return results;
}

FailureOr<SmallVector<Type>> Importer::importRegions(const pb::Node &node,
                                                     Scope &scope,
                                                     OperationState &state,
                                                     const NodeFacts &facts) {
  if (facts.domain.empty() && facts.op == "If")
    return importIf(node, scope, state);
  if (facts.domain.empty() && facts.op == "Loop")
    return importLoop(node, scope, state, facts);
  return SmallVector<Type>();
}
