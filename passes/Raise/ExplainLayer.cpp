#include "passes/Raise/ExplainLayer.h"
#include "passes/Raise/LayerProbe.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SmallPtrSet.h"
#include <random>

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

namespace {
using Shape2 = SmallVector<int64_t, 2>;

/// What one value of the graph was found to be.
struct Explanation {
  SmallVector<int64_t> columnOf; // expert (router column) -> column of bodies
  SmallVector<int64_t> addends;  // columns that are always added once
  SmallVector<int64_t> lost;
  GateMatch gate;
  std::vector<double> choiceBias;
};

struct Explainer {
  const LayerCandidate &candidate;
  const LinearLayers &layers;
  LayerProbe probe;
  std::mt19937_64 random{11};

  Explainer(const LayerCandidate &candidate, const LinearLayers &layers)
      : candidate(candidate), layers(layers), probe(candidate, layers) {}

  SmallVector<std::pair<Value, unsigned>> outputs();
  GateHints hints(Value output);
  HostTensor randomLogits(int64_t rows);
  bool assign(const HostTensor &forced, const HostTensor &weights,
              Explanation &found, std::string &error);
  bool explain(Value output, Explanation &found, std::string &error);
  bool prove(Value output, const Explanation &found, std::string &error);
  bool compare(Value output, const Explanation &found, const HostTensor &logits,
               int64_t sequences, std::string &error);
};
} // namespace

/// Values that depend on the logits and on bodies, in the order of the block,
/// with the number of bodies.
SmallVector<std::pair<Value, unsigned>> Explainer::outputs() {
  Value logits = candidate.logits;
  Block *block = logits.getParentBlock();
  unsigned count = candidate.bodies.size();
  struct From {
    llvm::BitVector bodies;
    bool logits = false;
  };
  llvm::DenseMap<Value, From> known;
  known[candidate.logits] = {llvm::BitVector(count), true};
  llvm::DenseMap<Operation *, SmallVector<unsigned>> nested;
  Operation *first = candidate.logits.getDefiningOp();
  for (auto [i, body] : llvm::enumerate(candidate.bodies)) {
    Operation *op = body->output.getDefiningOp();
    Operation *top = block->findAncestorOpInBlock(*op);
    if (!top)
      return {};
    nested[top].push_back(static_cast<unsigned>(i));
    if (!first || top->isBeforeInBlock(first))
      first = top;
  }
  SmallVector<std::pair<Value, unsigned>> found;
  unsigned most = 0, since = 0;
  for (Operation &op : llvm::make_range(first->getIterator(), block->end())) {
    From from{llvm::BitVector(count), false};
    auto join = [&](Value operand) {
      auto at = known.find(operand);
      if (at == known.end())
        return;
      from.bodies |= at->second.bodies;
      from.logits |= at->second.logits;
    };
    for (Value operand : op.getOperands())
      join(operand);
    if (op.getNumRegions())
      op.walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          join(operand);
      });
    if (auto at = nested.find(&op); at != nested.end())
      for (unsigned i : at->second)
        from.bodies.set(i);
    if (!from.logits && from.bodies.none())
      continue;
    unsigned bodies = from.bodies.count();
    for (Value result : op.getResults()) {
      if (!known.count(result))
        known[result] = from;
      auto type = dyn_cast<TensorType>(result.getType());
      if (from.logits && bodies && type &&
          isa<FloatType>(type.getElementType()))
        found.push_back({result, bodies});
    }
    since = bodies > most ? 0 : since + 1;
    most = std::max(most, bodies);
    if (most == count && since > 40)
      break;
  }
  return found;
}

/// Constants of the nodes between logits, tokens, bodies and the result.
GateHints Explainer::hints(Value output) {
  GateHints hints;
  llvm::DenseSet<Value> seen = {candidate.logits, candidate.tokens};
  for (const ExpertBody *body : candidate.bodies)
    seen.insert(body->output);
  SmallVector<Value> work = {output};
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    Operation *op = value.getDefiningOp();
    if (!op)
      continue;
    if (auto scalar = constantFloat(value)) {
      if (*scalar != 0 && !llvm::is_contained(hints.scalars, *scalar))
        hints.scalars.push_back(*scalar);
      continue;
    }
    auto node = dyn_cast<NodeOp>(op);
    if (!node) {
      auto type = dyn_cast<RankedTensorType>(value.getType());
      HostTensor numbers;
      std::string error;
      bool perExpert = type && type.getRank() == 1 &&
                       type.getDimSize(0) == candidate.experts;
      if (perExpert && isa<FloatType>(type.getElementType()) &&
          readConstant(value, numbers, error))
        hints.biases.push_back({value, numbers.data});
      if (perExpert && type.getElementType().isInteger(1) &&
          readConstant(value, numbers, error))
        hints.nullTables.emplace_back(numbers.data.begin(), numbers.data.end());
      continue;
    }
    if (node.is("TopK"))
      if (auto k = constantInts(node.input(1)); k && k->size() == 1)
        hints.counts.push_back((*k)[0]);
    if (node.is("Reshape"))
      if (auto shape = constantInts(node.input(1)))
        for (int64_t size : *shape)
          if (size > 1 && !llvm::is_contained(hints.groups, size))
            hints.groups.push_back(size);
    for (Value input : node.getInputs())
      work.push_back(input);
    for (Region &region : node.getBodies())
      region.walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          work.push_back(operand);
      });
  }
  return hints;
}

