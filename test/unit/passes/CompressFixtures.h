#ifndef MOE_TEST_UNIT_PASSES_COMPRESSFIXTURES_H
#define MOE_TEST_UNIT_PASSES_COMPRESSFIXTURES_H

#include "passes/Analysis/Numbers.h"
#include <gtest/gtest.h>
#include <random>

namespace moe {
inline Numbers matrix(int64_t rows, int64_t columns,
                      std::vector<double> values) {
  Numbers numbers(rows, columns);
  EXPECT_EQ(values.size(), numbers.values.size());
  numbers.values = std::move(values);
  return numbers;
}

/// Numbers of a normal distribution.
inline Numbers drawn(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Numbers numbers(rows, columns);
  for (double &number : numbers.values)
    number = normal(random);
  return numbers;
}
} // namespace moe

#endif // MOE_TEST_UNIT_PASSES_COMPRESSFIXTURES_H
