#include "passes/Compress/Calibration.h"

#include "dialects/Onnx/OnnxOps.h"
#include "passes/Analysis/Hidden.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Profile.h"
#include "passes/Raise/GateModel.h"
#include "llvm/ADT/Sequence.h"
#include <cmath>

using namespace mlir;
using namespace moe;

/// The numbers of a constant of the graph.
static FailureOr<Numbers> constant(const MoELayer &layer, Value value,
                                   WeightSource &weights) {
  if (auto weight = value.getDefiningOp<WeightOp>())
    return evaluate(layer.apply, SliceAttr::get(weight.getBankAttr()), weights);
  HostTensor tensor;
  std::string error;
  if (!readConstant(value, tensor, error))
    return emitLayerError(layer)
           << "a weight of its router cannot be read: " << error;
  Numbers numbers(tensor.rank() > 0 ? tensor.shape[0] : 1,
                  tensor.rank() > 1 ? tensor.shape[1] : 1);
  numbers.values = tensor.data;
  return numbers;
}

bool moe::hasLinearRouter(const MoELayer &layer) {
  RouterOp router = layer.router;
  return router && router.getKind() == RouterKind::Linear && !router.getSeed();
}

FailureOr<Numbers> moe::routerWeight(const MoELayer &layer,
                                     WeightSource &weights) {
  RouterOp router = layer.router;
  auto weight = constant(layer, router.getWeight(), weights);
  if (failed(weight) || !router.getTransposed())
    return weight;
  return transposed(*weight);
}

std::string Calibration::whyNot(const MoELayer &layer) {
  RouterOp router = layer.router;
  GateOp gate = layer.gate;
  ApplyOp apply = layer.apply;
  if (!hasLinearRouter(layer) || router.getResidual() ||
      router.getStandardize() || router.getInput() != apply->getOperand(0))
    return "only a linear router over what the experts read can be evaluated "
           "on a sample";
  if (gate.getValues())
    return "its gate reads values that no sample has";
  if (gate.getSparseMixer() || gate.getCapacity() || gate.getCapacityFactor() ||
      gate.getTiesHigh())
    return "a gate with pairs, capacities or ties that go to the higher expert "
           "is not evaluated on a sample";
  return "";
}

std::string Calibration::whyNoOutput(const MoELayer &layer) {
  if (std::string why = whyNot(layer); !why.empty())
    return why;
  PoolOp pool = layer.pool;
  for (ExpertOpInterface entry : pool.getEntries()) {
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    if (expert ? !expert.isGlu() && expert.getKind() != ExpertKind::Ffn
               : !isa<NullExpertOp, AliasOp>(entry.getOperation()))
      return ("entry '" + entry.getEntryName() +
              "' cannot be evaluated on a sample")
          .str();
  }
  return "";
}

FailureOr<Calibration> Calibration::of(const MoELayer &layer,
                                       const Profile &profile,
                                       WeightSource &weights, int64_t rows) {
  Calibration result;
  result.layer = layer;
  if (std::string why = whyNot(layer); !why.empty())
    return emitLayerError(layer) << why;
  if (!profile.hasLayer(layer.name))
    return emitLayerError(layer)
           << "profile '" << profile.getPath() << "' does not know it";
  auto sample = profile.get(layer.name, "sample");
  if (!sample || sample->rows == 0)
    return emitLayerError(layer)
           << "profile '" << profile.getPath()
           << "' has no sample of its inputs; make one with a binary that "
              "was compiled with --instrument";
  if (sample->rows < kEnoughRows)
    return emitLayerError(layer)
           << "the sample in '" << profile.getPath() << "' has " << sample->rows
           << " rows of it, " << kEnoughRows
           << " are needed at least: profile a longer text";
  int64_t kept = std::min(rows, sample->rows);
  result.inputs = Numbers(kept, sample->columns);
  std::copy_n(sample->values.begin(), result.inputs.values.size(),
              result.inputs.values.begin());
  RouterOp router = layer.router;
  GateOp gate = layer.gate;
  auto weight = routerWeight(layer, weights);
  if (failed(weight))
    return failure();
  if (weight->columns != result.inputs.columns)
    return emitLayerError(layer)
           << "the sample in '" << profile.getPath() << "' has rows of "
           << result.inputs.columns << " numbers, its router reads "
           << weight->columns;
  result.logits = timesTransposed(result.inputs, *weight);
  if (router.getBias()) {
    auto bias = constant(layer, router.getBias(), weights);
    if (failed(bias))
      return failure();
    for (int64_t r = 0; r < kept; ++r)
      for (int64_t c = 0; c < result.logits.columns; ++c)
        result.logits.at(r, c) += bias->values[c];
  }
  for (double logit : result.logits.values)
    if (!std::isfinite(logit))
      return emitLayerError(layer)
             << "its router has weights that are not finite, or the sample in '"
             << profile.getPath() << "' is not";
  if (gate.getChoiceBias()) {
    auto bias = constant(layer, gate.getChoiceBias(), weights);
    if (failed(bias))
      return failure();
    result.bias = *bias;
  }
  auto all = llvm::to_vector(llvm::seq<int64_t>(0, result.logits.columns));
  result.gates = result.gateWeights(all);
  result.entryGates = Numbers(kept, result.gates.columns);
  for (int64_t e = 0; e < result.gates.columns; ++e)
    for (int64_t column : columnsOf(result.layer.pool, e))
      for (int64_t r = 0; r < kept; ++r)
        result.entryGates.at(r, e) += result.gates.at(r, column);
  if (std::optional<ArrayRef<double>> limits = gate.getSkipCumulative())
    result.storages = chooseStorages(result.chosenWeights(all), *limits);
  return result;
}

