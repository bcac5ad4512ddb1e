#include "passes/Raise/LayerProbe.h"

using namespace mlir;
using namespace moe;

/// A fixed random number in [-1, 1) for a place.
static double noise(int64_t a, int64_t b, int64_t c) {
  uint64_t x = static_cast<uint64_t>(a) * 0x9E3779B97F4A7C15u +
               static_cast<uint64_t>(b) * 0xC2B2AE3D27D4EB4Fu +
               static_cast<uint64_t>(c) * 0x165667B19E3779F9u;
  x ^= x >> 31;
  x *= 0xBF58476D1CE4E5B9u;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBu;
  x ^= x >> 31;
  return static_cast<double>(x >> 11) * 0x1p-52 - 1.0;
}

/// Shape of tokens of rank 2 or more: the first dynamic dimensions hold them.
/// Empty where `count` tokens do not fit.
static SmallVector<int64_t, 4> shapeFor(RankedTensorType type, int64_t count,
                                        int64_t sequences, int64_t last) {
  SmallVector<int64_t, 4> shape;
  SmallVector<int64_t, 4> open;
  int64_t known = 1;
  for (int64_t d = 0; d + 1 < type.getRank(); ++d) {
    shape.push_back(type.isDynamicDim(d) ? 1 : type.getDimSize(d));
    if (type.isDynamicDim(d))
      open.push_back(d);
    else
      known *= type.getDimSize(d);
  }
  if (known == 0 || count % known != 0 || (open.empty() && count != known))
    return {};
  int64_t rest = count / known;
  if (!open.empty()) {
    if (open.size() > 1 && sequences > 1 && rest % sequences == 0) {
      shape[open[0]] = sequences;
      shape[open[1]] = rest / sequences;
    } else {
      shape[open.back()] = rest;
    }
  }
  shape.push_back(last);
  return shape;
}

LayerProbe::LayerProbe(const LayerCandidate &candidate,
                       const LinearLayers &layers)
    : candidate(candidate) {
  llvm::DenseSet<Value> own = {candidate.logits};
  for (const ExpertBody *body : candidate.bodies) {
    starts.push_back(total);
    total += body->count();
    own.insert(body->output);
    for (const LinearLayer &layer : body->first) {
      own.insert(layer.result);
      for (const LinearLayer &part : layer.parts)
        own.insert(part.result);
    }
    for (const LinearLayer &part : body->down.parts)
      own.insert(part.result);
  }
  for (const auto &[result, layer] : layers)
    if (!own.contains(result) && !layer.isStacked() &&
        tokenRoot(layer.data) == candidate.tokens)
      others.push_back(layer);
  auto type = cast<RankedTensorType>(candidate.tokens.getType());
  ArrayRef<int64_t> leading = type.getShape().drop_back();
  if (llvm::none_of(leading, ShapedType::isDynamic)) {
    fixed = 1;
    for (int64_t size : leading)
      fixed *= size;
  }
}

void LayerProbe::standIn(int64_t column, const double *row, double *out) const {
  int64_t width = features();
  for (int64_t o = 0; o < outputs(); ++o)
    out[o] = row[o % width] * noise(column, o, 1) + noise(column, o, 2);
}

void LayerProbe::column(int64_t column, int64_t window, const double *row,
                        double *out) const {
  if (window < 0)
    standIn(column, row, out);
  else if (column >= window && column - window < outputs())
    out[column - window] = 1.0;
}

