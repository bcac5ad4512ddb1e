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

FailureOr<Calibration> Calibration::of(const MoELayer &layer,
                                       const Profile &profile,
                                       WeightSource &weights, int64_t rows) {
  Calibration result;
  result.layer = layer;
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
  if (!hasLinearRouter(layer) || router.getResidual() ||
      router.getStandardize() ||
      router.getInput() != layer.apply->getOperand(0))
    return emitLayerError(layer)
           << "only a linear router over what the experts read can be "
              "evaluated on a sample";
  if (gate.getValues())
    return emitLayerError(layer) << "its gate reads values that no sample has";
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

/// Empties slots below `beta` times the first one's weight; what is left adds
/// up to what all did, where `normed` (step 5 of `moe.gate`).
static void skipSmall(Numbers &weights, double beta, bool normed) {
  for (int64_t r = 0; r < weights.rows; ++r) {
    double *row = &weights.at(r, 0);
    double first = *std::max_element(row, row + weights.columns);
    double before = 0, after = 0;
    bool isFirst = true;
    for (int64_t c = 0; c < weights.columns; ++c) {
      before += row[c];
      // The first slot stays, even where beta is above 1.
      bool stays = row[c] >= beta * first || (row[c] == first && isFirst);
      if (row[c] == first)
        isFirst = false;
      if (!stays)
        row[c] = 0;
      after += row[c];
    }
    if (normed && after > 0)
      for (int64_t c = 0; c < weights.columns; ++c)
        row[c] *= before / after;
  }
}

Numbers Calibration::gateWeights(ArrayRef<int64_t> columns) const {
  GateOp gate = layer.gate;
  Numbers weights = chosenWeights(columns);
  if (std::optional<ArrayRef<double>> limits = gate.getSkipCumulative()) {
    Numbers storages = chooseStorages(weights, *limits);
    for (auto [weight, storage] : llvm::zip(weights.values, storages.values))
      if (storage < 0)
        weight = 0;
  }
  return weights;
}

Numbers Calibration::chosenWeights(ArrayRef<int64_t> columns) const {
  GateOp gate = layer.gate;
  GateMatch match;
  match.score = gate.getScore();
  match.topK =
      std::min<int64_t>(*gate.getTopK(), static_cast<int64_t>(columns.size()));
  match.selectFirst = gate.getSelectFirst();
  bool whole = static_cast<int64_t>(columns.size()) == logits.columns;
  if (gate.getGroups() && whole) {
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
    match.nulls.push_back(null && (gate.getNorm() != Norm::Nonzero ||
                                   null.getKind() == NullKind::Zero));
  }
  if (match.norm == Norm::Nonzero)
    match.norm = Norm::Real;
  match.normEpsilon = gate.getNormEpsilon().convertToDouble();
  match.scale = gate.getScale().convertToDouble();
  HostTensor part(
      ArrayRef<int64_t>{logits.rows, static_cast<int64_t>(columns.size())});
  std::vector<double> choice;
  for (size_t i = 0; i < columns.size(); ++i) {
    for (int64_t r = 0; r < logits.rows; ++r)
      part.data[r * columns.size() + i] = logits.at(r, columns[i]);
    if (!bias.values.empty())
      choice.push_back(bias.values[columns[i]]);
  }
  HostTensor weights = denseWeights(match, choice, part);
  Numbers result(logits.rows, logits.columns);
  for (size_t i = 0; i < columns.size(); ++i)
    for (int64_t r = 0; r < logits.rows; ++r)
      result.at(r, columns[i]) = weights.data[r * columns.size() + i];
  if (gate.getSkipRatio())
    skipSmall(result, gate.getSkipRatio()->convertToDouble(),
              match.norm != Norm::None ||
                  (match.selectFirst && match.score == Score::Softmax));
  return result;
}

FailureOr<Numbers> moe::hiddenOf(ExpertOp expert, const Numbers &x,
                                 WeightSource &weights) {
  auto layer = HiddenLayer::of(expert);
  if (failed(layer))
    return failure();
  return layer->evaluate(expert, x, weights);
}

FailureOr<Numbers> Calibration::outputs(int64_t e, int64_t storage,
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
    auto output = outputs(e, storage, routed, weights);
    if (failed(output))
      return failure();
    if (output->columns != result.columns)
      return emitLayerError(layer)
             << "entry " << e << " makes " << output->columns << " features of "
             << result.columns;
    for (size_t i = 0; i < rows.size(); ++i)
      for (int64_t c = 0; c < result.columns; ++c)
        result.at(rows[i], c) +=
            gates.at(rows[i], e) * output->at(static_cast<int64_t>(i), c);
  }
  return result;
}
