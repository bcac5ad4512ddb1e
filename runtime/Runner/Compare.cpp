#include "runtime/Runner/Compare.h"

#include "runtime/Core/Tensor.h"

#include <algorithm>
#include <cmath>

namespace moe::rt {

Comparison compare(const moe_tensor &got, const moe_tensor &want, double rtol,
                   double atol) {
  Comparison result;
  if (got.rank != want.rank ||
      !std::equal(got.shape, got.shape + got.rank, want.shape)) {
    result.shapeMismatch = "is " + shapeText(got.shape, got.rank) +
                           ", expected " + shapeText(want.shape, want.rank);
    return result;
  }
  result.elements = *elementCount(got.shape, got.rank);
  double worst = -1;
  for (int64_t i = 0; i < result.elements; ++i) {
    double a = elementAsDouble(got.data, got.dtype, i);
    double b = elementAsDouble(want.data, want.dtype, i);
    double difference = 0;
    if (std::isnan(a) != std::isnan(b))
      difference = INFINITY;
    else if (a != b && !std::isnan(a))
      difference = std::fabs(a - b);
    // An infinite bound must not excuse a finite value where inf belongs.
    bool within = difference == 0 || (std::isfinite(difference) &&
                                      difference <= atol + rtol * std::fabs(b));
    result.failed += !within;
    // Failing elements outrank passing ones, then the difference decides.
    double rank = within ? difference / (1 + difference) : 1 + difference;
    if (rank > worst) {
      worst = rank;
      result.worst = i;
      result.difference = difference;
      result.got = a;
      result.want = b;
    }
  }
  return result;
}

std::string indexText(int64_t flat, const moe_tensor &tensor) {
  int64_t index[MOE_MAX_RANK];
  for (int32_t i = tensor.rank; i-- > 0;) {
    index[i] = flat % tensor.shape[i];
    flat /= tensor.shape[i];
  }
  return shapeText(index, tensor.rank);
}

} // namespace moe::rt