/// Rows through the experts that ids pick, as a batched product would.
bool LayerProbe::evaluatePicked(GraphEvaluator &evaluator, size_t index,
                                int64_t window, HostTensor &result) const {
  const ExpertBody &body = *candidate.bodies[index];
  const HostTensor *rows = evaluator.get(body.input);
  const HostTensor *ids = rows ? evaluator.get(body.down.ids) : nullptr;
  if (!rows || !ids)
    return false;
  for (const LinearLayer &layer : body.first) {
    const HostTensor *other = evaluator.get(layer.ids);
    if (!other || other->data != ids->data)
      return evaluator.fail("gate, up and down weights of different experts");
  }
  auto shape = rows->shape;
  bool isLeft = body.first[0].isLeft;
  if (shape.size() < 2 || shape[shape.size() - (isLeft ? 2 : 1)] != features())
    return evaluator.fail("experts read rows of another width");
  int64_t each = isLeft ? 1 : shape[shape.size() - 2]; // rows of one product
  SmallVector<int64_t, 4> batch(shape.begin(), shape.end() - 2),
      picked(ids->shape.begin(), ids->shape.end() - body.down.idsNested), out;
  size_t rank = std::max(batch.size(), picked.size());
  batch.insert(batch.begin(), rank - batch.size(), 1);
  picked.insert(picked.begin(), rank - picked.size(), 1);
  for (size_t d = 0; d < rank; ++d) {
    if (batch[d] != picked[d] && batch[d] != 1 && picked[d] != 1)
      return evaluator.fail("rows and ids do not fit each other");
    out.push_back(batch[d] == 1 ? picked[d] : batch[d]);
  }
  int64_t count = 1;
  for (int64_t size : out)
    count *= size;
  shape = out;
  if (body.down.isLeft) {
    if (each != 1)
      return evaluator.fail("columns of several rows");
    shape.append({outputs(), 1});
  } else {
    shape.append({each, outputs()});
  }
  result = HostTensor(shape);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, from = 0, id = 0, fromStride = 1, idStride = 1;
    for (size_t d = rank; d-- > 0; rest /= out[d]) {
      int64_t at = rest % out[d];
      from += batch[d] == 1 ? 0 : at * fromStride;
      id += picked[d] == 1 ? 0 : at * idStride;
      fromStride *= batch[d];
      idStride *= picked[d];
    }
    int64_t expert = static_cast<int64_t>(ids->data[id]);
    if (expert < 0 || expert >= body.count())
      return evaluator.fail(kBadExpertId + Twine(expert) +
                            " is chosen, but there are " + Twine(body.count()) +
                            " experts (ids from 0 to " +
                            Twine(body.count() - 1) + ")");
    for (int64_t r = 0; r < each; ++r)
      column(starts[index] + expert, window,
             rows->data.data() + (from * each + r) * features(),
             result.data.data() + (i * each + r) * outputs());
  }
  return true;
}

/// Runs of rows through one expert each. The hidden rows are their numbers
/// here, so that the runs of the second layer can be compared.
bool LayerProbe::evaluateGrouped(GraphEvaluator &evaluator, size_t index,
                                 int64_t window, HostTensor &result) const {
  const ExpertBody &body = *candidate.bodies[index];
  std::vector<double> experts;
  std::vector<const HostTensor *> runs;
  for (int64_t e = 0; e < body.count(); ++e) {
    const HostTensor *rows = evaluator.get(body.first[0].parts[e].data);
    if (!rows)
      return false;
    if (rows->rank() != 2 || rows->shape[1] != features())
      return evaluator.fail("experts read rows of another width");
    for (const LinearLayer &layer : body.first) {
      const HostTensor *other = evaluator.get(layer.parts[e].data);
      if (!other || other->data != rows->data)
        return evaluator.fail("gate and up weights of different experts");
    }
    runs.push_back(rows);
    experts.insert(experts.end(), rows->shape[0], static_cast<double>(e));
  }
  int64_t count = static_cast<int64_t>(experts.size()), done = 0;
  HostTensor numbers(SmallVector<int64_t, 2>{count, 1});
  for (int64_t i = 0; i < count; ++i)
    numbers.data[i] = static_cast<double>(i);
  evaluator.bind(body.hidden, std::move(numbers));
  for (int64_t e = 0; e < body.count(); ++e) {
    const HostTensor *rows = evaluator.get(body.down.parts[e].data);
    if (!rows || rows->size() != runs[e]->shape[0])
      return evaluator.fail("up and down weights of different experts");
    for (double row : rows->data)
      if (row != static_cast<double>(done++))
        return evaluator.fail("up and down weights of different experts");
  }
  for (const LinearLayer *layer :
       {&body.first.front(), &body.first.back(), &body.down}) {
    if (!layer->ids)
      continue;
    const HostTensor *ids = evaluator.get(layer->ids);
    if (!ids || ids->data != experts)
      return evaluator.fail("biases of different experts");
  }
  result = HostTensor(SmallVector<int64_t, 2>{count, outputs()});
  done = 0;
  for (int64_t e = 0; e < body.count(); ++e)
    for (int64_t r = 0; r < runs[e]->shape[0]; ++r, ++done)
      column(starts[index] + e, window, runs[e]->data.data() + r * features(),
             result.data.data() + done * outputs());
  return true;
}