Numbers moe::chooseStorages(const Numbers &weights, ArrayRef<double> limits) {
  Numbers storages(weights.rows, weights.columns);
  for (int64_t r = 0; r < weights.rows; ++r) {
    double all = 0;
    for (int64_t c = 0; c < weights.columns; ++c)
      all += weights.at(r, c);
    for (int64_t c = 0; c < weights.columns; ++c) {
      double own = weights.at(r, c), before = 0;
      for (int64_t o = 0; o < weights.columns; ++o)
        if (weights.at(r, o) > own || (weights.at(r, o) == own && o < c))
          before += weights.at(r, o);
      before = all == 0 ? 0 : before / all;
      storages.at(r, c) = own == 0              ? -1
                          : before <= limits[0] ? 0
                          : before <= limits[1] ? 1
                                                : -1;
    }
  }
  return storages;
}

bool moe::isEven(ArrayRef<int64_t> columns, int64_t groups, int64_t all) {
  std::vector<int64_t> counts(groups);
  for (int64_t column : columns)
    ++counts[column * groups / all];
  return llvm::all_equal(counts);
}

Numbers Calibration::gateWeights(ArrayRef<int64_t> columns) const {
  return withoutSkipped(chosenWeights(columns));
}

Numbers Calibration::nullWeights(ArrayRef<int64_t> kept) const {
  auto all = llvm::to_vector(llvm::seq<int64_t>(0, logits.columns));
  SmallVector<int64_t> dropped;
  for (int64_t column : all)
    if (!llvm::is_contained(kept, column))
      dropped.push_back(column);
  Numbers weights = withoutSkipped(chosenWeights(all, dropped));
  for (int64_t r = 0; r < weights.rows; ++r)
    for (int64_t column : dropped)
      weights.at(r, column) = 0;
  return weights;
}

std::vector<double> Calibration::slotRatios() const {
  auto all = llvm::to_vector(llvm::seq<int64_t>(0, logits.columns));
  std::vector<int64_t> slots;
  (void)chosenWeights(all, {}, &slots);
  std::vector<double> ratios(gates.rows);
  size_t each = slots.size() / std::max<size_t>(ratios.size(), 1);
  for (int64_t r = 0; each > 1 && r < gates.rows; ++r) {
    double first = gates.at(r, slots[r * each]);
    double second = gates.at(r, slots[r * each + 1]);
    ratios[r] = first > 0 ? second / first : 0;
  }
  return ratios;
}

Numbers Calibration::withoutSkipped(Numbers weights) const {
  GateOp gate = layer.gate;
  if (std::optional<ArrayRef<double>> limits = gate.getSkipCumulative()) {
    Numbers storages = chooseStorages(weights, *limits);
    for (auto [weight, storage] : llvm::zip(weights.values, storages.values))
      if (storage < 0)
        weight = 0;
  }
  return weights;
}

