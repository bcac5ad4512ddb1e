#include "passes/Compress/Calibration.h"

#include "dialects/Onnx/OnnxOps.h"
#include "passes/Analysis/Activation.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Profile.h"
#include "passes/Raise/GateModel.h"
#include "llvm/ADT/Sequence.h"

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
  int64_t kept = std::min(rows, sample->rows);
  result.inputs = Numbers(kept, sample->columns);
  std::copy_n(sample->values.begin(), result.inputs.values.size(),
              result.inputs.values.begin());
  RouterOp router = layer.router;
  GateOp gate = layer.gate;
  if (!router || router.getKind() != RouterKind::Linear || router.getSeed() ||
      router.getResidual() || router.getStandardize() ||
      router.getInput() != layer.apply->getOperand(0))
    return emitLayerError(layer)
           << "only a linear router over what the experts read can be "
              "evaluated on a sample";
  if (gate.getValues())
    return emitLayerError(layer) << "its gate reads values that no sample has";
  auto weight = constant(layer, router.getWeight(), weights);
  if (failed(weight))
    return failure();
  if (router.getTransposed())
    *weight = transposed(*weight);
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
  if (gate.getChoiceBias()) {
    auto bias = constant(layer, gate.getChoiceBias(), weights);
    if (failed(bias))
      return failure();
    result.bias = *bias;
  }
  result.gates = result.gateWeights(
      llvm::to_vector(llvm::seq<int64_t>(0, result.logits.columns)));
  return result;
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

/// Rows times a matrix of the expert, plus its bias.
static FailureOr<Numbers> multiply(ExpertOp expert, const Numbers &rows,
                                   Attribute matrix,
                                   std::optional<SliceAttr> bias,
                                   WeightSource &weights) {
  auto numbers = evaluate(expert, matrix, weights);
  if (failed(numbers))
    return failure();
  if (numbers->columns != rows.columns)
    return expert.emitOpError("reads ")
           << numbers->columns << " features, but the sample has "
           << rows.columns;
  Numbers result = timesTransposed(rows, *numbers);
  if (!bias || !*bias)
    return result;
  auto addend = evaluate(expert, *bias, weights);
  if (failed(addend))
    return failure();
  for (int64_t r = 0; r < result.rows; ++r)
    for (int64_t c = 0; c < result.columns; ++c)
      result.at(r, c) += addend->values[c];
  return result;
}

FailureOr<Numbers> moe::hiddenOf(ExpertOp expert, const Numbers &x,
                                 WeightSource &weights) {
  bool glu = expert.isGlu();
  if (!glu && expert.getKind() != ExpertKind::Ffn)
    return expert.emitOpError("of another kind than ffn and glu cannot be "
                              "evaluated on a sample");
  double alpha = expert.getAlpha().convertToDouble();
  double beta = expert.getBeta().convertToDouble();
  double limit = expert.getLimit().convertToDouble();
  auto hidden =
      multiply(expert, x, expert.getUp(), expert.getUpBias(), weights);
  if (failed(hidden))
    return failure();
  if (!glu) {
    for (double &value : hidden->values)
      value = activate(expert.getActivation(), alpha,
                       limit > 0 ? std::min(value, limit) : value);
    return hidden;
  }
  auto gate =
      multiply(expert, x, *expert.getGate(), expert.getGateBias(), weights);
  if (failed(gate))
    return failure();
  for (auto [line, argument] : llvm::zip(hidden->values, gate->values)) {
    if (limit > 0) {
      argument = std::min(argument, limit);
      line = std::clamp(line, -limit, limit);
    }
    line = activate(expert.getActivation(), alpha, argument) * (line + beta);
  }
  return hidden;
}

FailureOr<Numbers> Calibration::outputs(int64_t e, const Numbers &rows,
                                        WeightSource &weights) const {
  PoolOp pool = layer.pool;
  ExpertOpInterface entry = pool.getResolvedEntry(e);
  if (auto expert = dyn_cast<ExpertOp>(entry.getOperation())) {
    auto hidden = hiddenOf(expert, rows, weights);
    if (failed(hidden))
      return failure();
    auto result = multiply(expert, *hidden, *expert.getDown(),
                           expert.getDownBias(), weights);
    if (failed(result))
      return failure();
    double scale = expert.getOutputScale().convertToDouble();
    for (double &value : result->values)
      value *= scale;
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
  for (int64_t e = 0, n = pool.getNumEntries(); e < n; ++e) {
    std::vector<int64_t> rows;
    for (int64_t r = 0; r < gates.rows; ++r)
      if (gates.at(r, e) != 0)
        rows.push_back(r);
    if (rows.empty())
      continue;
    Numbers routed(static_cast<int64_t>(rows.size()), inputs.columns);
    for (size_t i = 0; i < rows.size(); ++i)
      std::copy_n(&inputs.values[rows[i] * inputs.columns], inputs.columns,
                  &routed.values[i * inputs.columns]);
    auto output = outputs(e, routed, weights);
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
