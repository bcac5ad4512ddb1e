// moe.apply.
#include "passes/Convert/MoEConverter.h"
#include "passes/Convert/ScalarCode.h"

using namespace mlir;
using namespace moe;

namespace {
/// Experts that one op runs: of one shape and function, stored in one way.
struct ExpertGroup {
  ExpertShape shape;
  SmallVector<ExpertOp> members;
  SmallVector<int64_t> entries; ///< of each column: a member, or -1
};
} // namespace

/// Rows of a low factor.
static int64_t rankOf(ExpertOp expert, SliceAttr low,
                      SymbolTableCollection &symbols) {
  auto bank = symbols.lookupNearestSymbolFrom<BankOp>(expert, low.getBank());
  auto geometry = low.resolve(bank.getTensorType(), nullptr);
  return succeeded(geometry) ? geometry->shape[low.getTransposed() ? 1 : 0]
                             : ShapedType::kDynamic;
}

/// What the experts of a group share, in words.
static std::string kindOf(ExpertOp expert, const ExpertShape &shape,
                          int64_t width, SymbolTableCollection &symbols) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << expert.getKindAttr() << " " << expert.getActivationAttr() << " "
     << expert.getAlphaAttr() << " " << expert.getBetaAttr() << " "
     << expert.getLimitAttr() << " " << expert.getOutputScaleAttr() << " "
     << shape.in << " " << shape.hidden << " " << shape.out;
  auto addBank = [&](SliceAttr slice) {
    auto bank =
        symbols.lookupNearestSymbolFrom<BankOp>(expert, slice.getBank());
    os << " " << bank.getTensorType().getElementType();
  };
  auto addMatrix = [&](Attribute matrix) {
    if (auto coded = readCoded(expert, matrix, width, symbols))
      os << " " << coded->kind();
    else if (auto slice = dyn_cast_or_null<SliceAttr>(matrix))
      addBank(slice);
  };
  for (Attribute matrix :
       {expert.getGateAttr(), expert.getUpAttr(), expert.getDownAttr()}) {
    MatrixFactors factors = splitFactors(matrix);
    addMatrix(factors.matrix);
    if (!factors.low)
      continue;
    os << " of rank " << rankOf(expert, factors.low, symbols);
    addMatrix(factors.low);
  }
  for (std::optional<SliceAttr> bias :
       {expert.getGateBias(), expert.getUpBias(), expert.getDownBias()}) {
    os << (bias ? " biased" : " free");
    if (bias)
      addBank(*bias);
  }
  return text;
}

/// Weights of one matrix of the group's experts, packed, with what reads them.
FailureOr<MoEConverter::Packed> MoEConverter::packMatrices(
    Operation *at, StringRef name, ArrayRef<SmallVector<Attribute>> matrices,
    ArrayRef<ExpertOp> experts, int64_t depth, int64_t interleave) {
  Packed packed;
  Runs runs(experts.size()), scales = runs, zeros = runs;
  std::optional<CodedMatrix> model;
  for (auto [e, handle] : llvm::enumerate(experts)) {
    ExpertOp expert = handle;
    auto refuse = [&](StringRef how) {
      return at->emitOpError("with expert '")
             << expert.getEntryName() << "' of " << how << " has no kernel yet";
    };
    for (Attribute matrix : matrices[e]) {
      auto coded = readCoded(expert, matrix, width, collection);
      if (!coded) {
        ColumnsAttr columns = expert.getColumns(matrix, collection);
        if (!columns || model)
          return refuse("factored or quantised matrices");
        runs[e].push_back(columns);
        continue;
      }
      if (model ? coded->kind() != model->kind() : !runs[e].empty())
        return refuse("matrices quantised in two ways");
      model = coded;
      runs[e].push_back(coded->values.columns);
      scales[e].push_back(coded->scales);
      if (coded->zeros)
        zeros[e].push_back(coded->zeros->columns);
    }
  }
  if (!model) {
    auto values = pack(at, name, runs, depth, width, interleave);
    if (failed(values))
      return failure();
    packed.values = *values;
    return packed;
  }
  packed.coding = moert::CodingAttr::get(builder.getContext(), model->coding);
  packed.block = builder.getI64IntegerAttr(model->block);
  packed.values = packCoded(at, name, runs, depth, interleave, model->bits(),
                            model->values);
  auto own = pack(at, (name + ".scales").str(), scales, model->blocks(), width,
                  interleave);
  if (failed(own))
    return failure();
  packed.scales = *own;
  if (model->zeros)
    packed.zeros =
        packCoded(at, (name + ".zeros").str(), zeros, model->blocks(),
                  interleave, model->bits(), *model->zeros);
  return packed;
}

