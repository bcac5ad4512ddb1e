// Clocks and quantiles.
#ifndef MOE_TOOLS_MOEBENCH_TIMING_H
#define MOE_TOOLS_MOEBENCH_TIMING_H

#include <algorithm>
#include <chrono>
#include <vector>

namespace moe::bench {

inline double seconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// The value below which a share `q` of the values lies; 0 without values.
inline double quantile(std::vector<double> values, double q) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) +
                                    0.5)];
}

inline double median(const std::vector<double> &values) {
  return quantile(values, 0.5);
}

} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_TIMING_H
