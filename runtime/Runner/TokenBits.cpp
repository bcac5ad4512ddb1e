#include "runtime/Runner/TokenBits.h"

#include <algorithm>
#include <cmath>

namespace moe::rt {

double bitsOfToken(const double *logits, int64_t n, int64_t token) {
  double largest = *std::max_element(logits, logits + n), total = 0;
  for (int64_t i = 0; i < n; ++i)
    total += std::exp(logits[i] - largest);
  return (std::log(total) - (logits[token] - largest)) / M_LN2;
}

} // namespace moe::rt
