#include "passes/Raise/GateModel.h"
#include <numeric>

using namespace mlir;
using namespace moe;

/// In place; an empty sum (all -inf) gives NaN like the operator does.
static void softmax(MutableArrayRef<double> values) {
  double top = -INFINITY, sum = 0;
  for (double value : values)
    top = std::max(top, value);
  for (double &value : values)
    sum += value = std::exp(value - top);
  for (double &value : values)
    value /= sum;
}

static void score(Score kind, MutableArrayRef<double> values) {
  if (kind == Score::Softmax)
    softmax(values);
  else if (kind == Score::Sigmoid)
    for (double &value : values)
      value = 1 / (1 + std::exp(-value));
}

/// Indices of the `count` largest values; ties go to the lower index.
static std::vector<int64_t> largest(ArrayRef<double> values, int64_t count) {
  std::vector<int64_t> order = sortedIndices(values, /*largestFirst=*/true);
  order.resize(static_cast<size_t>(count));
  return order;
}

/// Choice scores of experts outside the best groups become the mask value.
static void maskGroups(const GateMatch &gate, std::vector<double> &choice) {
  int64_t size = static_cast<int64_t>(choice.size()) / gate.groups;
  std::vector<double> best;
  for (int64_t g = 0; g < gate.groups; ++g) {
    std::vector<double> group(choice.begin() + g * size,
                              choice.begin() + (g + 1) * size);
    std::sort(group.rbegin(), group.rend());
    best.push_back(gate.groupScore == GroupScore::Top2 && size > 1
                       ? group[0] + group[1]
                       : group[0]);
  }
  std::vector<int64_t> kept = largest(best, gate.topGroups);
  for (int64_t e = 0; e < static_cast<int64_t>(choice.size()); ++e)
    if (!llvm::is_contained(kept, e / size))
      choice[e] = gate.groupMask == GroupMask::Zero ? 0.0 : -INFINITY;
}

HostTensor moe::denseWeights(const GateMatch &gate, ArrayRef<double> bias,
                             const HostTensor &logits,
                             std::vector<int64_t> *slots) {
  int64_t experts = logits.shape[1];
  HostTensor weights(logits.shape);
  for (int64_t t = 0; t < logits.shape[0]; ++t) {
    std::vector<double> scores(logits.data.begin() + t * experts,
                               logits.data.begin() + (t + 1) * experts);
    if (!gate.selectFirst)
      score(gate.score, scores);
    std::vector<double> choice = scores;
    for (size_t e = 0; e < bias.size(); ++e)
      choice[e] += bias[e];
    if (gate.groups)
      maskGroups(gate, choice);
    std::vector<int64_t> ids = largest(choice, gate.topK);
    std::vector<double> chosen;
    for (int64_t id : ids)
      chosen.push_back(scores[id]);
    if (gate.selectFirst)
      score(gate.score, chosen);
    auto divide = [&](double epsilon) {
      double sum = epsilon;
      for (double value : chosen)
        sum += value;
      for (double &value : chosen)
        value = sum == 0 ? 0 : value / sum;
    };
    if (gate.norm == Norm::Real)
      for (size_t j = 0; j < ids.size(); ++j)
        if (gate.nulls[ids[j]])
          chosen[j] = 0;
    if (gate.norm != Norm::None)
      divide(gate.normEpsilon);
    if (gate.skipRatio != 0) {
      for (size_t j = 1; j < chosen.size(); ++j)
        if (chosen[j] < gate.skipRatio * chosen[0])
          chosen[j] = 0;
      if (gate.norm != Norm::None ||
          (gate.selectFirst && gate.score == Score::Softmax))
        divide(0);
    }
    if (slots)
      llvm::append_range(*slots, ids);
    for (size_t j = 0; j < ids.size(); ++j)
      weights.data[t * experts + ids[j]] = chosen[j] * gate.scale;
  }
  return weights;
}

/// The factor between two tensors of weights, or nothing where they are not
/// proportional (relative to the largest weight of each row).
static std::optional<double>
ratio(const HostTensor &want, const HostTensor &have, ArrayRef<bool> known) {
  int64_t rows = want.shape[0], columns = want.shape[1];
  double factor = 0;
  for (int64_t t = 0; t < rows; ++t) {
    double top = 0;
    int64_t at = -1;
    for (int64_t e = 0; e < columns; ++e)
      if (known[e] && std::abs(have.data[t * columns + e]) > top) {
        top = std::abs(have.data[t * columns + e]);
        at = t * columns + e;
      }
    if (at >= 0 && factor == 0)
      factor = want.data[at] / have.data[at];
    for (int64_t e = 0; e < columns; ++e) {
      double a = want.data[t * columns + e],
             b = have.data[t * columns + e] * factor;
      if (known[e] && !(std::abs(a - b) <= 1e-6 * std::abs(factor) * top))
        return std::nullopt;
    }
  }
  return factor;
}

