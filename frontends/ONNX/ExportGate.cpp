// Gates in standard operators: the steps of `moe.gate`, in their order.
#include "frontends/ONNX/ExporterImpl.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

/// What ONNX's operators cannot say, or what no model asks for.
LogicalResult Exporter::checkGate(GateOp gate) {
  auto refuse = [&](StringRef feature) -> LogicalResult {
    InFlightDiagnostic diagnostic = gate.emitError();
    if (gate.getLayer())
      diagnostic << "layer '" << *gate.getLayer() << "': ";
    return diagnostic << "a gate with " << feature
                      << " cannot be written as ONNX";
  };
  if (gate.getSkipCumulative())
    return refuse("storage variants (skip_cumulative)");
  if (gate.getCapacity() || gate.getCapacityFactor())
    return refuse("a capacity");
  if (gate.getK())
    return refuse("a number of experts known at run time (dynamic)");
  if (gate.getTiesHigh())
    return refuse("ties to the higher expert");
  if (gate.getGranularity() != Granularity::Token)
    return refuse("routing by sequence");
  if (gate.getDense() && (gate.getTopK() || gate.getSkipRatio() ||
                          gate.getSubset() || gate.getGroups()))
    return refuse("dense weights of a choice");
  if (gate.getSkipRatio() && (gate.getChoiceBias() || gate.getGroups() ||
                              gate.getValues() || gate.getSparseMixer()))
    return refuse("a skip rule on weights that are not in descending order");
  auto columns = gate.getNumColumns();
  if (ShapedType::isDynamic(columns))
    return refuse("an open number of experts");
  for (Operation *user : gate->getUsers())
    if (!isa<ApplyOp>(user))
      return refuse("other readers than moe.apply");
  return success();
}

std::string Exporter::score(GateOp gate, const std::string &logits) {
  if (gate.getScore() == Score::Softmax)
    return emit("Softmax", {logits}, attribute("axis", -1));
  if (gate.getScore() == Score::Sigmoid)
    return emit("Sigmoid", {logits});
  return logits;
}

/// Choice scores with those outside the best groups masked.
std::string Exporter::chooseGroups(GateOp gate, const std::string &choice,
                                   int64_t columns) {
  int64_t groups = static_cast<int64_t>(*gate.getGroups()),
          size = columns / groups;
  Type type = elementOf(gate.getLogits());
  std::string grouped = emit("Reshape", {choice, ints({-1, groups, size})});
  std::string best;
  if (gate.getGroupScore() == GroupScore::Top2 && size > 1) {
    auto two = emit("TopK", {grouped, ints({2})}, 2, attribute("axis", -1));
    best = reduce("ReduceSum", two[0], -1, /*keep=*/false);
  } else {
    best = reduce("ReduceMax", grouped, -1, /*keep=*/false);
  }
  auto chosen =
      emit("TopK", {best, ints({static_cast<int64_t>(*gate.getTopGroups())})},
           2, attribute("axis", -1));
  // One where a group is chosen.
  std::string mask = emit(
      "OneHot",
      {chosen[1], scalar(groups), constant(builder.getI64TensorAttr({0, 1}))},
      attribute("axis", -1));
  mask = reduce("ReduceSum", mask, 1, /*keep=*/false);
  mask = emit("Unsqueeze", {mask, ints({2})});
  mask = emit("Equal", {mask, scalar(int64_t(0))});
  double masked = gate.getGroupMask() == GroupMask::Zero ? 0.0 : -INFINITY;
  std::string kept = emit("Where", {mask, scalar(masked, type), grouped});
  return emit("Reshape", {kept, ints({-1, columns})});
}

/// PhiMoE: two rounds of a softmax over the logits near the highest.
void Exporter::exportSparseMixer(GateOp gate, const std::string &logits,
                                 Type type, std::string &ids,
                                 std::string &weights) {
  double jitter = gate.getSparseMixerAttr().getValueAsDouble();
  int64_t columns = gate.getNumColumns();
  SmallVector<int64_t> numbers(columns);
  for (int64_t e = 0; e < columns; ++e)
    numbers[e] = e;
  std::string size = emit("Abs", {logits}), rest = logits;
  std::string minusInf = scalar(-INFINITY, type);
  std::string id[2], weight[2];
  for (int round = 0; round < 2; ++round) {
    id[round] = emit("ArgMax", {rest}, {attribute("axis", -1)});
    std::string top = reduce("ReduceMax", rest, -1, /*keep=*/true);
    std::string far =
        emit("Div", {emit("Sub", {top, logits}), emit("Max", {size, top})});
    std::string outside = emit("Greater", {far, scalar(jitter, type)});
    std::string near = emit("Where", {outside, minusInf, rest});
    weight[round] =
        emit("GatherElements",
             {emit("Softmax", {near}, attribute("axis", -1)), id[round]},
             attribute("axis", -1));
    if (round == 0)
      rest = emit("Where",
                  {emit("Equal", {id[0], ints(numbers)}), minusInf, logits});
  }
  ids = emit("Concat", {id[0], id[1]}, attribute("axis", 1));
  weights = emit("Concat", {weight[0], weight[1]}, attribute("axis", 1));
}

