#include "runtime/Core/ChooseToken.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace moe::rt {

int64_t chooseToken(const double *logits, int64_t n, double temperature,
                    uint64_t topK, double uniform) {
  for (int64_t i = 0; i < n; ++i)
    if (std::isnan(logits[i]))
      return -1 - i;
  const double *largest = std::max_element(logits, logits + n);
  if (temperature <= 0)
    return largest - logits;
  // What is above this is kept, and so many of its equals.
  double threshold = -INFINITY;
  int64_t equals = n;
  if (topK && topK < static_cast<uint64_t>(n)) {
    std::vector<double> sorted(logits, logits + n);
    auto last = sorted.begin() + static_cast<int64_t>(topK) - 1;
    std::nth_element(sorted.begin(), last, sorted.end(), std::greater<>());
    threshold = *last;
    equals = static_cast<int64_t>(topK) -
             std::count_if(logits, logits + n,
                           [&](double x) { return x > threshold; });
  }
  std::vector<double> sums(n); // of weights, up to each token
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    bool isKept =
        logits[i] > threshold || (logits[i] == threshold && equals-- > 0);
    // An infinite logit is certain; (inf - inf) would be NaN.
    if (isKept)
      sum += logits[i] == *largest
                 ? 1
                 : std::exp((logits[i] - *largest) / temperature);
    sums[i] = sum;
  }
  // Where the product rounds to the sum, the last token with a weight.
  double target = uniform * sum;
  auto found = std::find_if(sums.begin(), sums.end(),
                            [&](double s) { return s > target || s == sum; });
  return found - sums.begin();
}

Status checkChosen(int64_t token) {
  if (token >= 0)
    return {};
  return {Code::ModelFailed,
          text("the model's logit of token ", -1 - token, " is NaN")};
}

} // namespace moe::rt