HostTensor Explainer::randomLogits(int64_t rows) {
  HostTensor logits(Shape2{rows, candidate.experts});
  std::uniform_real_distribution<double> uniform(-2, 2);
  int64_t row = 0;
  for (double &value : logits.data) {
    value = uniform(random);
    // Some rows are far below zero, where the epsilons of a norm show.
    int64_t kind = row++ / candidate.experts % 6;
    if (kind == 3)
      value = value * 6 - 30;
    if (kind == 4)
      value = value * 6 - 70;
    if (kind == 5)
      value *= 20;
  }
  return logits;
}

/// Which column serves which expert, from rows of logits that each prefer one
/// expert by far; columns of weight 1 throughout are added whatever is chosen.
bool Explainer::assign(const HostTensor &forced, const HostTensor &weights,
                       Explanation &found, std::string &error) {
  int64_t total = probe.columns(), experts = candidate.experts;
  SmallVector<bool> constant(total, true), silent(total, true);
  for (const HostTensor *tensor : {&forced, &weights})
    for (int64_t t = 0; t < tensor->shape[0]; ++t)
      for (int64_t j = 0; j < total; ++j) {
        double w = tensor->data[t * total + j];
        constant[j] = constant[j] && std::abs(w - 1) < 1e-12;
        silent[j] = silent[j] && w == 0;
      }
  SmallVector<int64_t> owner(total, -1);
  auto weight = [&](int64_t e, int64_t j) {
    return std::abs(forced.data[e * total + j]);
  };
  for (int64_t e = 0; e < experts; ++e) {
    int64_t best = -1;
    for (int64_t j = 0; j < total; ++j)
      if (!constant[j] && weight(e, j) > 0 &&
          (best < 0 || weight(e, j) > weight(e, best)))
        best = j;
    if (best >= 0 &&
        (owner[best] < 0 || weight(e, best) > weight(owner[best], best)))
      owner[best] = e;
  }
  found.columnOf.assign(experts, -1);
  for (int64_t j = 0; j < total; ++j) {
    if (owner[j] >= 0)
      found.columnOf[owner[j]] = j;
    else if (constant[j])
      found.addends.push_back(j);
    else if (!silent[j]) {
      error = "one expert answers to no logit of its own";
      return false;
    }
  }
  // Experts that no logits reach get the columns that never answered.
  SmallVector<int64_t> spare;
  for (int64_t j = 0; j < total; ++j)
    if (owner[j] < 0 && !constant[j])
      spare.push_back(j);
  for (int64_t e = 0, next = 0; e < experts; ++e)
    if (found.columnOf[e] < 0 && next < static_cast<int64_t>(spare.size()))
      found.columnOf[e] = spare[next++];
  for (int64_t e = 0; e < experts; ++e)
    if (found.columnOf[e] < 0)
      found.lost.push_back(e);
  return true;
}

/// Whether the graph has a table that says that exactly these experts are null:
/// then they are not lost.
static bool areNull(const GateHints &hints, ArrayRef<int64_t> lost,
                    int64_t experts) {
  SmallVector<bool> table(experts, false);
  for (int64_t e : lost)
    table[e] = true;
  return llvm::is_contained(hints.nullTables, table);
}