FailureOr<Value> MoEConverter::runExperts(ApplyOp apply, StringRef name,
                                          ArrayRef<ExpertOp> experts,
                                          const ExpertShape &shape,
                                          ArrayRef<int64_t> entries,
                                          Value tokens, Value sum,
                                          Type element) {
  ExpertOp model = experts.front();
  if (model.isGlu() && bool(model.getGateBias()) != bool(model.getUpBias()))
    return apply.emitOpError("with a bias on only one of gate and up has no "
                             "kernel yet");
  SmallVector<SmallVector<Attribute>> up, down, upLow, downLow;
  Runs upBias, downBias;
  for (ExpertOp expert : experts) {
    upBias.emplace_back(), downBias.emplace_back();
    MatrixFactors upFactors = splitFactors(expert.getUp());
    MatrixFactors downFactors = splitFactors(expert.getDownAttr());
    up.emplace_back();
    if (expert.isGlu())
      up.back().push_back(splitFactors(expert.getGateAttr()).matrix);
    up.back().push_back(upFactors.matrix);
    down.push_back({downFactors.matrix});
    if (upFactors.low)
      upLow.push_back({upFactors.low});
    if (downFactors.low)
      downLow.push_back({downFactors.low});
    auto addBias = [&](SmallVector<ColumnsAttr> &runs,
                       std::optional<SliceAttr> bias) {
      if (bias)
        runs.push_back(expert.getColumns(*bias, collection));
    };
    addBias(upBias.back(), expert.getGateBias());
    addBias(upBias.back(), expert.getUpBias());
    addBias(downBias.back(), expert.getDownBias());
  }
  auto depthOf = [&](ArrayRef<SmallVector<Attribute>> low, int64_t depth) {
    return low.empty() ? depth
                       : rankOf(model, cast<SliceAttr>(low[0][0]), collection);
  };
  FailureOr<Packed> packedUpLow = Packed(), packedDownLow = Packed();
  auto packedUp =
      packMatrices(apply, (name + ".up").str(), up, experts,
                   depthOf(upLow, shape.in), model.isGlu() ? width / 2 : 0);
  auto packedDown = packMatrices(apply, (name + ".down").str(), down, experts,
                                 depthOf(downLow, shape.hidden), 0);
  if (!upLow.empty())
    packedUpLow = packMatrices(apply, (name + ".up_low").str(), upLow, experts,
                               shape.in, 0);
  if (!downLow.empty())
    packedDownLow = packMatrices(apply, (name + ".down_low").str(), downLow,
                                 experts, shape.hidden, 0);
  if (failed(packedUp) || failed(packedDown) || failed(packedUpLow) ||
      failed(packedDownLow))
    return failure();
  Value biasUp, biasDown;
  if (model.getUpBias()) {
    auto packed = packBias(apply, (name + ".up_bias").str(), upBias);
    if (failed(packed))
      return failure();
    biasUp = *packed;
  }
  if (model.getDownBias()) {
    auto packed = packBias(apply, (name + ".down_bias").str(), downBias);
    if (failed(packed))
      return failure();
    biasDown = *packed;
  }
  builder.setInsertionPoint(apply);
  Location loc = apply.getLoc();
  bool isIdentity = entries.size() == experts.size();
  for (auto [column, entry] : llvm::enumerate(entries))
    isIdentity &= static_cast<int64_t>(column) == entry;
  Value init =
      sum ? sum : destination(builder, loc, tokens, shape.out, element);
  return moert::ExpertFfnOp::create(
             builder, loc, TypeRange{init.getType()},
             moert::ActivationAttr::get(
                 builder.getContext(),
                 static_cast<moert::Activation>(model.getActivation())),
             model.isGlu() ? builder.getUnitAttr() : UnitAttr(), tokens,
             apply.getIds()[0], apply.getWeights()[0], packedUp->values,
             packedDown->values, biasUp, biasDown, packedUp->scales,
             packedUp->zeros, packedDown->scales, packedDown->zeros,
             packedUpLow->values, packedUpLow->scales, packedUpLow->zeros,
             packedDownLow->values, packedDownLow->scales, packedDownLow->zeros,
             sum, init, packedUp->coding, packedUp->block, packedDown->coding,
             packedDown->block, packedUpLow->coding, packedUpLow->block,
             packedDownLow->coding, packedDownLow->block,
             isIdentity ? DenseI64ArrayAttr()
                        : builder.getDenseI64ArrayAttr(entries),
             model.getAlphaAttr(), model.getBetaAttr(), model.getLimitAttr(),
             model.getOutputScaleAttr(),
             apply.getScaleInput() ? builder.getUnitAttr() : UnitAttr(),
             apply.getLayerAttr())
      .getResult(0);
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
  if (!apply.getVariants().empty())
    return refuse("variants of experts");
  if (apply.getCombine() == Combine::Probability ||
      apply.getPrescale().convertToDouble() != 1.0)
    return refuse("a combine of probabilities or a prescale");
  PoolOp pool = PoolOp::lookup(apply, apply.getPoolAttr(), collection);
  Location loc = apply.getLoc();

  // Columns by what serves them: experts of a kind, each once, or nothing.
  SmallVector<ExpertGroup> groups;
  SmallVector<NullEntry> nulls;
  llvm::StringMap<size_t> kinds;
  llvm::DenseMap<Operation *, std::pair<size_t, int64_t>> known;
  int64_t columns = pool.getNumEntries();
  for (int64_t e = 0; e < columns; ++e) {
    ExpertOpInterface entry = pool.getResolvedEntry(e);
    if (auto null = dyn_cast<NullExpertOp>(entry.getOperation())) {
      if (null.getKind() == NullKind::Zero)
        continue;
      auto same = llvm::find_if(
          nulls, [&](NullEntry &other) { return other.entry == null; });
      if (same == nulls.end())
        nulls.push_back({null, {e}});
      else
        same->columns.push_back(e);
      continue;
    }
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    if (!expert)
      return refuse("an entry '" + entry.getEntryName() +
                    "' that is no expert of matrices");
    auto [at, fresh] = known.try_emplace(expert, 0, 0);
    if (fresh) {
      if (expert.getVariants() || (expert.getKind() != ExpertKind::Glu &&
                                   expert.getKind() != ExpertKind::Ffn))
        return refuse("expert '" + entry.getEntryName() +
                      "' that has variants or is of another kind");
      auto shape = expert.getShape(collection);
      if (failed(shape))
        return failure();
      auto [kind, isNew] = kinds.try_emplace(
          kindOf(expert, *shape, width, collection), groups.size());
      if (isNew)
        groups.push_back({*shape, {}, SmallVector<int64_t>(columns, -1)});
      ExpertGroup &group = groups[kind->second];
      at->second = {kind->second, group.members.size()};
      group.members.push_back(expert);
    }
    auto [group, member] = at->second;
    groups[group].entries[e] = member;
  }

  // One op after the other adds to the sum, in place.
  auto type = cast<RankedTensorType>(apply.getResult(0).getType());
  int64_t outputs = type.getDimSize(1);
  if (ShapedType::isDynamic(outputs) && !groups.empty())
    outputs = groups.front().shape.out;
  int64_t features =
      cast<RankedTensorType>(apply.getTokens()[0].getType()).getDimSize(1);
  Value sum;
  if (!nulls.empty()) {
    bool takesTokens = llvm::any_of(nulls, [](NullEntry &null) {
      return null.entry.getKind() == NullKind::Copy || null.entry.getMix();
    });
    if (takesTokens && features != outputs)
      return refuse("copies of tokens among experts of another width");
    if (ShapedType::isDynamic(features) || ShapedType::isDynamic(outputs))
      return refuse("null experts of unknown width");
    sum = nullExperts(apply, nulls, outputs);
  } else if (groups.empty()) {
    return refuse("no expert that computes");
  }
  // Kernels take wide numbers, and roundings between groups would add up.
  builder.setInsertionPoint(apply);
  Value tokens = apply.getTokens()[0];
  auto tokensType = cast<RankedTensorType>(tokens.getType());
  tokens =
      convertTo(builder, loc, tokens, tokensType.clone(realTypeOf(tokensType)));
  Type element = realTypeOf(type);
  for (auto [i, group] : llvm::enumerate(groups)) {
    std::string name = pool.getSymName().str();
    if (i > 0)
      name += "." + std::to_string(i);
    auto result = runExperts(apply, name, group.members, group.shape,
                             group.entries, tokens, sum, element);
    if (failed(result))
      return failure();
    sum = *result;
  }
  builder.setInsertionPoint(apply);
  apply.getResult(0).replaceAllUsesWith(convertTo(builder, loc, sum, type));
  apply.erase();
  return success();
}
