#include "passes/Compress/Assignment.h"
#include <limits>

std::vector<int64_t> moe::assign(const Numbers &gain) {
  int64_t n = gain.rows;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  // Row and column potentials; number 0 is nobody, so that row i is i + 1.
  std::vector<double> rowPrice(n + 1), columnPrice(n + 1);
  std::vector<int64_t> rowOf(n + 1), previous(n + 1);
  std::vector<double> distance(n + 1);
  std::vector<bool> done(n + 1);
  for (int64_t row = 1; row <= n; ++row) {
    rowOf[0] = row;
    int64_t column = 0;
    distance.assign(n + 1, infinity);
    done.assign(n + 1, false);
    do {
      done[column] = true;
      int64_t from = rowOf[column], next = 0;
      double least = infinity;
      for (int64_t c = 1; c <= n; ++c) {
        if (done[c])
          continue;
        double cost =
            -gain.at(from - 1, c - 1) - rowPrice[from] - columnPrice[c];
        if (cost < distance[c])
          distance[c] = cost, previous[c] = column;
        if (distance[c] < least)
          least = distance[c], next = c;
      }
      for (int64_t c = 0; c <= n; ++c)
        if (done[c])
          rowPrice[rowOf[c]] += least, columnPrice[c] -= least;
        else
          distance[c] -= least;
      column = next;
    } while (rowOf[column] != 0);
    for (; column != 0; column = previous[column])
      rowOf[column] = rowOf[previous[column]];
  }
  std::vector<int64_t> result(n);
  for (int64_t c = 1; c <= n; ++c)
    result[rowOf[c] - 1] = c - 1;
  return result;
}

/// Sorts `values`; the number of pairs that stood the wrong way round.
static int64_t sortCounting(llvm::MutableArrayRef<int64_t> values) {
  if (values.size() < 2)
    return 0;
  auto left = values.take_front(values.size() / 2);
  auto right = values.drop_front(left.size());
  int64_t count = sortCounting(left) + sortCounting(right);
  std::vector<int64_t> merged;
  for (size_t l = 0, r = 0; l < left.size() || r < right.size();) {
    bool first = r == right.size() || (l < left.size() && left[l] <= right[r]);
    if (!first) // before all that is left of the left
      count += static_cast<int64_t>(left.size() - l);
    merged.push_back(first ? left[l++] : right[r++]);
  }
  std::copy(merged.begin(), merged.end(), values.begin());
  return count;
}

double moe::kendallTau(llvm::ArrayRef<int64_t> order) {
  double n = static_cast<double>(order.size());
  if (n < 2)
    return 1;
  std::vector<int64_t> values = order.vec();
  double wrong = static_cast<double>(sortCounting(values));
  return 1 - 4 * wrong / (n * (n - 1));
}