Numbers Calibration::chosenWeights(ArrayRef<int64_t> columns,
                                   ArrayRef<int64_t> dropped,
                                   std::vector<int64_t> *slots) const {
  GateOp gate = layer.gate;
  GateMatch match;
  match.score = gate.getScore();
  match.topK =
      std::min<int64_t>(*gate.getTopK(), static_cast<int64_t>(columns.size()));
  match.selectFirst = gate.getSelectFirst();
  if (gate.getGroups() && isEven(columns, *gate.getGroups(), logits.columns)) {
    match.groups = *gate.getGroups();
    match.topGroups = *gate.getTopGroups();
    match.groupScore = gate.getGroupScore();
    match.groupMask = gate.getGroupMask();
  }
  match.norm = gate.getNorm();
  PoolOp pool = layer.pool;
  for (int64_t column : columns) {
    auto null =
        dyn_cast<NullExpertOp>(pool.getResolvedEntry(column).getOperation());
    match.nulls.push_back(llvm::is_contained(dropped, column) ||
                          (null && (gate.getNorm() != Norm::Nonzero ||
                                    null.getKind() == NullKind::Zero)));
  }
  if (match.norm == Norm::Nonzero)
    match.norm = Norm::Real;
  match.normEpsilon = gate.getNormEpsilon().convertToDouble();
  match.scale = gate.getScale().convertToDouble();
  if (gate.getSkipRatio())
    match.skipRatio = gate.getSkipRatio()->convertToDouble();
  HostTensor part(
      ArrayRef<int64_t>{logits.rows, static_cast<int64_t>(columns.size())});
  std::vector<double> choice;
  for (size_t i = 0; i < columns.size(); ++i) {
    for (int64_t r = 0; r < logits.rows; ++r)
      part.data[r * columns.size() + i] = logits.at(r, columns[i]);
    if (!bias.values.empty())
      choice.push_back(bias.values[columns[i]]);
  }
  HostTensor weights = denseWeights(match, choice, part, slots);
  if (slots)
    for (int64_t &slot : *slots)
      slot = columns[slot];
  Numbers result(logits.rows, logits.columns);
  for (size_t i = 0; i < columns.size(); ++i)
    for (int64_t r = 0; r < logits.rows; ++r)
      result.at(r, columns[i]) = weights.data[r * columns.size() + i];
  return result;
}

FailureOr<Numbers> moe::hiddenOf(ExpertOp expert, const Numbers &x,
                                 WeightSource &weights) {
  auto layer = HiddenLayer::of(expert);
  if (failed(layer))
    return failure();
  return layer->evaluate(expert, x, weights);
}

/// `a1 x + a2 value` for each row x, with `(a1, a2) = softmax(mix x)`; without
/// `mix`, `value`.
static FailureOr<Numbers>
constantOutputs(NullExpertOp null, const Numbers &rows, WeightSource &weights) {
  auto value = evaluate(null, null.getValueAttr(), weights);
  if (failed(value))
    return failure();
  int64_t size = static_cast<int64_t>(value->values.size());
  Numbers result(rows.rows, size), shares(rows.rows, 2);
  if (SliceAttr mix = null.getMixAttr()) {
    auto logits = multiplyRows(null, rows, mix, {}, weights);
    if (failed(logits))
      return failure();
    if (logits->columns != 2 || size != rows.columns)
      return null.emitOpError("mixes ")
             << rows.columns << " features with " << size << " by "
             << logits->columns << " weights";
    shares = std::move(*logits);
  }
  for (int64_t r = 0; r < rows.rows; ++r) {
    double own = null.getMix()
                     ? 1 / (1 + std::exp(shares.at(r, 1) - shares.at(r, 0)))
                     : 0;
    for (int64_t c = 0; c < size; ++c)
      result.at(r, c) =
          (1 - own) * value->values[c] + (own != 0 ? own * rows.at(r, c) : 0);
  }
  return result;
}

FailureOr<Numbers> Calibration::outputs(int64_t e, int64_t first, int64_t last,
                                        WeightSource &weights) const {
  if (failed(checkUnscaled()))
    return failure();
  if (first == 0 && last == inputs.rows)
    return outputsOf(e, /*storage=*/0, inputs, weights);
  Numbers rows(last - first, inputs.columns);
  std::copy_n(&inputs.values[first * inputs.columns], rows.values.size(),
              rows.values.begin());
  return outputsOf(e, /*storage=*/0, rows, weights);
}

LogicalResult Calibration::checkUnscaled() const {
  ApplyOp apply = layer.apply;
  if (!apply.getScaleInput() && apply.getPrescale().isExactlyValue(1.0))
    return success();
  return emitLayerError(layer)
         << "scales what its experts read, so that the sample of its inputs "
            "does not say it";
}

