// moe.router, moe.gate and moe.observe.
#include "passes/Convert/MoEConverter.h"
#include "passes/Convert/ScalarCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

namespace {
/// A slot of a token: what its weight may depend on.
struct Slot {
  Value token, place; ///< indices into ids
  Value column;       ///< that was chosen, -1 in an empty slot
  Value safeColumn;   ///< the same, 0 in an empty slot

  Value isEmpty(Code c) const {
    return c.is(arith::CmpIPredicate::slt, column, c.index(0));
  }
};
using SlotWeight = function_ref<Value(Code, Slot)>;
} // namespace

/// Weights `[T, k]` for `ids`: those that `weight` gives, divided by their sum
/// plus the epsilon where `normed`, times the scale. A zero sum leaves zeros.
static Value weighSlots(OpBuilder &builder, GateOp gate, Value ids, bool normed,
                        SlotWeight weight) {
  Location loc = gate.getLoc();
  int64_t k = cast<RankedTensorType>(ids.getType()).getDimSize(1);
  Type type = realTypeOf(gate.getResult(1).getType());
  Value init = destination(builder, loc, ids, k, type);
  return Code(builder, loc, type).fill(init, [&](Code c, ValueRange at) {
    auto value = [&](Value place) {
      Value e =
          tensor::ExtractOp::create(c.b, loc, ids, ValueRange{at[0], place});
      e = arith::IndexCastOp::create(c.b, loc, c.b.getIndexType(), e);
      Value safe = arith::MaxSIOp::create(c.b, loc, e, c.index(0));
      return weight(c, {at[0], place, e, safe});
    };
    Value w = value(at[1]);
    if (normed) {
      Value sum = c.number(gate.getNormEpsilon().convertToDouble());
      for (int64_t j = 0; j < k; ++j)
        sum = c.add(sum, value(c.index(j)));
      Value none = arith::CmpFOp::create(c.b, loc, arith::CmpFPredicate::OEQ,
                                         sum, c.number(0));
      w = c.select(none, c.number(0), c.div(w, sum));
    }
    return c.mul(w, c.number(gate.getScale().convertToDouble()));
  });
}

/// Weights of a gate that takes them from `values [T, E]` at the chosen ids.
static Value gatherValues(OpBuilder &builder, GateOp gate, Value ids) {
  return weighSlots(builder, gate, ids, gate.getNorm() == Norm::Selected,
                    [&](Code c, Slot slot) -> Value {
                      Value v =
                          c.at(gate.getValues(), {slot.token, slot.safeColumn});
                      if (!gate.getK())
                        return v;
                      return c.select(slot.isEmpty(c), c.number(0), v);
                    });
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
  SmallVector<bool> outside = columnsOutside(gate, pool);
  auto table = arith::ConstantOp::create(
      builder, gate.getLoc(),
      DenseElementsAttr::get(
          RankedTensorType::get({static_cast<int64_t>(outside.size())},
                                builder.getI1Type()),
          outside));
  return weighSlots(
      builder, gate, ids, /*normed=*/true, [&](Code c, Slot slot) -> Value {
        Value out = c.either(slot.isEmpty(c), c.at(table, slot.safeColumn));
        return c.select(out, c.number(0),
                        c.at(weights, {slot.token, slot.place}));
      });
}

