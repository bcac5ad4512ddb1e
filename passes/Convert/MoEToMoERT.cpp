#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/Convert/Passes.h"
#include "passes/Convert/ScalarCode.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTMOETOMOERTPASS
#include "passes/Convert/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// A destination with the sizes of `like`'s leading dimensions and `last`.
Value destination(OpBuilder &builder, Location loc, Value like, int64_t last,
                  Type element) {
  auto type = cast<RankedTensorType>(like.getType());
  SmallVector<int64_t> shape(type.getShape().drop_back());
  shape.push_back(last);
  SmallVector<Value> dynamic;
  for (int64_t d = 0; d + 1 < type.getRank(); ++d)
    if (type.isDynamicDim(d))
      dynamic.push_back(tensor::DimOp::create(builder, loc, like, d));
  return tensor::EmptyOp::create(builder, loc, shape, element, dynamic);
}

/// `value` under `type`: another static shape, or rounded elements.
Value convertTo(OpBuilder &builder, Location loc, Value value,
                RankedTensorType type) {
  auto from = cast<RankedTensorType>(value.getType());
  if (from.getElementType() != type.getElementType()) {
    SmallVector<Value> dynamic;
    for (int64_t d = 0; d < from.getRank(); ++d)
      if (from.isDynamicDim(d))
        dynamic.push_back(tensor::DimOp::create(builder, loc, value, d));
    Value init = tensor::EmptyOp::create(builder, loc, from.getShape(),
                                         type.getElementType(), dynamic);
    SmallVector<AffineMap> maps(2,
                                builder.getMultiDimIdentityMap(from.getRank()));
    SmallVector<utils::IteratorType> loops(from.getRank(),
                                           utils::IteratorType::parallel);
    value = linalg::GenericOp::create(
                builder, loc, TypeRange{init.getType()}, ValueRange{value},
                ValueRange{init}, maps, loops,
                [&](OpBuilder &b, Location, ValueRange elements) {
                  linalg::YieldOp::create(
                      b, loc,
                      arith::TruncFOp::create(b, loc, type.getElementType(),
                                              elements[0])
                          .getResult());
                })
                .getResult(0);
  }
  if (value.getType() == type)
    return value;
  return tensor::CastOp::create(builder, loc, type, value);
}

