// The only file that sees Eigen, which takes long to compile.
#include "passes/Analysis/LinearAlgebra.h"

#include "llvm/Support/Parallel.h"
#include <Eigen/Cholesky>
#include <Eigen/SVD>
#include <cmath>
#include <numeric>

using namespace moe;

using Matrix =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Matrix>;

Numbers moe::timesTransposed(const Numbers &a, const Numbers &b) {
  Numbers result(a.rows, b.rows);
  View right(b.values.data(), b.rows, b.columns);
  constexpr int64_t piece = 128;
  llvm::parallelFor(0, (a.rows + piece - 1) / piece, [&](size_t i) {
    int64_t first = static_cast<int64_t>(i) * piece;
    int64_t count = std::min(piece, a.rows - first);
    View left(a.values.data() + first * a.columns, count, a.columns);
    Eigen::Map<Matrix>(&result.values[first * b.rows], count, b.rows)
        .noalias() = left * right.transpose();
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
  constexpr double damping = 0.1;
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