int64_t Calibration::getGroups() const {
  GateOp gate = layer.gate;
  return gate.getGroups() ? static_cast<int64_t>(*gate.getGroups()) : 0;
}

FailureOr<Numbers> Calibration::outputsOf(int64_t e, int64_t storage,
                                          const Numbers &rows,
                                          WeightSource &weights) const {
  PoolOp pool = layer.pool;
  ExpertOpInterface entry = pool.getResolvedEntry(e);
  if (auto expert = dyn_cast<ExpertOp>(entry.getOperation())) {
    auto first = HiddenLayer::of(expert);
    if (failed(first))
      return failure();
    Attribute down = *expert.getDown();
    ArrayAttr variants = expert.getVariantsAttr();
    if (storage > 0 && variants &&
        storage <= static_cast<int64_t>(variants.size())) {
      DictionaryAttr own =
          cast<VariantAttr>(variants[storage - 1]).getWeights();
      auto replace = [&](Attribute &matrix, StringRef name) {
        if (Attribute stored = own.get(name))
          matrix = stored;
      };
      replace(first->gate, "gate"), replace(first->up, "up");
      replace(down, "down");
    }
    auto hidden = first->evaluate(expert, rows, weights);
    if (failed(hidden))
      return failure();
    auto result =
        multiplyRows(expert, *hidden, down, expert.getDownBiasAttr(), weights);
    if (failed(result))
      return failure();
    double scale = expert.getOutputScale().convertToDouble();
    for (double &value : result->values)
      value *= scale;
    if (failed(checkFinite(layer, e, result->values)))
      return failure();
    return result;
  }
  if (auto null = dyn_cast<NullExpertOp>(entry.getOperation())) {
    if (null.getKind() == NullKind::Copy)
      return rows;
    if (null.getKind() == NullKind::Zero)
      return Numbers(rows.rows, rows.columns);
    return constantOutputs(null, rows, weights);
  }
  return emitLayerError(layer) << "entry '" << entry.getEntryName()
                               << "' cannot be evaluated on a sample";
}

double Calibration::slotsPerToken() const {
  PoolOp pool = layer.pool;
  int64_t count = 0;
  for (int64_t e = 0; e < gates.columns; ++e)
    if (pool.getResolvedEntry(e).needsDispatch())
      for (int64_t r = 0; r < gates.rows; ++r)
        count += gates.at(r, e) != 0;
  return static_cast<double>(count) / static_cast<double>(gates.rows);
}

FailureOr<Numbers> Calibration::layerOutput(WeightSource &weights) const {
  PoolOp pool = layer.pool;
  ApplyOp apply = layer.apply;
  auto type = cast<RankedTensorType>(apply.getResult(0).getType());
  Numbers result(inputs.rows, type.getDimSize(1));
  int64_t ways = storages ? 2 : 1; // of storage
  for (int64_t i = 0, n = ways * pool.getNumEntries(); i < n; ++i) {
    int64_t e = i / ways, storage = i % ways;
    std::vector<int64_t> rows;
    for (int64_t r = 0; r < gates.rows; ++r)
      if (gates.at(r, e) != 0 &&
          (!storages || storages->at(r, e) == static_cast<double>(storage)))
        rows.push_back(r);
    if (rows.empty())
      continue;
    Numbers routed(static_cast<int64_t>(rows.size()), inputs.columns);
    for (size_t i = 0; i < rows.size(); ++i)
      std::copy_n(&inputs.values[rows[i] * inputs.columns], inputs.columns,
                  &routed.values[i * inputs.columns]);
    double prescale = apply.getPrescale().convertToDouble();
    for (size_t i = 0; i < rows.size(); ++i)
      for (int64_t c = 0; c < routed.columns; ++c)
        routed.at(static_cast<int64_t>(i), c) *=
            apply.getScaleInput() ? prescale * gates.at(rows[i], e) : prescale;
    auto output = outputsOf(e, storage, routed, weights);
    if (failed(output))
      return failure();
    if (output->columns != result.columns)
      return emitLayerError(layer)
             << "entry " << e << " makes " << output->columns << " features of "
             << result.columns;
    for (size_t i = 0; i < rows.size(); ++i)
      for (int64_t c = 0; c < result.columns; ++c)
        result.at(rows[i], c) +=
            (apply.getScaleInput() ? 1 : gates.at(rows[i], e)) *
            output->at(static_cast<int64_t>(i), c);
  }
  return result;
}