/// Weights of a gate that takes them from `values [T, E]` at the chosen ids.
Value gatherValues(OpBuilder &builder, GateOp gate, Value ids) {
  Location loc = gate.getLoc();
  auto type = cast<RankedTensorType>(ids.getType());
  int64_t k = type.getDimSize(1);
  SmallVector<Value> dynamic;
  if (type.isDynamicDim(0))
    dynamic.push_back(tensor::DimOp::create(builder, loc, ids, 0));
  Value init = tensor::EmptyOp::create(builder, loc, type.getShape(),
                                       builder.getF32Type(), dynamic);
  SmallVector<AffineMap> maps{builder.getMultiDimIdentityMap(2)};
  SmallVector<utils::IteratorType> loops(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, loc, TypeRange{init.getType()}, ValueRange{},
             ValueRange{init}, maps, loops,
             [&](OpBuilder &b, Location, ValueRange) {
               Value t = linalg::IndexOp::create(b, loc, 0);
               auto value = [&](Value j) -> Value {
                 Value id =
                     tensor::ExtractOp::create(b, loc, ids, ValueRange{t, j});
                 Value e =
                     arith::IndexCastOp::create(b, loc, b.getIndexType(), id);
                 Value v = tensor::ExtractOp::create(b, loc, gate.getValues(),
                                                     ValueRange{t, e});
                 if (v.getType() != b.getF32Type())
                   v = arith::ExtFOp::create(b, loc, b.getF32Type(), v);
                 return v;
               };
               Value w = value(linalg::IndexOp::create(b, loc, 1));
               auto number = [&](double v) -> Value {
                 return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(v));
               };
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

/// What entries that copy their token add: `x[t]` times the sum of the weights
/// of their slots. It starts the sum over the others, as their residual.
Value copiedTokens(OpBuilder &builder, ApplyOp apply,
                   ArrayRef<int64_t> copies) {
  Location loc = apply.getLoc();
  Value x = apply.getTokens()[0], ids = apply.getIds()[0];
  int64_t slots = cast<RankedTensorType>(ids.getType()).getDimSize(1);
  Type type = builder.getF32Type();
  auto tokens = cast<RankedTensorType>(x.getType());
  Value init = destination(builder, loc, x, tokens.getDimSize(1), type);
  Code c{builder, loc};
  return c.fill(init, [&](Code c, ValueRange i) {
    Value token = c.as(c.at(x, i), type);
    return c.fold(c.index(slots), c.f32(0), [&](Code c, Value j, Value sum) {
      Value id = tensor::ExtractOp::create(c.b, loc, ids, ValueRange{i[0], j});
      Value copied =
          arith::ConstantOp::create(c.b, loc, c.b.getBoolAttr(false));
      for (int64_t e : copies) {
        Value entry = arith::ConstantOp::create(
            c.b, loc, c.b.getIntegerAttr(id.getType(), e));
        copied = c.either(copied, c.is(arith::CmpIPredicate::eq, id, entry));
      }
      Value w = c.as(c.at(apply.getWeights()[0], {i[0], j}), type);
      return c.select(copied, c.add(sum, c.mul(w, token)), sum);
    });
  });
}

class Converter {
public:
  Converter(ModuleOp module, int64_t width)
      : module(module), symbols(module), builder(module.getContext()),
        width(width) {}

  LogicalResult convert(RouterOp router);
  LogicalResult convert(GateOp gate);
  LogicalResult convert(ApplyOp apply);
  /// Packs the weight of a gemm, where it is a plain bank.
  LogicalResult pack(moert::GemmOp gemm);

private:
  /// One matrix per entry, as runs of columns.
  using Runs = SmallVector<SmallVector<ColumnsAttr>>;

  /// A derived bank of `runs`, packed, as a value before `at`.
  FailureOr<Value> pack(Operation *at, StringRef name, const Runs &runs,
                        int64_t depth, int64_t width, int64_t interleave);
  FailureOr<Value> packBias(Operation *at, StringRef name, const Runs &runs);

  ModuleOp module;
  SymbolTable symbols;
  SymbolTableCollection collection;
  OpBuilder builder;
  int64_t width; // columns of a panel
};
} // namespace

FailureOr<Value> Converter::pack(Operation *at, StringRef name,
                                 const Runs &runs, int64_t depth, int64_t width,
                                 int64_t interleave) {
  Type element;
  int64_t columns = 0;
  SmallVector<Attribute> matrices;
  for (const auto &list : runs) {
    int64_t own = 0;
    SmallVector<Attribute> attributes;
    for (ColumnsAttr run : list) {
      auto bank = symbols.lookup<BankOp>(run.getBank().getValue());
      if (!bank)
        return at->emitOpError("reads weights of ")
               << run.getBank() << ", which is not a moe.bank";
      Type type = bank.getTensorType().getElementType();
      if (element && type != element)
        return at->emitOpError("mixes weights of types ")
               << element << " and " << type << ", which cannot be packed yet";
      element = type;
      own = interleave ? run.getCount() : own + run.getCount();
      attributes.push_back(run);
    }
    columns = std::max(columns, own);
    matrices.push_back(builder.getArrayAttr(attributes));
  }
  int64_t perPanel = interleave ? interleave : width;
  auto type = RankedTensorType::get(
      {static_cast<int64_t>(runs.size()),
       static_cast<int64_t>(llvm::divideCeil(columns, perPanel)), depth, width},
      element);
  auto recipe = PanelsAttr::get(builder.getContext(), width, depth, interleave,
                                builder.getArrayAttr(matrices));
  builder.setInsertionPointToEnd(module.getBody());
  auto bank = BankOp::create(builder, at->getLoc(), builder.getStringAttr(name),
                             StringAttr(), StringAttr(), IntegerAttr(),
                             IntegerAttr(), recipe, TypeAttr::get(type));
  symbols.insert(bank);
  builder.setInsertionPoint(at);
  return WeightOp::create(builder, at->getLoc(), type,
                          FlatSymbolRefAttr::get(bank.getSymNameAttr()))
      .getResult();
}

/// Biases `[E, N]`: one panel of depth one per entry.
FailureOr<Value> Converter::packBias(Operation *at, StringRef name,
                                     const Runs &runs) {
  int64_t columns = 0;
  for (const auto &list : runs) {
    int64_t own = 0;
    for (ColumnsAttr run : list)
      own += run.getCount();
    columns = std::max(columns, own);
  }
  FailureOr<Value> packed = pack(at, name, runs, 1, columns, 0);
  if (failed(packed))
    return failure();
  SmallVector<ReassociationIndices> groups{{0, 1, 2}, {3}};
  return tensor::CollapseShapeOp::create(builder, at->getLoc(), *packed, groups)
      .getResult();
}

LogicalResult Converter::pack(moert::GemmOp gemm) {
  auto weight = gemm.getWeight().getDefiningOp<WeightOp>();
  auto type = cast<ShapedType>(gemm.getWeight().getType());
  if (!weight || type.getRank() != 2)
    return success();
  bool rows = gemm.getTransposeWeight(); // [N, K], else [K, N]
  int64_t depth = type.getDimSize(rows ? 1 : 0);
  int64_t columns = type.getDimSize(rows ? 0 : 1);
  Runs runs(1);
  runs[0].push_back(ColumnsAttr::get(builder.getContext(), weight.getBankAttr(),
                                     columns, 0, rows ? depth : 1,
                                     rows ? 1 : columns));
  auto packed =
      pack(gemm, (weight.getBank() + ".panels").str(), runs, depth, width, 0);
  if (failed(packed))
    return failure();
  gemm.getWeightMutable().assign(*packed);
  gemm.setTransposeWeight(false);
  return success();
}

LogicalResult Converter::convert(RouterOp router) {
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
                           builder.getF32Type());
  auto gemm = moert::GemmOp::create(
      builder, loc, TypeRange{init.getType()}, router.getInput(),
      router.getWeight(), router.getBias(), Value(), init,
      router.getTransposed() ? UnitAttr() : builder.getUnitAttr());
  router.replaceAllUsesWith(convertTo(builder, loc, gemm.getResult(0), type));
  router.erase();
  return success();
}

