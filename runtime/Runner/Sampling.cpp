#include "runtime/Runner/Sampling.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace moe::rt {

Result<int64_t> sampleToken(const double *logits, int64_t n, double temperature,
                            int64_t topK, Random &random) {
  for (int64_t i = 0; i < n; ++i)
    if (std::isnan(logits[i]))
      return {Code::ModelFailed,
              text("the model's logit of token ", i, " is NaN")};
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t(0));
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  if (temperature <= 0 || n == 1)
    return order[0];
  int64_t kept = topK > 0 ? std::min(topK, n) : n;
  double largest = logits[order[0]], total = 0;
  std::vector<double> weights(kept);
  for (int64_t i = 0; i < kept; ++i) {
    // An infinite logit is certain; (inf - inf) would be NaN.
    double distance =
        logits[order[i]] == largest ? 0 : logits[order[i]] - largest;
    weights[i] = std::exp(distance / temperature);
    total += weights[i];
  }
  double left = random.unit() * total;
  for (int64_t i = 0; i < kept; ++i) {
    if (left < weights[i])
      return order[i];
    left -= weights[i];
  }
  return order[0];
}

double bitsOfToken(const double *logits, int64_t n, int64_t token) {
  double largest = *std::max_element(logits, logits + n), total = 0;
  for (int64_t i = 0; i < n; ++i)
    total += std::exp(logits[i] - largest);
  return (std::log(total) - (logits[token] - largest)) / M_LN2;
}

} // namespace moe::rt
