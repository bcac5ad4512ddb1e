// moe.router, moe.gate and moe.observe.
#include "passes/Convert/MoEConverter.h"
#include "passes/Convert/ScalarCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

/// Weights of a gate that takes them from `values [T, E]` at the chosen ids.
static Value gatherValues(OpBuilder &builder, GateOp gate, Value ids) {
  Location loc = gate.getLoc();
  auto type = cast<RankedTensorType>(ids.getType());
  int64_t k = type.getDimSize(1);
  SmallVector<Value> dynamic;
  if (type.isDynamicDim(0))
    dynamic.push_back(tensor::DimOp::create(builder, loc, ids, 0));
  auto real = cast<FloatType>(realTypeOf(gate.getResult(1).getType()));
  Value init =
      tensor::EmptyOp::create(builder, loc, type.getShape(), real, dynamic);
  SmallVector<AffineMap> maps{builder.getMultiDimIdentityMap(2)};
  SmallVector<utils::IteratorType> loops(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, loc, TypeRange{init.getType()}, ValueRange{},
             ValueRange{init}, maps, loops,
             [&](OpBuilder &b, Location, ValueRange) {
               Value t = linalg::IndexOp::create(b, loc, 0);
               auto number = [&](double v) -> Value {
                 return arith::ConstantOp::create(b, loc,
                                                  b.getFloatAttr(real, v));
               };
               auto value = [&](Value j) -> Value {
                 Value id =
                     tensor::ExtractOp::create(b, loc, ids, ValueRange{t, j});
                 Value e =
                     arith::IndexCastOp::create(b, loc, b.getIndexType(), id);
                 Value first = arith::ConstantIndexOp::create(b, loc, 0);
                 Value safe = arith::MaxSIOp::create(b, loc, e, first);
                 Value v = tensor::ExtractOp::create(b, loc, gate.getValues(),
                                                     ValueRange{t, safe});
                 v = Code(b, loc, real).as(v, real);
                 if (!gate.getK())
                   return v;
                 // An empty slot.
                 Value none = arith::CmpIOp::create(
                     b, loc, arith::CmpIPredicate::slt, e, first);
                 return arith::SelectOp::create(b, loc, none, number(0), v);
               };
               Value w = value(linalg::IndexOp::create(b, loc, 1));
               if (gate.getNorm() == Norm::Selected) {
                 Value sum = number(gate.getNormEpsilon().convertToDouble());
                 for (int64_t j = 0; j < k; ++j)
                   sum = arith::AddFOp::create(
                       b, loc, sum,
                       value(arith::ConstantIndexOp::create(b, loc, j)));
                 Value none = arith::CmpFOp::create(
                     b, loc, arith::CmpFPredicate::OEQ, sum, number(0));
                 Value ratio = arith::DivFOp::create(b, loc, w, sum);
                 w = arith::SelectOp::create(b, loc, none, number(0), ratio);
               }
               w = arith::MulFOp::create(
                   b, loc, w, number(gate.getScale().convertToDouble()));
               linalg::YieldOp::create(b, loc, w);
             })
      .getResult(0);
}

/// Which columns the gate's norm leaves out of its sum.
static SmallVector<bool> columnsOutside(GateOp gate, PoolOp pool) {
  SmallVector<bool> outside;
  for (int64_t e = 0, n = pool.getNumEntries(); e < n; ++e) {
    auto null = dyn_cast<NullExpertOp>(pool.getResolvedEntry(e).getOperation());
    outside.push_back(null && (gate.getNorm() == Norm::Real ||
                               null.getKind() == NullKind::Zero));
  }
  return outside;
}

