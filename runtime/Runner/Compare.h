// Comparing outputs with expected ones.
#ifndef MOE_RUNTIME_RUNNER_COMPARE_H
#define MOE_RUNTIME_RUNNER_COMPARE_H

#include "runtime/Core/Status.h"

#include <cstdint>
#include <string>

namespace moe::rt {

/// The verdict on one tensor. An element fails when
/// |got - want| > atol + rtol * |want|, or when just one is NaN.
struct Comparison {
  int64_t elements = 0;
  int64_t failed = 0;
  int64_t worst = -1; // index of the largest difference
  double difference = 0, got = 0, want = 0;
  std::string shapeMismatch; // not empty: shapes differ, nothing compared
};

Comparison compare(const moe_tensor &got, const moe_tensor &want, double rtol,
                   double atol);

/// "[1, 0, 7]" of a flat index.
std::string indexText(int64_t flat, const moe_tensor &tensor);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_COMPARE_H
