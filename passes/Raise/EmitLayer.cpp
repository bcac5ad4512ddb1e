#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "passes/Raise/MoELayerMatch.h"
#include "passes/Raise/NodeSupport.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

/// `value` as rows of its last dimension.
static Value asRows(OpBuilder &builder, Location loc, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getRank() == 2)
    return value;
  int64_t columns = type.getShape().back();
  // The graph mostly has them already.
  for (Operation *user : value.getUsers()) {
    auto node = dyn_cast<NodeOp>(user);
    if (!node || !node.is("Reshape") || node.input(0) != value ||
        user->getBlock() != builder.getInsertionBlock() ||
        !user->isBeforeInBlock(&*builder.getInsertionPoint()))
      continue;
    auto known = dyn_cast<RankedTensorType>(node.getResult(0).getType());
    if (known && known.getRank() == 2 && known.getDimSize(1) == columns)
      return node.getResult(0);
  }
  int64_t rows = 1;
  for (int64_t size : type.getShape().drop_back())
    rows = ShapedType::isDynamic(size) || ShapedType::isDynamic(rows)
               ? ShapedType::kDynamic
               : rows * size;
  auto shape = onnx::ConstantOp::create(
      builder, loc, builder.getI64TensorAttr({-1, columns}));
  return createNode(
             builder, loc, "Reshape", 13, {value, shape},
             RankedTensorType::get({rows, columns}, type.getElementType()))
      .getResult(0);
}

/// `value` widened to f32 where it is a narrower float.
static Value asF32(OpBuilder &builder, Location loc, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getElementType().getIntOrFloatBitWidth() >= 32)
    return value;
  NodeOp cast = createNode(builder, loc, "Cast", 13, value,
                           type.clone(builder.getF32Type()));
  cast.setOnnxAttributesAttr(builder.getDictionaryAttr(
      builder.getNamedAttr("to", builder.getI64IntegerAttr(1))));
  return cast.getResult(0);
}

/// A cast between float types: weights are kept narrow and widened on use.
static bool isFloatCast(NodeOp node) {
  auto isFloat = [](Value value) {
    auto type = dyn_cast<ShapedType>(value.getType());
    return type && isa<FloatType>(type.getElementType());
  };
  return node.is("Cast") && isFloat(node.input(0)) &&
         isFloat(node.getResult(0));
}

RouterMatch moe::matchRouter(Value logits) {
  RouterMatch router;
  router.logits = logits;
  Value value = logits;
  auto inner = [&](Value from) {
    while (auto node = from.getDefiningOp<NodeOp>()) {
      if (!node.is("Reshape") && !node.is("Identity") && !node.is("Cast"))
        break;
      from = node.input(0);
    }
    return from;
  };
  // A rank-2 constant, perhaps behind a transpose.
  auto weight = [&](Value from, bool transposed) {
    while (auto node = from.getDefiningOp<NodeOp>()) {
      if (node.is("Transpose"))
        transposed = !transposed;
      else if (!node.is("Identity") && !isFloatCast(node))
        return false;
      from = node.input(0);
    }
    auto type = dyn_cast<RankedTensorType>(from.getType());
    if (!isa_and_nonnull<onnx::ConstantOp, WeightOp>(from.getDefiningOp()) ||
        !type || type.getRank() != 2)
      return false;
    router.weight = from;
    router.transposed = transposed;
    return true;
  };
  auto isBias = [](Value from) {
    auto type = dyn_cast<RankedTensorType>(from.getType());
    return isa_and_nonnull<onnx::ConstantOp, WeightOp>(from.getDefiningOp()) &&
           type && type.getRank() == 1 && type.getDimSize(0) > 1;
  };
  value = inner(value);
  Value bias;
  if (auto add = value.getDefiningOp<NodeOp>(); add && add.is("Add")) {
    for (unsigned i = 0; i < 2 && !bias; ++i)
      if (isBias(add.input(i))) {
        bias = add.input(i);
        value = inner(add.input(1 - i));
      }
  }
  auto node = value.getDefiningOp<NodeOp>();
  if (!node)
    return router;
  if (node.is("MatMul") && weight(node.input(1), true)) {
    router.input = node.input(0);
  } else if (node.is("Gemm") && node.floatAttribute("alpha", 1) == 1 &&
             node.floatAttribute("beta", 1) == 1 &&
             node.intAttribute("transA", 0) == 0 && !(bias && node.input(2)) &&
             (!node.input(2) || isBias(node.input(2))) &&
             weight(node.input(1), node.intAttribute("transB", 0) == 0)) {
    router.input = node.input(0);
    if (node.input(2))
      bias = node.input(2);
  }
  if (!router.input || !isa<RankedTensorType>(router.input.getType()) ||
      cast<RankedTensorType>(router.input.getType()).getRank() < 2)
    return {Value(), Value(), false, Value(), logits};
  router.bias = bias;
  return router;
}

