#include "tools/moe-bench/Tokens.h"

#include "runtime/Runner/Random.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace moe::bench;

namespace {
/// Hands out experts; no one twice before all had their turn, and none twice
/// for one token.
class Pack {
public:
  explicit Pack(int64_t experts) : order(experts), random(2) {
    std::iota(order.begin(), order.end(), 0);
    next = order.size();
  }

  std::vector<int64_t> deal(int64_t count) {
    std::vector<int64_t> hand;
    while (static_cast<int64_t>(hand.size()) < count) {
      if (next == order.size()) {
        for (size_t i = order.size() - 1; i > 0; --i)
          std::swap(order[i], order[random.below(i + 1)]);
        next = 0;
        // Those in the hand go to the end of the new pack.
        std::partition(order.begin(), order.end(), [&](int64_t e) {
          return std::find(hand.begin(), hand.end(), e) == hand.end();
        });
      }
      hand.push_back(order[next++]);
    }
    return hand;
  }

private:
  std::vector<int64_t> order;
  size_t next;
  moe::rt::Random random;
};
} // namespace

std::vector<TokenSet> moe::bench::dealTokens(const LayerWeights &weights,
                                             const LayerShape &shape,
                                             int64_t tokens, int64_t count) {
  std::vector<TokenSet> sets;
  moe::rt::Random random(3);
  Pack pack(shape.experts);
  // The router's rows have unit length: a chosen expert's logit is about 4,
  // another's a few over the root of `hidden`.
  float noise = std::sqrt(3.0f / static_cast<float>(shape.hidden));
  for (int64_t s = 0; s < count; ++s) {
    TokenSet set;
    set.tokens = tokens;
    set.x.resize(tokens * shape.hidden);
    std::vector<bool> used(shape.experts);
    for (int64_t t = 0; t < tokens; ++t) {
      float *x = set.x.data() + t * shape.hidden;
      for (int64_t i = 0; i < shape.hidden; ++i)
        x[i] = noise * static_cast<float>(2 * random.unit() - 1);
      // Many rows per expert differ in number, as they do in real batches.
      bool crowded = tokens * shape.topK > shape.experts;
      std::vector<int64_t> hand;
      while (crowded && static_cast<int64_t>(hand.size()) < shape.topK) {
        int64_t e = static_cast<int64_t>(random.below(shape.experts));
        if (std::find(hand.begin(), hand.end(), e) == hand.end())
          hand.push_back(e);
      }
      if (!crowded)
        hand = pack.deal(shape.topK);
      for (int64_t e : hand) {
        used[e] = true;
        const float *row = weights.routerRow(e);
        for (int64_t i = 0; i < shape.hidden; ++i)
          x[i] += 4 * row[i];
      }
    }
    set.distinctExperts = std::count(used.begin(), used.end(), true);
    sets.push_back(std::move(set));
  }
  return sets;
}

std::vector<double> moe::bench::reference(const LayerWeights &weights,
                                          const LayerShape &shape,
                                          const TokenSet &set, int64_t t) {
  const float *x = set.x.data() + t * shape.hidden;
  std::vector<std::pair<double, int64_t>> logits;
  for (int64_t e = 0; e < shape.experts; ++e) {
    double sum = 0;
    for (int64_t i = 0; i < shape.hidden; ++i)
      sum += double(weights.routerRow(e)[i]) * x[i];
    logits.emplace_back(-sum, e); // ties go to the lower expert
  }
  std::sort(logits.begin(), logits.end());
  double total = 0;
  for (int64_t j = 0; j < shape.topK; ++j)
    total += std::exp(logits[0].first - logits[j].first);
  std::vector<double> y(shape.hidden), h(shape.width);
  for (int64_t j = 0; j < shape.topK; ++j) {
    int64_t e = logits[j].second;
    double weight = std::exp(logits[0].first - logits[j].first) / total;
    for (int64_t n = 0; n < shape.width; ++n) {
      double gate = 0, up = 0;
      for (int64_t i = 0; i < shape.hidden; ++i) {
        gate += double(weights.at(e, 0, n * shape.hidden + i)) * x[i];
        up += double(weights.at(e, 1, n * shape.hidden + i)) * x[i];
      }
      h[n] = gate / (1 + std::exp(-gate)) * up;
    }
    for (int64_t i = 0; i < shape.hidden; ++i) {
      double sum = 0;
      for (int64_t n = 0; n < shape.width; ++n)
        sum += double(weights.at(e, 2, i * shape.width + n)) * h[n];
      y[i] += weight * sum;
    }
  }
  return y;
}