/// What storage each slot uses, by the share that heavier slots have in the sum
/// of the weights: 0 or 1, or -1 where it is not run.
static Value chooseStorages(OpBuilder &builder, GateOp gate, Value ids,
                            Value weights) {
  Location loc = gate.getLoc();
  int64_t k = cast<RankedTensorType>(ids.getType()).getDimSize(1);
  ArrayRef<double> limits = *gate.getSkipCumulative();
  Value init = destination(builder, loc, ids, k, builder.getI32Type());
  return Code(builder, loc, weights.getType())
      .fill(init, [&](Code c, ValueRange at) {
        using arith::CmpFPredicate;
        auto weight = [&](Value slot) { return c.at(weights, {at[0], slot}); };
        auto compare = [&](CmpFPredicate p, Value x, Value y) -> Value {
          return arith::CmpFOp::create(c.b, loc, p, x, y);
        };
        auto number = [&](int32_t value) -> Value {
          return arith::ConstantOp::create(c.b, loc,
                                           c.b.getI32IntegerAttr(value));
        };
        Value own = weight(at[1]), all = c.number(0), before = c.number(0);
        for (int64_t j = 0; j < k; ++j) {
          Value slot = c.index(j), other = weight(slot);
          Value earlier = c.both(compare(CmpFPredicate::OEQ, other, own),
                                 c.is(arith::CmpIPredicate::slt, slot, at[1]));
          Value heavier =
              c.either(compare(CmpFPredicate::OGT, other, own), earlier);
          all = c.add(all, other);
          before = c.add(before, c.select(heavier, other, c.number(0)));
        }
        Value none = compare(CmpFPredicate::OEQ, all, c.number(0));
        Value share = c.select(none, c.number(0), c.div(before, all));
        auto within = [&](double limit) {
          return compare(CmpFPredicate::OLE, share, c.number(limit));
        };
        Value stored =
            c.select(within(limits[0]), number(0),
                     c.select(within(limits[1]), number(1), number(-1)));
        Value id = tensor::ExtractOp::create(c.b, loc, ids, at);
        return c.select(c.is(arith::CmpIPredicate::slt, id, number(0)),
                        number(-1), stored);
      });
}

/// `values` where the slot has a storage, else `otherwise`.
static Value whereStored(OpBuilder &builder, GateOp gate, Value storages,
                         Value values, Attribute otherwise) {
  Location loc = gate.getLoc();
  auto type = cast<RankedTensorType>(values.getType());
  Value init = destination(builder, loc, values, type.getDimSize(1),
                           type.getElementType());
  return Code(builder, loc, type).fill(init, [&](Code c, ValueRange at) {
    Value stored = tensor::ExtractOp::create(c.b, loc, storages, at);
    Value zero = arith::ConstantOp::create(c.b, loc, c.b.getI32IntegerAttr(0));
    Value value = tensor::ExtractOp::create(c.b, loc, values, at);
    Value other =
        arith::ConstantOp::create(c.b, loc, cast<TypedAttr>(otherwise));
    return c.select(c.is(arith::CmpIPredicate::slt, stored, zero), other,
                    value);
  });
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
  SmallVector<Value> results{route.getResult(0), chosen};
  if (gate.getSkipCumulative()) {
    Value storages = chooseStorages(builder, gate, route.getResult(0), chosen);
    Type real = cast<RankedTensorType>(chosen.getType()).getElementType();
    auto keep = [&](Value values, Attribute otherwise) {
      return whereStored(builder, gate, storages, values, otherwise);
    };
    results = {keep(results[0], builder.getI32IntegerAttr(kEmptySlot)),
               keep(chosen, builder.getFloatAttr(real, 0.0)),
               keep(storages, builder.getI32IntegerAttr(0))};
  }
  // Choices are always counted, unless an observer does.
  bool observed = llvm::any_of(gate.getIds().getUsers(), [](Operation *user) {
    auto observe = dyn_cast<ObserveOp>(user);
    return observe && observe.getMeasure() == Measure::Choice;
  });
  int64_t experts = gate.getNumColumns();
  if (!observed)
    moert::ObserveOp::create(builder, loc, moert::Measure::Choice, results[0],
                             gate.getLayer().value_or("moe"),
                             ShapedType::isDynamic(experts) ? INT64_MAX
                                                            : experts,
                             moert::Score::None);
  for (auto [from, to] : llvm::zip_equal(gate.getResults(), results))
    from.replaceAllUsesWith(
        convertTo(builder, loc, to, cast<RankedTensorType>(from.getType())));
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
