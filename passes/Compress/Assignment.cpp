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
