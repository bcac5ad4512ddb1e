// moe.apply.
#include "passes/Convert/MoEConverter.h"
#include "passes/Convert/ScalarCode.h"

using namespace mlir;
using namespace moe;

/// What entries that copy their token add: `x[t]` times the sum of the weights
/// of their slots. It starts the sum over the others, as their residual.
static Value copiedTokens(OpBuilder &builder, ApplyOp apply,
                          ArrayRef<int64_t> copies) {
  Location loc = apply.getLoc();
  Value x = apply.getTokens()[0], ids = apply.getIds()[0];
  int64_t slots = cast<RankedTensorType>(ids.getType()).getDimSize(1);
  Type type = realTypeOf(apply.getResult(0).getType());
  auto tokens = cast<RankedTensorType>(x.getType());
  Value init = destination(builder, loc, x, tokens.getDimSize(1), type);
  Code c(builder, loc, type);
  return c.fill(init, [&](Code c, ValueRange i) {
    Value token = c.as(c.at(x, i), type);
    return c.fold(c.index(slots), c.number(0), [&](Code c, Value j, Value sum) {
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

LogicalResult MoEConverter::convert(ApplyOp apply) {
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
