#include "passes/Compress/Scores.h"

#include "passes/Analysis/ReadAhead.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Profile.h"
#include "passes/Compress/ProfileColumns.h"
#include "llvm/Support/Parallel.h"
#include <cmath>

using namespace mlir;
using namespace moe;

/// A vector of the profile, by entries, divided by the sum of another (or of
/// its own).
static FailureOr<std::vector<double>> shares(const MoELayer &layer,
                                             const Profile &profile,
                                             StringRef name,
                                             StringRef divisor) {
  auto measure = measureOfEntries(layer, profile, name);
  if (failed(measure))
    return failure();
  std::optional<Numbers> &numbers = *measure;
  auto whole = profile.get(layer.name, divisor);
  if (!numbers || !whole)
    return emitLayerError(layer)
           << "profile '" << profile.getPath() << "' has no '"
           << (numbers ? divisor : name)
           << "' of it; make one with a binary that was compiled with "
              "--instrument";
  double sum = 0;
  for (double number : whole->values)
    sum += number;
  if (sum <= 0)
    return emitLayerError(layer)
           << "profile '" << profile.getPath() << "' has seen no token there";
  if (sum < kEnoughRows)
    return emitLayerError(layer)
           << "profile '" << profile.getPath() << "' has seen "
           << static_cast<int64_t>(sum) << " tokens there, " << kEnoughRows
           << " are needed at least: profile a longer text";
  for (double &number : numbers->values)
    number /= sum;
  return numbers->values;
}

static FailureOr<std::vector<double>> saliency(const MoELayer &layer,
                                               const Profile &profile,
                                               WeightSource &weights,
                                               int64_t rows) {
  auto calibration = Calibration::of(layer, profile, weights, rows);
  if (failed(calibration))
    return failure();
  const Numbers &gates = calibration->getEntryGates();
  std::vector<double> result(gates.columns);
  for (int64_t e = 0; e < gates.columns; ++e) {
    auto outputs = calibration->outputs(e, weights);
    if (failed(outputs))
      return failure();
    int64_t count = 0;
    for (int64_t r = 0; r < gates.rows; ++r) {
      if (gates.at(r, e) == 0)
        continue;
      double square = 0;
      for (int64_t c = 0; c < outputs->columns; ++c)
        square += outputs->at(r, c) * outputs->at(r, c);
      result[e] += gates.at(r, e) * std::sqrt(square);
      ++count;
    }
    if (count)
      result[e] /= static_cast<double>(count);
  }
  return result;
}

static FailureOr<std::vector<double>> magnitude(const MoELayer &layer,
                                                WeightSource &weights) {
  PoolOp pool = layer.pool;
  std::vector<double> result(pool.getNumEntries());
  // All weights of the layer are read, once.
  struct Part {
    size_t entry;
    ExpertOp expert;
    Attribute matrix;
  };
  std::vector<Part> parts;
  ReadAhead ahead(weights);
  auto entries = pool.getEntries();
  for (auto [e, entry] : llvm::enumerate(entries))
    if (auto expert = dyn_cast<ExpertOp>(entry.getOperation()))
      for (StringRef name : {"gate", "up", "down"})
        if (Attribute matrix = expert->getAttr(name)) {
          parts.push_back({e, expert, matrix});
          ahead.add(expert, matrix);
        }
  for (auto [i, part] : llvm::enumerate(parts)) {
    ahead.reach(i);
    auto square = sumOfSquares(part.expert, part.matrix, weights);
    if (failed(square))
      return failure();
    if (failed(checkFinite(layer, part.entry, *square)))
      return failure();
    result[part.entry] += *square;
  }
  for (double &norm : result)
    norm = std::sqrt(norm);
  for (auto [e, entry] : llvm::enumerate(entries))
    if (isa<AliasOp>(entry.getOperation()))
      for (int64_t column : columnsOf(pool, static_cast<int64_t>(e)))
        result[e] = std::max(result[e], result[column]);
  return result;
}

std::optional<FailureOr<std::vector<double>>>
moe::scoreExperts(const MoELayer &layer, StringRef score,
                  const Profile *profile, WeightSource &weights, int64_t rows) {
  if (score == "magnitude")
    return magnitude(layer, weights);
  if (!llvm::is_contained({"frequency", "probability", "saliency"}, score))
    return std::nullopt;
  if (!profile)
    return FailureOr<std::vector<double>>(
        emitLayerError(layer)
        << "score '" << score << "' needs a profile (--profile=FILE)");
  if (score == "frequency")
    return shares(layer, *profile, "counts", "counts");
  if (score == "probability")
    return shares(layer, *profile, "score_sum", "tokens");
  return saliency(layer, *profile, weights, rows);
}