/// Weights divided by their sum over the experts that count, times the scale;
/// those of the others are zero.
static Value normalizeSome(OpBuilder &builder, GateOp gate, PoolOp pool,
                           Value ids, Value weights) {
  Location loc = gate.getLoc();
  auto type = cast<RankedTensorType>(weights.getType());
  int64_t k = type.getDimSize(1);
  SmallVector<bool> outside = columnsOutside(gate, pool);
  auto table = arith::ConstantOp::create(
      builder, loc,
      DenseElementsAttr::get(
          RankedTensorType::get({static_cast<int64_t>(outside.size())},
                                builder.getI1Type()),
          outside));
  Value init = destination(builder, loc, weights, k, type.getElementType());
  SmallVector<AffineMap> maps{builder.getMultiDimIdentityMap(2)};
  SmallVector<utils::IteratorType> loops(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, loc, TypeRange{type}, ValueRange{}, ValueRange{init},
             maps, loops,
             [&](OpBuilder &b, Location loc, ValueRange) {
               Value t = linalg::IndexOp::create(b, loc, 0);
               Value zero = arith::ConstantOp::create(
                   b, loc, b.getFloatAttr(type.getElementType(), 0));
               auto number = [&](double v) -> Value {
                 return arith::ConstantOp::create(
                     b, loc, b.getFloatAttr(type.getElementType(), v));
               };
               // The weight of slot j, where it counts.
               auto weight = [&](Value j) -> Value {
                 Value id =
                     tensor::ExtractOp::create(b, loc, ids, ValueRange{t, j});
                 Value e =
                     arith::IndexCastOp::create(b, loc, b.getIndexType(), id);
                 Value first = arith::ConstantIndexOp::create(b, loc, 0);
                 Value none = arith::CmpIOp::create(
                     b, loc, arith::CmpIPredicate::slt, e, first);
                 Value safe = arith::MaxSIOp::create(b, loc, e, first);
                 Value out =
                     tensor::ExtractOp::create(b, loc, table, ValueRange{safe});
                 out = arith::OrIOp::create(b, loc, none, out);
                 Value w = tensor::ExtractOp::create(b, loc, weights,
                                                     ValueRange{t, j});
                 return arith::SelectOp::create(b, loc, out, zero, w);
               };
               Value own = weight(linalg::IndexOp::create(b, loc, 1));
               Value sum = number(gate.getNormEpsilon().convertToDouble());
               for (int64_t j = 0; j < k; ++j)
                 sum = arith::AddFOp::create(
                     b, loc, sum,
                     weight(arith::ConstantIndexOp::create(b, loc, j)));
               Value none = arith::CmpFOp::create(
                   b, loc, arith::CmpFPredicate::OEQ, sum, zero);
               Value ratio = arith::DivFOp::create(b, loc, own, sum);
               ratio = arith::SelectOp::create(b, loc, none, zero, ratio);
               ratio = arith::MulFOp::create(
                   b, loc, ratio, number(gate.getScale().convertToDouble()));
               linalg::YieldOp::create(b, loc, ratio);
             })
      .getResult(0);
}

LogicalResult MoEConverter::convert(RouterOp router) {
  builder.setInsertionPoint(router);
  Location loc = router.getLoc();
  if (router.getKind() == RouterKind::Given) {
    router.replaceAllUsesWith(router.getInput());
    router.erase();
    return success();
  }
  if (router.getKind() != RouterKind::Linear || !router.getWeight() ||
      router.getResidual() || router.getStandardize())
    return router.emitOpError("of kind ")
           << stringifyRouterKind(router.getKind())
           << " with these options has no kernel yet; linear and given have";
  auto type = cast<RankedTensorType>(router.getLogits().getType());
  Value init = destination(builder, loc, router.getInput(), type.getDimSize(1),
                           realTypeOf(type));
  auto gemm = moert::GemmOp::create(
      builder, loc, TypeRange{init.getType()}, router.getInput(),
      router.getWeight(), router.getBias(), Value(), init,
      router.getTransposed() ? UnitAttr() : builder.getUnitAttr());
  router.replaceAllUsesWith(convertTo(builder, loc, gemm.getResult(0), type));
  router.erase();
  return success();
}