bool LayerProbe::evaluateBody(GraphEvaluator &evaluator, size_t index,
                              int64_t window, HostTensor &result) const {
  const ExpertBody &body = *candidate.bodies[index];
  if (body.down.isGrouped())
    return evaluateGrouped(evaluator, index, window, result);
  if (body.down.ids)
    return evaluatePicked(evaluator, index, window, result);
  const HostTensor *rows = evaluator.get(body.input);
  if (!rows)
    return false;
  if (rows->rank() < 1 || rows->shape.back() != features() ||
      (body.down.isStacked() && rows->rank() > 3))
    return evaluator.fail("experts read rows of another width");
  int64_t experts = body.count(), each = rows->size() / features();
  auto shape = rows->shape;
  bool repeated = false;
  if (body.down.isStacked()) {
    if (shape.size() == 2)
      shape.insert(shape.begin(), 1);
    repeated = shape[0] == 1;
    if (!repeated && shape[0] != experts)
      return evaluator.fail("stacked experts read another number of inputs");
    each = repeated ? each : each / experts;
    shape[0] = experts;
  }
  shape.back() = outputs();
  result = HostTensor(shape);
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t r = 0; r < each; ++r) {
      int64_t from = repeated ? r : e * each + r;
      column(starts[index] + e, window, rows->data.data() + from * features(),
             result.data.data() + (e * each + r) * outputs());
    }
  return true;
}