FailureOr<Reconstruction> Reconstruction::of(const Calibration &calibration,
                                             int64_t experts,
                                             WeightSource &weights,
                                             bool asNull) {
  Reconstruction result;
  result.asNull = asNull;
  result.calibration = &calibration;
  result.experts = experts;
  result.weights = calibration.getGates();
  int64_t rows = result.weights.rows;
  result.gram.resize(rows * experts * experts);
  // As many rows at once as fit in a quarter of a gigabyte.
  int64_t columns = calibration.getInputs().columns;
  int64_t each = std::max<int64_t>(64, (32 << 20) / (experts * columns));
  for (int64_t first = 0; first < rows; first += each) {
    int64_t last = std::min(first + each, rows);
    std::vector<Numbers> outputs;
    for (int64_t e = 0; e < experts; ++e) {
      auto own = calibration.outputs(e, first, last, weights);
      if (failed(own))
        return failure();
      outputs.push_back(std::move(*own));
    }
    llvm::parallelFor(first, last, [&](size_t row) {
      double *gram = &result.gram[row * experts * experts];
      int64_t r = static_cast<int64_t>(row) - first;
      for (int64_t a = 0; a < experts; ++a)
        for (int64_t b = 0; b <= a; ++b) {
          const Numbers &left = outputs[a], &right = outputs[b];
          double sum = 0;
          for (int64_t c = 0; c < left.columns; ++c)
            sum += left.at(r, c) * right.at(r, c);
          gram[a * experts + b] = gram[b * experts + a] = sum;
        }
    });
  }
  return result;
}

double Reconstruction::loss(ArrayRef<int64_t> kept) const {
  Numbers now =
      asNull ? calibration->nullWeights(kept) : calibration->gateWeights(kept);
  double total = 0;
  SmallVector<std::pair<int64_t, double>> changed;
  for (int64_t r = 0; r < now.rows; ++r) {
    changed.clear();
    for (int64_t e = 0; e < experts; ++e)
      if (double change = now.at(r, e) - weights.at(r, e))
        changed.push_back({e, change});
    const double *own = &gram[r * experts * experts];
    for (auto [a, left] : changed)
      for (auto [b, right] : changed)
        total += left * right * own[a * experts + b];
  }
  return std::sqrt(std::max(total, 0.0));
}

int64_t moe::countSubsets(int64_t experts, int64_t keep) {
  double count = 1;
  for (int64_t i = 0; i < std::min(keep, experts - keep); ++i)
    count =
        count * static_cast<double>(experts - i) / static_cast<double>(i + 1);
  return count > 1e15 ? int64_t(1e15) : std::llround(count);
}

using Subset = std::vector<int64_t>;

/// The best of `candidates`, ties to the first.
static std::vector<std::pair<double, size_t>>
rank(const Reconstruction &reconstruction, ArrayRef<Subset> candidates) {
  std::vector<std::pair<double, size_t>> order(candidates.size());
  llvm::parallelFor(0, candidates.size(), [&](size_t i) {
    order[i] = {reconstruction.loss(candidates[i]), i};
  });
  llvm::sort(order);
  return order;
}

std::vector<int64_t> moe::searchSubset(const Reconstruction &reconstruction,
                                       int64_t experts, int64_t keep,
                                       int64_t width) {
  Subset all;
  for (int64_t e = 0; e < experts; ++e)
    all.push_back(e);
  std::vector<Subset> best{all};
  int64_t groups = reconstruction.getGroups();
  if (width == 0) {
    // Combinations in lexicographic order.
    std::vector<Subset> subsets;
    Subset own(all.begin(), all.begin() + keep);
    for (;;) {
      if (groups == 0 || isEven(own, groups, experts))
        subsets.push_back(own);
      int64_t i = keep - 1;
      while (i >= 0 && own[i] == experts - keep + i)
        --i;
      if (i < 0)
        break;
      ++own[i];
      for (int64_t j = i + 1; j < keep; ++j)
        own[j] = own[j - 1] + 1;
    }
    return subsets[rank(reconstruction, subsets)[0].second];
  }
  for (int64_t left = experts; left > keep; --left) {
    std::vector<Subset> candidates;
    for (const Subset &subset : best)
      for (size_t out = 0; out < subset.size(); ++out) {
        if (groups &&
            subset[out] * groups / experts != (experts - left) % groups)
          continue;
        Subset smaller = subset;
        smaller.erase(smaller.begin() + out);
        if (!llvm::is_contained(candidates, smaller))
          candidates.push_back(std::move(smaller));
      }
    auto order = rank(reconstruction, candidates);
    best.clear();
    for (size_t i = 0; i < order.size() && i < static_cast<size_t>(width); ++i)
      best.push_back(candidates[order[i].second]);
  }
  return best[0];
}
