#include "passes/Compress/Similarity.h"

#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Assignment.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Profile.h"
#include "passes/Compress/ProfileColumns.h"
#include "llvm/Support/Parallel.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace moe;

/// Cosines from inner products.
static Numbers cosines(Numbers gram) {
  Numbers result(gram.rows, gram.columns);
  for (int64_t i = 0; i < gram.rows; ++i)
    for (int64_t j = 0; j < gram.columns; ++j) {
      double norm = std::sqrt(gram.at(i, i) * gram.at(j, j));
      result.at(i, j) = norm > 0 ? gram.at(i, j) / norm : i == j;
    }
  return result;
}

/// Inner products of centred rows, `[rows, rows]`.
static Numbers centredGram(const Numbers &features) {
  Numbers centred = features;
  for (int64_t c = 0; c < centred.columns; ++c) {
    double mean = 0;
    for (int64_t r = 0; r < centred.rows; ++r)
      mean += centred.at(r, c);
    mean /= static_cast<double>(centred.rows);
    for (int64_t r = 0; r < centred.rows; ++r)
      centred.at(r, c) -= mean;
  }
  return timesTransposed(centred, centred);
}

static double dot(ArrayRef<double> a, ArrayRef<double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double moe::linearCKA(const Numbers &a, const Numbers &b) {
  // |A^T B|^2 is the inner product of A A^T and B B^T.
  Numbers left = centredGram(a), right = centredGram(b);
  double norm = std::sqrt(dot(left.values, left.values) *
                          dot(right.values, right.values));
  return norm > 0 ? dot(left.values, right.values) / norm : 0;
}

static FailureOr<Numbers> ofOutputs(const MoELayer &layer,
                                    const Profile &profile,
                                    WeightSource &weights, int64_t rows) {
  auto calibration = Calibration::of(layer, profile, weights, rows);
  if (failed(calibration))
    return failure();
  PoolOp pool = layer.pool;
  int64_t experts = pool.getNumEntries();
  std::vector<std::vector<double>> grams;
  for (int64_t e = 0; e < experts; ++e) {
    auto outputs = calibration->outputs(e, weights);
    if (failed(outputs))
      return failure();
    grams.push_back(centredGram(*outputs).values);
  }
  Numbers gram(experts, experts);
  for (int64_t i = 0; i < experts; ++i)
    for (int64_t j = 0; j <= i; ++j)
      gram.at(i, j) = gram.at(j, i) = dot(grams[i], grams[j]);
  return cosines(std::move(gram));
}

static FailureOr<Numbers> ofWeights(const MoELayer &layer,
                                    WeightSource &weights) {
  PoolOp pool = layer.pool;
  int64_t experts = pool.getNumEntries();
  Numbers gram(experts, experts);
  // One matrix name at a time keeps a third of the layer in memory.
  for (StringRef name : {"gate", "up", "down"}) {
    std::vector<std::vector<double>> all(experts);
    for (auto [e, entry] : llvm::enumerate(pool.getEntries())) {
      Attribute matrix = entry->getAttr(name);
      if (!matrix)
        continue;
      auto numbers = evaluate(entry, matrix, weights);
      if (failed(numbers))
        return failure();
      all[e] = std::move(numbers->values);
    }
    for (int64_t i = 0; i < experts; ++i) {
      for (int64_t j = 0; j <= i; ++j)
        if (all[i].size() == all[j].size())
          gram.at(i, j) += dot(all[i], all[j]);
      if (failed(checkFinite(layer, i, gram.at(i, i))))
        return failure();
    }
  }
  for (int64_t i = 0; i < experts; ++i)
    for (int64_t j = 0; j < i; ++j)
      gram.at(j, i) = gram.at(i, j);
  return cosines(std::move(gram));
}

std::optional<FailureOr<Numbers>>
moe::similarityOf(const MoELayer &layer, StringRef kind, const Profile *profile,
                  WeightSource &weights, int64_t rows) {
  if (kind == "weights")
    return ofWeights(layer, weights);
  if (kind != "router-logits" && kind != "outputs")
    return std::nullopt;
  if (!profile)
    return FailureOr<Numbers>(emitLayerError(layer)
                              << "similarity '" << kind
                              << "' needs a profile (--profile=FILE)");
  if (kind == "outputs")
    return ofOutputs(layer, *profile, weights, rows);
  auto gram = profile->get(layer.name, "logit_gram");
  auto columns = ProfileColumns::of(layer);
  PoolOp pool = layer.pool;
  if (failed(columns))
    return FailureOr<Numbers>(failure());
  if (!gram || gram->rows != columns->getCount() || gram->columns != gram->rows)
    return FailureOr<Numbers>(
        emitLayerError(layer)
        << "profile '" << profile->getPath() << "' has no inner products of "
        << columns->getCount()
        << " columns of its logits; make one with a binary that was compiled "
           "with --instrument");
  int64_t experts = pool.getNumEntries();
  Numbers own(experts, experts);
  for (int64_t i = 0; i < experts; ++i)
    for (int64_t j = 0; j < experts; ++j) {
      auto a = columns->oneOf(i), b = columns->oneOf(j);
      if (!a || !b)
        return FailureOr<Numbers>(
            emitLayerError(layer)
            << "the columns of its router have been merged or added, so "
               "profile '"
            << profile->getPath()
            << "' has no logits of them; similarity is outputs or weights");
      own.at(i, j) = gram->at(*a, *b);
    }
  return FailureOr<Numbers>(cosines(std::move(own)));
}

/// Each group's first member stays first.
static void sortGroups(Groups &groups) {
  llvm::sort(groups, [](const auto &a, const auto &b) {
    return *std::min_element(a.begin(), a.end()) <
           *std::min_element(b.begin(), b.end());
  });
}

Groups moe::groupByLeaders(ArrayRef<double> use, const Numbers &similarity,
                           int64_t count) {
  std::vector<int64_t> order(use.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](int64_t a, int64_t b) {
    return std::make_pair(-use[a], a) < std::make_pair(-use[b], b);
  });
  Groups groups;
  for (auto [i, expert] : llvm::enumerate(order)) {
    if (static_cast<int64_t>(i) < count) {
      groups.push_back({expert});
      continue;
    }
    size_t best = 0;
    for (size_t g = 1; g < groups.size(); ++g)
      if (similarity.at(expert, groups[g][0]) >
          similarity.at(expert, groups[best][0]))
        best = g;
    groups[best].push_back(expert);
  }
  sortGroups(groups);
  return groups;
}