/// True where an id (of dense weights, a column) stands for a null expert. A
/// table over experts, so that importers can tell experts that are empty from
/// experts that are missing.
std::string Exporter::whereNull(PoolOp pool, const std::string &ids,
                                bool zeroOnly) {
  SmallVector<bool> table;
  for (int64_t e = 0; e < pool.getNumEntries(); ++e) {
    auto null = dyn_cast<NullExpertOp>(pool.getResolvedEntry(e).getOperation());
    table.push_back(null && (!zeroOnly || null.getKind() == NullKind::Zero));
  }
  auto type = RankedTensorType::get({static_cast<int64_t>(table.size())},
                                    builder.getI1Type());
  std::string all =
      constant(DenseElementsAttr::get(type, ArrayRef<bool>(table)));
  return ids.empty() ? all : emit("Gather", {all, ids});
}

/// A divisor: a zero sum leaves zeros.
std::string Exporter::orOne(const std::string &sum, Type type) {
  return emit("Where", {emit("Equal", {sum, scalar(0.0, type)}),
                        scalar(1.0, type), sum});
}

std::string Exporter::normalise(GateOp gate, const std::string &weights,
                                const std::string &ids, Type type) {
  std::string summed = weights;
  if (gate.getNorm() == Norm::Real || gate.getNorm() == Norm::Nonzero) {
    auto pool = PoolOp::lookup(gate, gate.getPoolAttr(), tables);
    std::string null =
        whereNull(pool, ids, /*zeroOnly=*/gate.getNorm() == Norm::Nonzero);
    summed = emit("Where", {null, scalar(0.0, type), weights});
  }
  std::string sum = reduce("ReduceSum", summed, 1, /*keep=*/true);
  double epsilon = gate.getNormEpsilon().convertToDouble();
  if (epsilon != 0)
    sum = emit("Add", {sum, scalar(epsilon, type)});
  else if (gate.getScore() != Score::Softmax || summed != weights)
    sum = orOne(sum, type);
  return emit("Div", {summed, sum});
}

/// NAEE: slots far below the first are emptied.
std::string Exporter::skip(GateOp gate, std::string weights, std::string &ids,
                           Type type) {
  double beta = gate.getSkipRatioAttr().getValueAsDouble();
  std::string first = emit("Slice", {weights, ints({0}), ints({1}), ints({1})});
  std::string skipped =
      emit("Less", {weights, emit("Mul", {first, scalar(beta, type)})});
  if (beta > 1) { // the first slot stays all the same
    SmallVector<bool> others(*gate.getTopK(), true);
    others[0] = false;
    auto row = RankedTensorType::get({static_cast<int64_t>(*gate.getTopK())},
                                     builder.getI1Type());
    skipped = emit("And", {skipped, constant(DenseElementsAttr::get(
                                        row, ArrayRef<bool>(others)))});
  }
  ids = emit("Where", {skipped, scalar(int64_t(kEmptySlot)), ids});
  weights = emit("Where", {skipped, scalar(0.0, type), weights});
  bool summed = gate.getNorm() != Norm::None ||
                (gate.getSelectFirst() && gate.getScore() == Score::Softmax);
  if (!summed)
    return weights;
  std::string sum = reduce("ReduceSum", weights, 1, /*keep=*/true);
  bool isPositive = gate.getScore() == Score::Softmax &&
                    gate.getNorm() != Norm::Real &&
                    gate.getNorm() != Norm::Nonzero;
  return emit("Div", {weights, isPositive ? sum : orOne(sum, type)});
}

LogicalResult Exporter::exportGate(GateOp gate) {
  if (!gate->use_empty() && llvm::all_of(gate->getUsers(), [&](Operation *op) {
        auto apply = dyn_cast<ApplyOp>(op);
        return apply && isContrib(apply);
      }))
    return success(); // said by the layer's operator
  if (failed(checkGate(gate)))
    return failure();
  Type type = elementOf(gate.getLogits());
  int64_t columns = gate.getNumColumns();
  std::string logits = nameOf(gate.getLogits()), ids, weights;
  prefix = gate.getLayer() ? gate.getLayer()->str() + "/gate/" : "gate/";
  if (gate.getDense()) {
    weights = score(gate, logits);
    if (gate.getNorm() != Norm::None)
      weights = normalise(gate, weights, ids, type);
  } else if (gate.getSparseMixer()) {
    exportSparseMixer(gate, logits, type, ids, weights);
  } else {
    bool first = gate.getSelectFirst();
    std::string scores = first ? logits : score(gate, logits);
    std::string choice = scores;
    if (Value bias = gate.getChoiceBias())
      choice = emit("Add", {choice, cast(nameOf(bias), elementOf(bias), type)});
    if (gate.getGroups())
      choice = chooseGroups(gate, choice, columns);
    auto top =
        emit("TopK", {choice, ints({static_cast<int64_t>(*gate.getTopK())})}, 2,
             {attribute("axis", -1)});
    ids = top[1];
    weights = top[0];
    std::string source = scores;
    if (Value other = gate.getValues())
      source = cast(nameOf(other), elementOf(other), type);
    if (source != choice)
      weights = emit("GatherElements", {source, ids}, attribute("axis", -1));
    if (first)
      weights = score(gate, weights);
    // Ids are entries of the pool from here on.
    if (auto subset = gate.getSubset())
      ids = emit("Gather", {ints(*subset), ids});
    if (gate.getNorm() != Norm::None)
      weights = normalise(gate, weights, ids, type);
    if (gate.getSkipRatio())
      weights = skip(gate, weights, ids, type);
  }
  double scale = gate.getScale().convertToDouble();
  if (scale != 1)
    weights = emit("Mul", {weights, scalar(scale, type)});
  if (!gate.getDense())
    values[gate.getIds()] = ids;
  values[gate.getWeights()] = weights;
  prefix.clear();
  return success();
}