LogicalResult Converter::convert(GateOp gate) {
  auto refuse = [&](StringRef feature) {
    return gate.emitOpError("with ") << feature << " has no kernel yet";
  };
  if (gate.getDense() || !gate.getTopK())
    return refuse("dense weights");
  if (gate.getK())
    return refuse("a top_k of run time");
  if (gate.getSubset())
    return refuse("a subset of the pool");
  if (gate.getSparseMixer())
    return refuse("sparse_mixer");
  if (gate.getNorm() != Norm::None && gate.getNorm() != Norm::Selected)
    return refuse("a norm over some kinds of experts");
  if (gate.getSkipRatio() || gate.getSkipCumulative())
    return refuse("a skip rule");
  if (gate.getCapacity() || gate.getCapacityFactor())
    return refuse("a capacity");
  builder.setInsertionPoint(gate);
  Location loc = gate.getLoc();
  int64_t k = *gate.getTopK();
  Value ids =
      destination(builder, loc, gate.getLogits(), k, builder.getI32Type());
  Value weights =
      destination(builder, loc, gate.getLogits(), k, builder.getF32Type());
  auto unit = [&](bool on) { return on ? builder.getUnitAttr() : UnitAttr(); };
  double mask = gate.getGroupMask() == GroupMask::Zero ? 0.0 : -INFINITY;
  auto route = moert::RouteOp::create(
      builder, loc, TypeRange{ids.getType(), weights.getType()},
      moert::ScoreAttr::get(builder.getContext(),
                            static_cast<moert::Score>(gate.getScore())),
      gate.getLogits(), gate.getChoiceBias(), ValueRange{ids, weights},
      unit(gate.getSelectFirst()), unit(gate.getNorm() == Norm::Selected),
      gate.getNormEpsilonAttr(), gate.getScaleAttr(),
      builder.getI64IntegerAttr(gate.getGroups().value_or(0)),
      builder.getI64IntegerAttr(gate.getTopGroups().value_or(0)),
      unit(gate.getGroupScore() == GroupScore::Top2),
      builder.getF64FloatAttr(mask), unit(gate.getTiesHigh()),
      gate.getLayerAttr());
  Value chosen = route.getResult(1);
  if (gate.getValues())
    chosen = gatherValues(builder, gate, route.getResult(0));
  int64_t experts = gate.getNumColumns();
  moert::ObserveOp::create(
      builder, loc, route.getResult(0), gate.getLayer().value_or("moe"),
      ShapedType::isDynamic(experts) ? INT64_MAX : experts);
  for (auto [from, to] :
       llvm::zip(gate.getResults(), ValueRange{route.getResult(0), chosen})) {
    from.replaceAllUsesWith(
        convertTo(builder, loc, to, cast<RankedTensorType>(from.getType())));
  }
  gate.erase();
  return success();
}