Groups moe::groupByLinkage(const Numbers &similarity, int64_t count) {
  Groups groups;
  for (int64_t e = 0; e < similarity.rows; ++e)
    groups.push_back({e});
  while (static_cast<int64_t>(groups.size()) > count) {
    double best = -std::numeric_limits<double>::infinity();
    std::pair<size_t, size_t> pair;
    for (size_t a = 0; a < groups.size(); ++a)
      for (size_t b = a + 1; b < groups.size(); ++b) {
        double sum = 0;
        for (int64_t i : groups[a])
          for (int64_t j : groups[b])
            sum += similarity.at(i, j);
        sum /= static_cast<double>(groups[a].size() * groups[b].size());
        if (sum > best)
          best = sum, pair = {a, b};
      }
    llvm::append_range(groups[pair.first], groups[pair.second]);
    llvm::sort(groups[pair.first]);
    groups.erase(groups.begin() + pair.second);
  }
  sortGroups(groups);
  return groups;
}

std::vector<int64_t> moe::spendGroups(ArrayRef<std::vector<double>> use,
                                      int64_t average) {
  // The greatest shares of all layers, ties to the lower layer and expert.
  std::vector<std::tuple<double, size_t, size_t>> order;
  for (auto [l, layer] : llvm::enumerate(use)) {
    size_t most = std::max_element(layer.begin(), layer.end()) - layer.begin();
    for (auto [e, share] : llvm::enumerate(layer))
      order.push_back({e == most ? -1.0 : -share, l, e});
  }
  llvm::sort(order);
  order.resize(std::min(average * use.size(), order.size()));
  std::vector<int64_t> counts(use.size());
  for (auto [share, l, e] : order)
    ++counts[l];
  for (int64_t &count : counts)
    count = std::max<int64_t>(1, count);
  return counts;
}

/// What it is worth to put a hidden unit of `expert` (column) where the
/// reference has one (row).
static FailureOr<Numbers> alignmentGain(const MoELayer &layer,
                                        ExpertOp reference, ExpertOp expert,
                                        WeightSource &weights) {
  auto refuse = [&] {
    return emitLayerError(layer) << "expert '" << expert.getEntryName() << "' ";
  };
  Numbers gain;
  for (StringRef name : matrixNames(expert)) {
    if (!reference->getAttr(name))
      return refuse() << "has a matrix '" << name << "' that '"
                      << reference.getEntryName() << "' has not";
    auto left = evaluate(reference, reference->getAttr(name), weights);
    auto right = evaluate(expert, expert->getAttr(name), weights);
    if (failed(left) || failed(right))
      return failure();
    // Hidden units are rows of gate and up, columns of down.
    if (name == "down")
      *left = transposed(*left), *right = transposed(*right);
    if (left->rows != right->rows || left->columns != right->columns)
      return refuse() << "has another shape than '" << reference.getEntryName()
                      << "', so they cannot be aligned";
    for (const Numbers *numbers : {&*left, &*right})
      for (double number : numbers->values)
        if (!std::isfinite(number))
          return refuse() << "or '" << reference.getEntryName()
                          << "' has weights that are not finite";
    Numbers part = timesTransposed(*left, *right);
    if (gain.values.empty())
      gain = std::move(part);
    else
      for (size_t i = 0; i < gain.values.size(); ++i)
        gain.values[i] += part.values[i];
  }
  return gain;
}

FailureOr<std::vector<std::vector<int64_t>>>
moe::alignedOrders(const MoELayer &layer, ExpertOp reference,
                   ArrayRef<ExpertOp> experts, WeightSource &weights) {
  // No more at once than fit in a quarter of a gigabyte.
  constexpr size_t numbersAtOnce = 32 << 20;
  std::vector<std::vector<int64_t>> orders;
  while (orders.size() < experts.size()) {
    size_t first = orders.size(), numbers = 0;
    std::vector<Numbers> gains;
    while (first + gains.size() < experts.size() && numbers < numbersAtOnce) {
      auto gain = alignmentGain(layer, reference, experts[first + gains.size()],
                                weights);
      if (failed(gain))
        return failure();
      numbers += gain->values.size();
      gains.push_back(std::move(*gain));
    }
    orders.resize(first + gains.size());
    llvm::parallelFor(0, gains.size(),
                      [&](size_t i) { orders[first + i] = assign(gains[i]); });
  }
  return orders;
}