static void emitPool(const MoELayerMatch &match, OpBuilder &builder,
                     Location loc, StringRef name, BankNames &banks,
                     bool first) {
  OpBuilder::InsertionGuard guard(builder);
  // Pools stand before the function, the first layer's first.
  auto function =
      match.output.getDefiningOp()->getParentOfType<FunctionOpInterface>();
  Operation *place = function;
  while (place->getPrevNode() && isa<PoolOp>(place->getPrevNode()))
    place = place->getPrevNode();
  builder.setInsertionPoint(first ? place : function.getOperation());
  auto pool = PoolOp::create(builder, loc, name);
  if (pool.getBody().empty())
    pool.getBody().emplaceBlock();
  banks.getSymbols().insert(pool);
  builder.setInsertionPointToEnd(&pool.getBody().front());
  const ActivationMatch &act = match.activation;
  for (auto [i, expert] : llvm::enumerate(match.experts)) {
    std::string name = ("e" + Twine(i)).str();
    if (!expert.up) {
      NullExpertOp::create(builder, loc, name, NullKind::Zero);
      continue;
    }
    // Two columns served from the same weights are one expert.
    auto first = llvm::find(match.experts, expert);
    if (first != match.experts.begin() + i) {
      AliasOp::create(builder, loc, name,
                      ("e" + Twine(first - match.experts.begin())).str());
      continue;
    }
    auto op = ExpertOp::create(builder, loc, name, act.kind, act.activation,
                               expert.gate, expert.up, expert.down);
    if (expert.gateBias)
      op.setGateBiasAttr(expert.gateBias);
    if (expert.upBias)
      op.setUpBiasAttr(expert.upBias);
    if (expert.downBias)
      op.setDownBiasAttr(expert.downBias);
    op.setAlpha(APFloat(act.alpha));
    op.setBeta(APFloat(act.beta));
    op.setLimit(APFloat(act.limit));
  }
}

LogicalResult moe::emitLayer(const MoELayerMatch &match, BankNames &banks,
                             int64_t index) {
  Operation *before = match.output.getDefiningOp();
  Location loc = before->getLoc();
  OpBuilder builder(before);
  std::string pool = ("moe" + Twine(index)).str();
  while (banks.getSymbols().lookup(pool))
    pool += "_";
  emitPool(match, builder, loc, pool, banks, match.encoding == "subgraph");
  auto poolRef = FlatSymbolRefAttr::get(builder.getContext(), pool);

  // Routing is done in f32, whatever the activations are.
  Value logits;
  if (match.router.weight) {
    Value rows = asRows(builder, loc, match.router.input);
    auto type = RankedTensorType::get(
        {cast<RankedTensorType>(rows.getType()).getDimSize(0),
         static_cast<int64_t>(match.experts.size())},
        builder.getF32Type());
    logits = RouterOp::create(builder, loc, type, RouterKind::Linear, rows,
                              match.router.weight, match.router.bias,
                              match.router.transposed);
  } else {
    Value rows = asF32(builder, loc, asRows(builder, loc, match.router.logits));
    logits = RouterOp::create(builder, loc, rows.getType(), RouterKind::Given,
                              rows, Value());
  }

  const GateMatch &spec = match.gate;
  Value values = spec.values
                     ? asF32(builder, loc, asRows(builder, loc, spec.values))
                     : Value();
  auto gate = GateOp::create(builder, loc, spec.score, logits, poolRef,
                             spec.topK, spec.norm);
  if (spec.selectFirst)
    gate.setSelectFirst(true);
  if (spec.choiceBias)
    gate.getChoiceBiasMutable().assign(spec.choiceBias);
  if (values)
    gate.getValuesMutable().assign(values);
  if (spec.groups) {
    gate.setGroups(spec.groups);
    gate.setTopGroups(spec.topGroups);
    gate.setGroupScore(spec.groupScore);
    gate.setGroupMask(spec.groupMask);
  }
  if (spec.sparseMixer != 0)
    gate.setSparseMixer(APFloat(spec.sparseMixer));
  if (spec.norm != Norm::None)
    gate.setNormEpsilon(APFloat(spec.normEpsilon));
  if (spec.skipRatio != 0)
    gate.setSkipRatio(APFloat(spec.skipRatio));
  gate.setScale(APFloat(spec.scale));
  gate.setLayer(match.name);

  Value rows = asRows(builder, loc, match.tokens);
  auto rowsType = cast<RankedTensorType>(rows.getType());
  auto outType = dyn_cast<RankedTensorType>(match.output.getType());
  int64_t columns =
      outType ? outType.getShape().back() : rowsType.getDimSize(1);
  Type element = outType ? outType.getElementType() : rowsType.getElementType();
  auto apply = ApplyOp::create(
      builder, loc,
      RankedTensorType::get({rowsType.getDimSize(0), columns}, element),
      poolRef, rows, gate.getIds(), gate.getWeights());
  apply.setLayer(match.name);
  // How the file spelled the layer, for reports.
  apply->setAttr("moe.encoding", builder.getStringAttr(match.encoding));
  Value result = apply.getResult(0);

  for (Value addend : match.addends)
    result =
        createNode(builder, loc, "Add", 14,
                   {asRows(builder, loc, addend), result}, result.getType())
            .getResult(0);

  auto tokensType = cast<RankedTensorType>(match.tokens.getType());
  if (outType && outType.getRank() != 2) {
    auto shapeType =
        RankedTensorType::get({tokensType.getRank()}, builder.getI64Type());
    Value shape = createNode(builder, loc, "Shape", 15, match.tokens, shapeType)
                      .getResult(0);
    result = createNode(builder, loc, "Reshape", 13, {result, shape}, outType)
                 .getResult(0);
  }
  if (result.getType() != match.output.getType())
    result =
        tensor::CastOp::create(builder, loc, match.output.getType(), result);
  Value output = match.output;
  output.replaceAllUsesWith(result);
  return success();
}