bool moe::fitGate(const HostTensor &logits, const HostTensor &weights,
                  const GateHints &hints, ArrayRef<bool> known, GateMatch &gate,
                  std::vector<double> &bias) {
  int64_t experts = logits.shape[1];
  // As many experts per token as carry weight at most, where that is told.
  int64_t topK = 0;
  for (int64_t t = 0; t < weights.shape[0]; ++t) {
    int64_t count = 0;
    for (int64_t e = 0; e < experts; ++e)
      count += weights.data[t * experts + e] != 0;
    topK = std::max(topK, count);
  }
  if (topK == 0)
    return false;
  // More may be chosen than carry weight: null experts, skipped slots.
  SmallVector<int64_t> counts = {topK};
  for (int64_t count : hints.counts)
    if (count > topK && count <= experts)
      counts.push_back(count);
  SmallVector<double> skips = {0.0};
  for (double value : hints.scalars)
    if (value > 0 && value < 1)
      skips.push_back(value);
  SmallVector<double> epsilons = {0.0};
  for (double value : hints.scalars)
    if (value > 0 && value < 1e-2)
      epsilons.push_back(value);
  SmallVector<int64_t> groups = {0};
  for (int64_t count : hints.groups)
    if (count > 1 && experts % count == 0)
      groups.push_back(count);

  auto tryGate = [&](const GateMatch &trial, ArrayRef<double> numbers) {
    auto factor = ratio(weights, denseWeights(trial, numbers, logits), known);
    if (!factor || *factor == 0)
      return false;
    gate = trial;
    gate.scale = std::abs(*factor - 1) < 1e-6 ? 1.0 : *factor;
    for (double value : hints.scalars) // exactly what the file says
      if (std::abs(*factor - value) <= 1e-6 * std::abs(value))
        gate.scale = value;
    bias.assign(numbers.begin(), numbers.end());
    return true;
  };
  auto tryNorms = [&](GateMatch trial, ArrayRef<double> numbers) {
    trial.norm = Norm::None;
    if (tryGate(trial, numbers))
      return true;
    for (Norm norm : {Norm::Selected, Norm::Real}) {
      if (norm == Norm::Real && gate.nulls.empty())
        continue;
      trial.norm = norm;
      for (double epsilon : epsilons) {
        trial.normEpsilon = epsilon;
        if (tryGate(trial, numbers))
          return true;
      }
    }
    return false;
  };
  auto tryAll = [&](int64_t topK, double skip) {
    for (Score kind : {Score::Softmax, Score::Sigmoid, Score::None})
      for (bool first : {false, true})
        for (int64_t g : groups) {
          if (first && g)
            continue;
          GateMatch trial;
          trial.nulls = gate.nulls;
          trial.skipRatio = skip;
          trial.score = kind;
          trial.topK = topK;
          trial.selectFirst = first && kind != Score::None;
          if ((first && kind == Score::None) || (g && skip != 0))
            continue;
          SmallVector<int64_t> tops = {0};
          if (g)
            tops = hints.counts;
          for (int64_t top : tops)
            for (int variant = 0; variant < (g ? 4 : 1); ++variant) {
              trial.groups = g;
              trial.topGroups = top;
              trial.groupScore =
                  variant & 1 ? GroupScore::Top2 : GroupScore::Max;
              trial.groupMask =
                  variant & 2 ? GroupMask::MinusInfinity : GroupMask::Zero;
              if (g && (top < 1 || top > g || experts / g * top < topK))
                continue;
              if (tryNorms(trial, {}))
                return true;
              for (const GateHints::Bias &candidate : hints.biases)
                // Slots are skipped in the order of their weights.
                if (!trial.selectFirst && skip == 0 &&
                    tryNorms(trial, candidate.numbers)) {
                  gate.choiceBias = candidate.value;
                  return true;
                }
            }
        }
    return false;
  };
  for (double skip : skips)
    for (int64_t count : counts)
      if (tryAll(count, skip))
        return true;
  return false;
}
