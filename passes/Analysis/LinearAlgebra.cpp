// The only file that sees Eigen, which takes long to compile.
#include "passes/Analysis/LinearAlgebra.h"

#include "passes/Analysis/Loops.h"
#include "llvm/Support/Parallel.h"
#include <Eigen/Cholesky>
#include <Eigen/SVD>
#include <cmath>
#include <numeric>

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

std::optional<Compensation> moe::compensationOf(const Numbers &gram) {
  constexpr double damping = 0.01;
  int64_t n = gram.rows;
  double mean = 0;
  for (int64_t i = 0; i < n; ++i)
    mean += gram.at(i, i) / static_cast<double>(n);
  if (!std::isfinite(mean) || mean < 0)
    return std::nullopt;
  Compensation result;
  result.order.resize(n);
  std::iota(result.order.begin(), result.order.end(), 0);
  llvm::sort(result.order, [&](int64_t a, int64_t b) {
    return std::make_pair(-gram.at(a, a), a) <
           std::make_pair(-gram.at(b, b), b);
  });
  // Of the matrix in reverse, H = R R^T with R upper, so that the factor U with
  // H^-1 = U^T U is R^-1: one decomposition and no inverse of H.
  Matrix reversed(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      reversed(i, j) =
          gram.at(result.order[n - 1 - i], result.order[n - 1 - j]);
  // Where nothing was ever seen, all inputs are alike.
  reversed.diagonal().array() += mean > 0 ? damping * mean : 1;
  Eigen::LLT<Matrix> cholesky(reversed);
  if (cholesky.info() != Eigen::Success)
    return std::nullopt;
  Matrix inverse = Matrix::Identity(n, n);
  cholesky.matrixL().solveInPlace(inverse);
  if (!inverse.allFinite())
    return std::nullopt;
  result.factor = Numbers(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i; j < n; ++j)
      result.factor.at(i, j) = inverse(n - 1 - i, n - 1 - j);
  return result;
}

void moe::roundInOrder(
    const Numbers &numbers, const Compensation &compensation,
    llvm::function_ref<double(int64_t, int64_t, double)> round) {
  constexpr int64_t piece = 32, block = 64;
  int64_t n = numbers.columns;
  View factor(compensation.factor.values.data(), n, n);
  llvm::parallelFor(0, (numbers.rows + piece - 1) / piece, [&](size_t p) {
    int64_t first = static_cast<int64_t>(p) * piece;
    int64_t count = std::min(piece, numbers.rows - first);
    Matrix own(count, n), lost(count, block);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t r = 0; r < count; ++r)
        own(r, i) = numbers.at(first + r, compensation.order[i]);
    for (int64_t begin = 0; begin < n; begin += block) {
      int64_t end = std::min(begin + block, n), size = end - begin;
      for (int64_t r = 0; r < count; ++r)
        for (int64_t i = begin; i < end; ++i) {
          double rounded = round(first + r, compensation.order[i], own(r, i));
          double error = (own(r, i) - rounded) / factor(i, i);
          lost(r, i - begin) = error;
          for (int64_t j = i + 1; j < end; ++j)
            own(r, j) -= error * factor(i, j);
        }
      // All of the later blocks at once.
      own.rightCols(n - end).noalias() -=
          lost.leftCols(size) * factor.block(begin, end, size, n - end);
    }
  });
}