bool Explainer::explain(Value output, Explanation &found, std::string &error) {
  int64_t experts = candidate.experts, total = probe.columns();
  std::uniform_real_distribution<double> uniform(-1, 1);
  HostTensor forced(Shape2{experts, experts});
  // As far apart as scores can be: an expert that is not chosen then is out
  // of reach behind its choice bias.
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t j = 0; j < experts; ++j)
      forced.data[e * experts + j] = uniform(random) + (j == e ? 40 : -40);
  HostTensor logits = randomLogits(40), one, many;
  if (!probe.measure(output, forced, one, error) ||
      !probe.measure(output, logits, many, error) ||
      !assign(one, many, found, error))
    return false;
  GateHints all = hints(output);
  int64_t lost = static_cast<int64_t>(found.lost.size());
  if (lost && areNull(all, found.lost, experts)) {
    found.gate.nulls.assign(experts, false);
    for (int64_t e : found.lost)
      found.gate.nulls[e] = true;
    found.lost.clear();
  } else if (lost > experts / 2 + 1 || (lost && lost >= experts - 1)) {
    error = "most logits choose no expert";
    return false;
  }
  HostTensor weights(Shape2{logits.shape[0], experts});
  SmallVector<bool> known(experts, true);
  for (int64_t e = 0; e < experts; ++e) {
    known[e] = found.columnOf[e] >= 0;
    for (int64_t t = 0; known[e] && t < logits.shape[0]; ++t)
      weights.data[t * experts + e] = many.data[t * total + found.columnOf[e]];
  }
  if (!fitGate(logits, weights, all, known, found.gate, found.choiceBias)) {
    error = "no gate explains the weights of the experts";
    return false;
  }
  return true;
}

/// One comparison of the graph with the explained layer.
bool Explainer::compare(Value output, const Explanation &found,
                        const HostTensor &logits, int64_t sequences,
                        std::string &error) {
  int64_t count = logits.shape[0], width = probe.outputs();
  HostTensor tokens(Shape2{count, probe.features()});
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (double &value : tokens.data)
    value = uniform(random);
  HostTensor got;
  if (!probe.evaluate(output, tokens, logits, sequences, got, error))
    return false;
  HostTensor weights = denseWeights(found.gate, found.choiceBias, logits);
  std::vector<double> want(width), row(width);
  for (int64_t t = 0; t < count; ++t) {
    std::fill(want.begin(), want.end(), 0.0);
    double size = 1;
    auto add = [&](int64_t column, double weight) {
      if (column < 0 || weight == 0)
        return;
      probe.standIn(column, tokens.data.data() + t * probe.features(),
                    row.data());
      for (int64_t o = 0; o < width; ++o)
        want[o] += weight * row[o];
      size += std::abs(weight);
    };
    for (int64_t e = 0; e < candidate.experts; ++e)
      add(found.columnOf[e], weights.data[t * candidate.experts + e]);
    for (int64_t column : found.addends)
      add(column, 1.0);
    for (int64_t o = 0; o < width; ++o)
      if (!(std::abs(want[o] - got.data[t * width + o]) <= 2e-6 * size)) {
        error = "token " + std::to_string(t) + " gets another result";
        return false;
      }
  }
  return true;
}

bool Explainer::prove(Value output, const Explanation &found,
                      std::string &error) {
  int64_t experts = candidate.experts;
  int64_t fixed = probe.fixedTokens();
  auto check = [&](StringRef name, HostTensor logits, int64_t sequences) {
    if (fixed) { // repeat or cut the rows to what the graph takes
      HostTensor cut(Shape2{fixed, experts});
      for (int64_t i = 0; i < cut.size(); ++i)
        cut.data[i] = logits.data[i % logits.size()];
      logits = cut;
    }
    if (compare(output, found, logits, sequences, error))
      return true;
    error = (name + ": " + error).str();
    return false;
  };
  HostTensor ties = randomLogits(12);
  for (double &value : ties.data)
    value = std::round(value);
  for (int64_t e = 0; e < experts; ++e)
    ties.data[e] = 0.25;
  HostTensor one(Shape2{6, experts}, -1.0);
  for (int64_t t = 0; t < 6; ++t)
    one.data[t * experts + experts / 2] = 4;
  // Every expert as first and as second choice.
  int64_t rows = std::min<int64_t>(experts, 32);
  HostTensor slots(Shape2{rows, experts});
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t e = 0; e < experts; ++e)
      slots.data[t * experts + e] = -static_cast<double>(
          (e - t * (experts / rows) + 2 * experts) % experts);
  if (!check("random logits", randomLogits(14), 2) ||
      !check("tied logits", ties, 1) ||
      !check("all tokens to one expert", one, 2) ||
      !check("every expert in every slot", slots, 1))
    return false;
  if (fixed)
    return true;
  return check("one token", randomLogits(1), 1) &&
         check("no tokens", HostTensor(Shape2{0, experts}), 1);
}

/// True where `value` may become the layer's result: its shape can be made
/// from rows.
static bool canReplace(Value value, Value tokens) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return !type || type.getRank() == 2 ||
         type.getRank() == cast<RankedTensorType>(tokens.getType()).getRank();
}