LogicalResult MoEConverter::convert(GateOp gate) {
  auto refuse = [&](StringRef feature) {
    return gate.emitOpError("with ") << feature << " has no kernel yet";
  };
  if (gate.getDense() || !gate.getTopK())
    return refuse("dense weights");
  if (gate.getSubset())
    return refuse("a subset of the pool");
  if (gate.getSparseMixer())
    return refuse("sparse_mixer");
  bool some = gate.getNorm() == Norm::Real || gate.getNorm() == Norm::Nonzero;
  PoolOp pool = gate.getPoolAttr()
                    ? PoolOp::lookup(gate, gate.getPoolAttr(), collection)
                    : PoolOp();
  if (some && (gate.getValues() || gate.getSkipRatio() || !pool))
    return refuse("a norm over some kinds of experts, beside a skip rule or "
                  "values of its own,");
  if (gate.getSkipCumulative())
    return refuse("a cumulative skip rule");
  if (gate.getSkipRatio() && gate.getValues())
    return refuse("a skip rule on values that are no scores");
  if (gate.getCapacity() || gate.getCapacityFactor())
    return refuse("a capacity");
  builder.setInsertionPoint(gate);
  Location loc = gate.getLoc();
  int64_t k = *gate.getTopK();
  Value ids =
      destination(builder, loc, gate.getLogits(), k, builder.getI32Type());
  Value weights = destination(builder, loc, gate.getLogits(), k,
                              realTypeOf(gate.getResult(1).getType()));
  auto unit = [&](bool on) { return on ? builder.getUnitAttr() : UnitAttr(); };
  double mask = gate.getGroupMask() == GroupMask::Zero ? 0.0 : -INFINITY;
  auto route = moert::RouteOp::create(
      builder, loc, TypeRange{ids.getType(), weights.getType()},
      moert::ScoreAttr::get(builder.getContext(),
                            static_cast<moert::Score>(gate.getScore())),
      gate.getLogits(), gate.getChoiceBias(), gate.getK(),
      ValueRange{ids, weights}, unit(gate.getSelectFirst()),
      unit(gate.getNorm() == Norm::Selected),
      some ? builder.getF64FloatAttr(0) : gate.getNormEpsilonAttr(),
      some ? builder.getF64FloatAttr(1) : gate.getScaleAttr(),
      builder.getI64IntegerAttr(gate.getGroups().value_or(0)),
      builder.getI64IntegerAttr(gate.getTopGroups().value_or(0)),
      unit(gate.getGroupScore() == GroupScore::Top2),
      builder.getF64FloatAttr(mask), unit(gate.getTiesHigh()),
      gate.getLayerAttr(), gate.getSkipRatioAttr());
  Value chosen = route.getResult(1);
  if (gate.getValues())
    chosen = gatherValues(builder, gate, route.getResult(0));
  if (some)
    chosen = normalizeSome(builder, gate, pool, route.getResult(0), chosen);
  // Choices are always counted, unless an observer does.
  bool observed = llvm::any_of(gate.getIds().getUsers(), [](Operation *user) {
    auto observe = dyn_cast<ObserveOp>(user);
    return observe && observe.getMeasure() == Measure::Choice;
  });
  int64_t experts = gate.getNumColumns();
  if (!observed)
    moert::ObserveOp::create(
        builder, loc, moert::Measure::Choice, route.getResult(0),
        gate.getLayer().value_or("moe"),
        ShapedType::isDynamic(experts) ? INT64_MAX : experts,
        moert::Score::None);
  for (auto [from, to] :
       llvm::zip(gate.getResults(), ValueRange{route.getResult(0), chosen})) {
    from.replaceAllUsesWith(
        convertTo(builder, loc, to, cast<RankedTensorType>(from.getType())));
  }
  gate.erase();
  return success();
}

LogicalResult MoEConverter::convert(ObserveOp observe) {
  static_assert(int(Measure::Choice) == int(moert::Measure::Choice) &&
                int(Measure::Outputs) == int(moert::Measure::Outputs));
  builder.setInsertionPoint(observe);
  int64_t experts = cast<RankedTensorType>(observe.getValues()[0].getType())
                        .getShape()
                        .back();
  if (PoolOp pool =
          observe.getPool()
              ? PoolOp::lookup(observe, observe.getPoolAttr(), collection)
              : PoolOp())
    experts = pool.getNumEntries();
  moert::ObserveOp::create(
      builder, observe.getLoc(),
      static_cast<moert::Measure>(observe.getMeasure()), observe.getValues(),
      observe.getName(), experts,
      static_cast<moert::Score>(observe.getScore().value_or(Score::None)));
  observe.erase();
  return success();
}