LogicalResult Converter::convert(ApplyOp apply) {
  auto refuse = [&](const Twine &feature) {
    return apply.emitOpError("with ") << feature << " has no kernel yet";
  };
  if (apply.isDense())
    return refuse("a dense gate");
  if (apply.getNumGates() != 1 || apply.getWeights().size() != 1)
    return refuse("several gates or no weights");
  if (!apply.getStates().empty() || !apply.getExtras().empty() ||
      apply.getTokens().size() != 1)
    return refuse("states, extras or several inputs");
  if (apply.getCombine() == Combine::Probability ||
      apply.getPrescale().convertToDouble() != 1.0)
    return refuse("a combine of probabilities or a prescale");
  PoolOp pool = PoolOp::lookup(apply, apply.getPoolAttr(), collection);
  Location loc = apply.getLoc();

  // Experts of one shape; zero experts are experts without columns.
  Runs up, down, upBias, downBias;
  ExpertOp model;
  ExpertShape shape;
  SmallVector<int64_t> copies;
  for (int64_t e = 0, n = pool.getNumEntries(); e < n; ++e) {
    ExpertOpInterface entry = pool.getResolvedEntry(e);
    up.emplace_back(), down.emplace_back(), upBias.emplace_back(),
        downBias.emplace_back();
    if (auto null = dyn_cast<NullExpertOp>(entry.getOperation());
        null && null.getKind() != NullKind::Constant) {
      if (null.getKind() == NullKind::Copy)
        copies.push_back(e);
      continue;
    }
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    if (!expert)
      return refuse("an entry '" + entry.getEntryName() +
                    "' that is no expert of matrices");
    if (expert.getVariants() ||
        (expert.getKind() != ExpertKind::Glu &&
         expert.getKind() != ExpertKind::Ffn) ||
        expert.getOutputScale().convertToDouble() != 1.0)
      return refuse("expert '" + entry.getEntryName() +
                    "' that has variants, is scaled or of another kind");
    auto own = expert.getShape(collection);
    if (failed(own))
      return failure();
    if (!model) {
      model = expert, shape = *own;
    } else if (!(shape == *own) || expert.getKind() != model.getKind() ||
               expert.getActivation() != model.getActivation() ||
               expert.getAlpha() != model.getAlpha() ||
               expert.getBeta() != model.getBeta() ||
               expert.getLimit() != model.getLimit() ||
               bool(expert.getUpBias()) != bool(model.getUpBias()) ||
               bool(expert.getDownBias()) != bool(model.getDownBias()) ||
               bool(expert.getGateBias()) != bool(model.getGateBias())) {
      return refuse("experts of different shapes or functions");
    }
    bool plain = true;
    auto add = [&](SmallVector<ColumnsAttr> &runs, Attribute matrix) {
      ColumnsAttr columns = expert.getColumns(matrix, collection);
      plain &= bool(columns);
      runs.push_back(columns);
    };
    if (expert.isGlu())
      add(up.back(), expert.getGateAttr());
    add(up.back(), expert.getUp());
    add(down.back(), expert.getDownAttr());
    if (expert.getGateBias())
      add(upBias.back(), expert.getGateBiasAttr());
    if (expert.getUpBias())
      add(upBias.back(), expert.getUpBiasAttr());
    if (expert.getDownBias())
      add(downBias.back(), expert.getDownBiasAttr());
    if (!plain)
      return refuse("expert '" + entry.getEntryName() +
                    "' of factored or quantised matrices");
  }
  if (!model)
    return refuse("no expert that computes");
  if (!copies.empty() && shape.in != shape.out)
    return refuse("copies of tokens among experts of another width");
  if (model.isGlu() && bool(model.getGateBias()) != bool(model.getUpBias()))
    return refuse("a bias on only one of gate and up");

  std::string name = pool.getSymName().str();
  auto packedUp = pack(apply, name + ".up", up, shape.in, width,
                       model.isGlu() ? width / 2 : 0);
  auto packedDown = pack(apply, name + ".down", down, shape.hidden, width, 0);
  if (failed(packedUp) || failed(packedDown))
    return failure();
  Value biasUp, biasDown;
  if (model.getUpBias()) {
    auto packed = packBias(apply, name + ".up_bias", upBias);
    if (failed(packed))
      return failure();
    biasUp = *packed;
  }
  if (model.getDownBias()) {
    auto packed = packBias(apply, name + ".down_bias", downBias);
    if (failed(packed))
      return failure();
    biasDown = *packed;
  }
  builder.setInsertionPoint(apply);
  auto type = cast<RankedTensorType>(apply.getResult(0).getType());
  Value init = destination(builder, loc, apply.getTokens()[0], shape.out,
                           type.getElementType());
  auto ffn = moert::ExpertFfnOp::create(
      builder, loc, TypeRange{init.getType()},
      moert::ActivationAttr::get(
          builder.getContext(),
          static_cast<moert::Activation>(model.getActivation())),
      model.isGlu() ? builder.getUnitAttr() : UnitAttr(), apply.getTokens()[0],
      apply.getIds()[0], apply.getWeights()[0], *packedUp, *packedDown, biasUp,
      biasDown, copies.empty() ? Value() : copiedTokens(builder, apply, copies),
      init, model.getAlphaAttr(), model.getBetaAttr(), model.getLimitAttr(),
      apply.getScaleInput() ? builder.getUnitAttr() : UnitAttr(),
      apply.getLayerAttr());
  apply.getResult(0).replaceAllUsesWith(
      convertTo(builder, loc, ffn.getResult(0), type));
  apply.erase();
  return success();
}

namespace {
struct ConvertMoEToMoERTPass
    : moe::impl::ConvertMoEToMoERTPassBase<ConvertMoEToMoERTPass> {
  using ConvertMoEToMoERTPassBase::ConvertMoEToMoERTPassBase;

  void runOnOperation() override {
    Converter converter(getOperation(), width);
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (op->getDialect() && op->getDialect()->getNamespace() == "moe" &&
          op->getParentOfType<FunctionOpInterface>())
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      LogicalResult result = success();
      if (auto router = dyn_cast<RouterOp>(op))
        result = converter.convert(router);
      else if (auto gate = dyn_cast<GateOp>(op))
        result = converter.convert(gate);
      else if (auto apply = dyn_cast<ApplyOp>(op))
        result = converter.convert(apply);
      else if (!isa<WeightOp>(op))
        result = op->emitOpError("has no kernel yet");
      if (failed(result))
        return signalPassFailure();
    }
    SmallVector<moert::GemmOp> gemms; // routers' ones included
    getOperation().walk([&](moert::GemmOp gemm) { gemms.push_back(gemm); });
    for (moert::GemmOp gemm : gemms)
      if (failed(converter.pack(gemm)))
        return signalPassFailure();
  }
};
} // namespace