bool LayerProbe::run(Value value, const HostTensor &tokens,
                     const HostTensor &logits, int64_t sequences,
                     int64_t window, HostTensor &rows,
                     std::string &error) const {
  int64_t count = tokens.shape[0];
  auto type = cast<RankedTensorType>(candidate.tokens.getType());
  HostTensor x = tokens, z = logits;
  x.shape = shapeFor(type, count, sequences, features());
  if (x.shape.empty()) {
    error = "the graph is fixed to another number of tokens";
    return false;
  }
  auto logitsType = dyn_cast<RankedTensorType>(candidate.logits.getType());
  if (logitsType && logitsType.getRank() != 2) {
    if (logitsType.getRank() != type.getRank()) {
      error = "logits and tokens have different ranks";
      return false;
    }
    z.shape = x.shape;
    z.shape.back() = candidate.experts;
  }
  GraphEvaluator evaluator;
  // Arguments of the model (token ids...) have the leading dimensions of the
  // tokens: batch and sequence.
  evaluator.setArgumentShapes(
      [leading = x.shape](BlockArgument argument, HostTensor &like) {
        auto type = dyn_cast<RankedTensorType>(argument.getType());
        if (!type)
          return false;
        like.shape.assign(type.getShape().begin(), type.getShape().end());
        for (size_t d = 0; d < like.shape.size(); ++d) {
          if (!ShapedType::isDynamic(like.shape[d]))
            continue;
          if (d + 1 >= leading.size())
            return false;
          like.shape[d] = leading[d];
        }
        return true;
      });
  if (candidate.shapes)
    evaluator.setKnownSizes(
        *candidate.shapes,
        candidate.shapes->solve(candidate.tokens, x.shape, sequences));
  evaluator.bind(candidate.tokens, std::move(x));
  evaluator.bind(candidate.logits, std::move(z));
  for (size_t i = 0; i < candidate.bodies.size(); ++i) {
    const LinearLayer &down = candidate.bodies[i]->down;
    evaluator.replace(down.product,
                      [this, i, window](GraphEvaluator &e, HostTensor &out) {
                        return evaluateBody(e, i, window, out);
                      });
    if (down.result != down.product)
      evaluator.replace(down.result, [addend = down.addend](GraphEvaluator &e,
                                                            HostTensor &out) {
        const HostTensor *in = e.get(addend);
        if (in)
          out = *in;
        return in != nullptr;
      });
  }
  for (const auto &[i, layer] : llvm::enumerate(others))
    evaluator.replace(layer.result, [i = i, layer = &layer](GraphEvaluator &e,
                                                            HostTensor &out) {
      const HostTensor *in = e.get(layer->data);
      if (!in || in->rank() < 1 || in->shape.back() != layer->inputs())
        return false;
      auto shape = in->shape;
      shape.back() = layer->outputs();
      out = HostTensor(shape);
      for (int64_t r = 0, n = out.size() / layer->outputs(); r < n; ++r)
        for (int64_t o = 0; o < layer->outputs(); ++o)
          out.data[r * layer->outputs() + o] =
              in->data[r * layer->inputs() + o % layer->inputs()] *
              noise(static_cast<int64_t>(i), o, 5);
      return true;
    });
  const HostTensor *result = evaluator.get(value);
  if (!result) {
    error = evaluator.getError().str();
    return false;
  }
  if (result->size() != count * outputs() || result->rank() < 1 ||
      result->shape.back() != outputs()) {
    error = "has not one row per token";
    return false;
  }
  rows = *result;
  rows.shape = {count, outputs()};
  return true;
}

bool LayerProbe::evaluate(Value value, const HostTensor &tokens,
                          const HostTensor &logits, int64_t sequences,
                          HostTensor &rows, std::string &error) const {
  return run(value, tokens, logits, sequences, -1, rows, error);
}

bool LayerProbe::measure(Value value, const HostTensor &logits,
                         HostTensor &weights, std::string &error) const {
  int64_t count = logits.shape[0], experts = candidate.experts;
  // Dense forms hold every expert's output for every token.
  int64_t most = std::max<int64_t>(
      4, std::min<int64_t>(64, 4000000 / (features() * total)));
  int64_t batch = fixed ? fixed : std::min(count, most);
  weights = HostTensor(SmallVector<int64_t, 2>{count, total});
  for (int64_t from = 0; from < count; from += batch) {
    int64_t real = std::min(batch, count - from);
    int64_t size = fixed ? fixed : real;
    HostTensor z(SmallVector<int64_t, 2>{size, experts});
    for (int64_t t = 0; t < size; ++t)
      std::copy_n(logits.data.begin() + (t < real ? from + t : 0) * experts,
                  experts, z.data.begin() + t * experts);
    HostTensor x(SmallVector<int64_t, 2>{size, features()}, 1.0);
    for (int64_t window = 0; window < total; window += outputs()) {
      HostTensor rows;
      if (!run(value, x, z, 1, window, rows, error))
        return false;
      for (int64_t t = 0; t < real; ++t)
        for (int64_t o = 0; o < outputs(); ++o) {
          double read = rows.data[t * outputs() + o];
          if (window + o < total)
            weights.data[(from + t) * total + window + o] = read;
          else if (!(std::abs(read) < 1e-9)) {
            error = "adds something that no expert computes";
            return false;
          }
        }
    }
  }
  return true;
}
