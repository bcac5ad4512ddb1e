// The only file that sees Eigen, which takes long to compile.
#include "passes/Analysis/LinearAlgebra.h"

#include "passes/Analysis/Loops.h"
#include <Eigen/SVD>
#include <cmath>

using namespace moe;

using Matrix =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Matrix>;

namespace {
/// Rows of `a` and columns of the result that one loop holds in registers.
constexpr int64_t kTall = 4, kWide = 8;
/// Columns of the result that share packed numbers of `b`.
constexpr int64_t kPacked = 64;
} // namespace

/// `to[i][j] += a[i][k] * b[k][j]` for k in [0, depth), in that order whatever
/// the width of vectors, so that all processors compute the same bits.
template <int64_t tall>
MOE_INLINE static inline void multiplyTile(const double *a, int64_t strideA,
                                           const double *b, int64_t depth,
                                           double *to) {
  double sum[tall][kWide] = {};
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t i = 0; i < tall; ++i)
      for (int64_t j = 0; j < kWide; ++j)
        sum[i][j] += a[i * strideA + k] * b[k * kWide + j];
  std::copy_n(&sum[0][0], tall * kWide, to);
}

Numbers moe::timesTransposed(const Numbers &a, const Numbers &b) {
  Numbers result(a.rows, b.rows);
  int64_t depth = a.columns;
  constexpr int64_t piece = 128;
  int64_t down = llvm::divideCeil(a.rows, piece);
  int64_t across = llvm::divideCeil(b.rows, kPacked);
  llvm::parallelFor(0, down * across, [&](size_t place) {
    int64_t firstRow = static_cast<int64_t>(place) / across * piece;
    int64_t firstColumn = static_cast<int64_t>(place) % across * kPacked;
    int64_t rows = std::min(piece, a.rows - firstRow);
    int64_t columns = std::min(kPacked, b.rows - firstColumn);
    // Groups of columns, number k of all beside each other; zeros past the end.
    int64_t groups = llvm::divideCeil(columns, kWide);
    std::vector<double> packed(groups * kWide * depth);
    for (int64_t n = 0; n < columns; ++n)
      for (int64_t k = 0; k < depth; ++k)
        packed[n / kWide * kWide * depth + k * kWide + n % kWide] =
            b.at(firstColumn + n, k);
    runWide([&, from = packed.data()]() MOE_INLINE {
      double tile[kTall * kWide];
      for (int64_t g = 0; g < groups; ++g)
        for (int64_t r = 0; r < rows;) {
          const double *left = &a.values[(firstRow + r) * depth];
          const double *right = from + g * kWide * depth;
          int64_t height = rows - r < kTall ? 1 : kTall;
          if (height == kTall)
            multiplyTile<kTall>(left, depth, right, depth, tile);
          else
            multiplyTile<1>(left, depth, right, depth, tile);
          int64_t width = std::min(kWide, columns - g * kWide);
          for (int64_t i = 0; i < height; ++i)
            std::copy_n(tile + i * kWide, width,
                        &result.at(firstRow + r + i, firstColumn + g * kWide));
          r += height;
        }
    });
  });
  return result;
}

bool moe::factorize(const Numbers &numbers, int64_t rank,
                    llvm::ArrayRef<double> moments, Numbers &left,
                    Numbers &right) {
  Matrix scaled = View(numbers.values.data(), numbers.rows, numbers.columns);
  // An input that was never seen still keeps its column: a weight of zero
  // could not be undone.
  Eigen::VectorXd weights = Eigen::VectorXd::Ones(numbers.columns);
  if (!moments.empty()) {
    double most = 0;
    for (double moment : moments)
      most = std::max(most, moment);
    double least = most > 0 ? most * 1e-6 : 1;
    for (int64_t c = 0; c < numbers.columns; ++c)
      weights[c] = std::sqrt(std::max(moments[c], least));
  }
  scaled = scaled * weights.asDiagonal();
  Eigen::BDCSVD<Eigen::MatrixXd> svd(scaled,
                                     Eigen::ComputeThinU | Eigen::ComputeThinV);
  if (svd.info() != Eigen::Success)
    return false;
  left = Numbers(numbers.rows, rank);
  right = Numbers(rank, numbers.columns);
  for (int64_t i = 0; i < rank; ++i) {
    double root = std::sqrt(svd.singularValues()[i]);
    for (int64_t r = 0; r < numbers.rows; ++r)
      left.at(r, i) = svd.matrixU()(r, i) * root;
    for (int64_t c = 0; c < numbers.columns; ++c)
      right.at(i, c) = svd.matrixV()(c, i) * root / weights[c];
  }
  return true;
}
