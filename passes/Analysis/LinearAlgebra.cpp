// The only file that sees Eigen, which takes long to compile.
#include "passes/Analysis/LinearAlgebra.h"

#include "llvm/Support/Parallel.h"
#include <Eigen/SVD>
#include <cmath>

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