bool moe::explainLayer(const LayerCandidate &candidate,
                       const LinearLayers &layers, BankNames &banks,
                       MoELayerMatch &match, Refusal &refusal) {
  Explainer explainer(candidate, layers);
  auto outputs = explainer.outputs();
  unsigned most = 0;
  for (auto [value, bodies] : outputs)
    most = std::max(most, bodies);
  size_t full = 0;
  while (full < outputs.size() && outputs[full].second < most)
    ++full;
  if (full == outputs.size()) {
    refusal.reason = "nothing depends on both router and experts";
    return false;
  }
  // The first value of all bodies, those after it, then those before: a
  // shared expert may come in last.
  SmallVector<size_t> order;
  for (size_t i = full; i < outputs.size() && i < full + 16; ++i)
    order.push_back(i);
  for (size_t i = full;
       i-- > 0 && full - i < 32 && outputs[i].second + 2 >= most;)
    order.push_back(i);

  Explanation found;
  Value output;
  std::string lostReason;
  for (size_t i : order) {
    Value value = outputs[i].first;
    if (!canReplace(value, candidate.tokens))
      continue;
    Explanation trial;
    std::string error;
    bool explained = explainer.explain(value, trial, error);
    if (explained && trial.lost.empty())
      explained = explainer.prove(value, trial, error);
    if (explained && !trial.lost.empty()) {
      if (refusal.lost.empty() || trial.lost.size() < refusal.lost.size()) {
        refusal.lost = trial.lost;
        refusal.where = value.getDefiningOp();
      }
      explained = false;
    }
    if (explained) {
      // Further on while nothing else is added: scale factors, reshapes.
      output = value;
      found = trial;
      for (size_t next = i + 1; next < outputs.size(); ++next) {
        Value later = outputs[next].first;
        if (!output.hasOneUse() ||
            *output.user_begin() != later.getDefiningOp())
          break;
        Explanation extended;
        std::string ignored;
        if (!canReplace(later, candidate.tokens) ||
            later.getDefiningOp()->getNumResults() != 1 ||
            !explainer.explain(later, extended, ignored) ||
            !extended.lost.empty() ||
            !explainer.prove(later, extended, ignored))
          break;
        output = later;
        found = extended;
      }
      break;
    }
    if (refusal.reason.empty() || i == full)
      refusal.reason = error;
  }
  if (!output)
    return false;
  refusal.lost.clear();

  // The bodies must compute the same formula.
  auto bodyOf = [&](int64_t column, int64_t &index) {
    size_t b = 0;
    while (b + 1 < candidate.bodies.size() &&
           explainer.probe.firstColumn(b + 1) <= column)
      ++b;
    index = column - explainer.probe.firstColumn(b);
    return candidate.bodies[b];
  };
  llvm::DenseMap<const ExpertBody *, BodyFit> fits;
  for (int64_t e = 0; e < candidate.experts; ++e) {
    if (found.columnOf[e] < 0) {
      match.experts.push_back({});
      continue;
    }
    int64_t index;
    const ExpertBody *body = bodyOf(found.columnOf[e], index);
    auto [at, isNew] = fits.try_emplace(body);
    std::string error;
    if (isNew && !fitBody(*body, at->second, error)) {
      refusal.reason = "expert " + std::to_string(e) + ": " + error;
      return false;
    }
    const BodyFit &fit = at->second;
    ActivationMatch &act = match.activation;
    if (fits.size() == 1 && isNew)
      act = fit.activation;
    if (act.kind != fit.activation.kind ||
        act.activation != fit.activation.activation ||
        act.alpha != fit.activation.alpha || act.beta != fit.activation.beta ||
        act.limit != fit.activation.limit) {
      refusal.reason =
          "expert " + std::to_string(e) + " has another activation";
      return false;
    }
    ExpertMatch expert;
    if (!sliceExpert(*body, fit, index, banks, expert)) {
      refusal.reason = "the weights of expert " + std::to_string(e) +
                       " are not slices of one tensor";
      return false;
    }
    match.experts.push_back(expert);
  }
  for (int64_t column : found.addends) {
    int64_t index;
    match.addends.push_back(bodyOf(column, index)->output);
  }
  match.encoding = "subgraph";
  match.tokens = candidate.tokens;
  match.router = matchRouter(candidate.logits);
  if (match.router.input && haveSameRows(match.router.input, match.tokens))
    match.router.input = match.tokens;
  match.gate = found.gate;
  match.output = output;
  return true;
}
