// Factors and codes of matrices.
#include "passes/Analysis/Quantization.h"
#include "CompressFixtures.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "llvm/ADT/APFloat.h"
#include <cmath>

using namespace mlir;
using namespace moe;

TEST(LinearAlgebra, FullRankReproducesTheMatrix) {
  for (auto [rows, columns] : {std::pair{7, 5}, {5, 7}, {6, 6}}) {
    Numbers w = drawn(rows, columns, rows), left, right;
    for (bool weighted : {false, true}) {
      std::vector<double> moments;
      if (weighted)
        for (int64_t c = 0; c < columns; ++c)
          moments.push_back(0.01 + static_cast<double>(c * c));
      ASSERT_TRUE(factorize(w, std::min(rows, columns), moments, left, right));
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) {
          double sum = 0;
          for (int64_t i = 0; i < left.columns; ++i)
            sum += left.at(r, i) * right.at(i, c);
          EXPECT_NEAR(sum, w.at(r, c), 1e-12);
        }
    }
  }
}

TEST(LinearAlgebra, WeightedFactorsFavourInputsThatMatter) {
  // Two directions; rank 1 keeps the longer one, unless the other's input is
  // worth more.
  Numbers w = matrix(2, 2, {2, 0, 0, 1}), left, right;
  ASSERT_TRUE(factorize(w, 1, {}, left, right));
  EXPECT_NEAR(left.at(0, 0) * right.at(0, 0), 2, 1e-12);
  EXPECT_NEAR(left.at(1, 0) * right.at(0, 1), 0, 1e-12);
  ASSERT_TRUE(factorize(w, 1, {1, 100}, left, right));
  EXPECT_NEAR(left.at(0, 0) * right.at(0, 0), 0, 1e-12);
  EXPECT_NEAR(left.at(1, 0) * right.at(0, 1), 1, 1e-12);
}

TEST(LinearAlgebra, RefusesWhatIsNotFinite) {
  Numbers w = drawn(4, 4, 5), left, right;
  w.at(2, 1) = std::nan("");
  EXPECT_FALSE(factorize(w, 2, {}, left, right));
}

TEST(Quantization, RoundTripsRepresentableNumbers) {
  // One row of each format that its codes hold exactly; the greatest sets a
  // scale that f16 (or a power of two) holds.
  struct Case {
    QuantFormat format;
    std::vector<double> row;
  };
  for (auto &[format, row] : std::vector<Case>{
           {{8, 4, "int", false}, {127, -3, 64, 0}},
           {{8, 2, "int", false}, {63.5, -12.5, -254, 2}},
           {{4, 4, "int", false}, {7, -1, 0, -7}},
           {{4, 4, "int", true}, {0, 15, 3, 9}},
           {{4, 4, "int", true}, {-4, 11, 0, 1}},
           {{8, 2, "int", true}, {0, 255, -127.5, 0}},
           {{4, 4, "fp4", false}, {6, -1.5, 0.5, -4}},
           {{4, 4, "fp4", false}, {48, -12, 4, 0}},
           {{4, 3, "nf4", false}, {-1, 0, 1}},
           {{8, 4, "fp8", false}, {448, -0.875, 26, 0}},
       }) {
    Numbers w = matrix(1, static_cast<int64_t>(row.size()), row);
    Numbers back = dequantize(quantize(w, format, {}), format);
    EXPECT_EQ(back.values, row) << format.code << format.bits;
  }
}

TEST(Quantization, StaysWithinHalfAStep) {
  Numbers w = drawn(16, 128, 6);
  for (bool asymmetric : {false, true})
    for (int64_t bits : {4, 8})
      for (int64_t block : {0, 32, 64, 128}) {
        QuantFormat format{bits, block, "int", asymmetric};
        QuantizedMatrix coded = quantize(w, format, {});
        ASSERT_EQ(coded.blocks, block ? 128 / block : 1);
        Numbers back = dequantize(coded, format);
        int64_t steps = (1 << bits) - 1;
        for (int64_t r = 0; r < w.rows; ++r)
          for (int64_t c = 0; c < w.columns; ++c) {
            double scale =
                coded.scales[r * coded.blocks + c / (block ? block : 128)];
            // A scale rounded down to f16 cuts the ends by 2^-11 of the range;
            // a zero point that was rounded shifts them by half a step.
            double cut = scale * static_cast<double>(steps) * 0x1p-11 +
                         (asymmetric ? scale / 2 : 0);
            EXPECT_LE(std::abs(back.at(r, c) - w.at(r, c)), scale / 2 + cut);
          }
      }
}

TEST(Quantization, FloatsTakeTheNearestCode) {
  Numbers w = drawn(8, 64, 7);
  for (const char *code : {"fp4", "nf4", "fp8"}) {
    QuantFormat format{code == std::string("fp8") ? 8 : 4, 32, code, false};
    QuantizedMatrix coded = quantize(w, format, {});
    auto values = codeValues(format);
    for (int64_t r = 0; r < w.rows; ++r)
      for (int64_t c = 0; c < w.columns; ++c) {
        double scale = coded.scales[r * 2 + c / 32], least = INFINITY;
        for (int i = 0; i < 1 << format.bits; ++i)
          if (std::isfinite(values[i]))
            least = std::min(least, std::abs(values[i] * scale - w.at(r, c)));
        double own = values[coded.codes[r * 64 + c]] * scale;
        EXPECT_NEAR(std::abs(own - w.at(r, c)), least, 1e-12) << code;
      }
  }
}

TEST(Quantization, ZeroBlocksAndNegativeExtremes) {
  for (auto &format : std::vector<QuantFormat>{{8, 4, "int", false},
                                               {4, 4, "int", false},
                                               {4, 4, "int", true},
                                               {4, 4, "fp4", false},
                                               {4, 4, "nf4", false},
                                               {8, 4, "fp8", false}}) {
    Numbers w = matrix(1, 8, {0, 0, 0, 0, -8, -8, -8, -8});
    QuantizedMatrix coded = quantize(w, format, {});
    EXPECT_EQ(coded.scales[0], 0);
    Numbers back = dequantize(coded, format);
    for (int64_t c = 0; c < 8; ++c) {
      // The scale is stored with 11 bits.
      double slack = c < 4 ? 0 : 8 * 0x1p-10;
      EXPECT_NEAR(back.values[c], w.values[c], slack) << format.code << c;
    }
  }
}

TEST(Quantization, ScalesAreF16OrPowersOfTwo) {
  Numbers w = drawn(4, 64, 8);
  for (double &number : w.values)
    number *= 0.01;
  QuantFormat int8{8, 32, "int", false}, fp4{4, 32, "fp4", false};
  for (float scale : quantize(w, int8, {}).scales) {
    llvm::APFloat half(scale);
    bool lost = false;
    half.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven,
                 &lost);
    EXPECT_FALSE(lost);
  }
  for (float scale : quantize(w, fp4, {}).scales)
    EXPECT_EQ(std::ldexp(1.0, std::ilogb(scale)), scale);
  // Numbers too small for f16's least scale, and too large for its greatest.
  Numbers ends = matrix(2, 2, {1e-9, -1e-9, 1e9, -1e9});
  QuantFormat pair{8, 2, "int", false};
  auto scales = quantize(ends, pair, {}).scales;
  EXPECT_EQ(scales[0], 0x1p-24f);
  EXPECT_EQ(scales[1], 65504.0f);
}

TEST(Quantization, MomentsLowerTheWeightedError) {
  Numbers w = drawn(8, 64, 9);
  std::vector<double> moments;
  for (int64_t c = 0; c < 64; ++c)
    moments.push_back(c % 7 == 0 ? 20 : 0.1);
  for (const char *code : {"int", "fp4", "nf4"}) {
    QuantFormat format{4, 32, code, false};
    auto error = [&](const Numbers &back) {
      double sum = 0;
      for (int64_t r = 0; r < w.rows; ++r)
        for (int64_t c = 0; c < 64; ++c)
          sum += moments[c] * std::pow(back.at(r, c) - w.at(r, c), 2);
      return sum;
    };
    double round = error(dequantize(quantize(w, format, {}), format));
    double aware = error(dequantize(quantize(w, format, moments), format));
    EXPECT_LT(aware, round) << code;
  }
}

TEST(Quantization, PacksLowBitsFirst) {
  QuantizedMatrix coded;
  coded.rows = 2, coded.columns = 3;
  coded.codes = {1, 2, 3, 15, 0, 9};
  EXPECT_EQ(coded.packed(4), std::string("\x21\x03\x0f\x09", 4));
  EXPECT_EQ(coded.packed(8), std::string("\1\2\3\17\0\11", 6));
}

namespace {
/// Sums of products of the columns of correlated rows.
Numbers gramOf(int64_t n, unsigned seed, int64_t rows = 200) {
  Numbers x = drawn(rows, n, seed), gram(n, n);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 1; c < n; ++c)
      x.at(r, c) = (x.at(r, c) + 2 * x.at(r, c - 1)) * (c % 5 == 0 ? 3 : 1);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t r = 0; r < rows; ++r)
        gram.at(i, j) += x.at(r, i) * x.at(r, j);
  return gram;
}

/// `sum_r (w_r - w'_r) gram (w_r - w'_r)`: the error of products with inputs.
double errorOf(const Numbers &w, const Numbers &back, const Numbers &gram) {
  double error = 0;
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t i = 0; i < w.columns; ++i)
      for (int64_t j = 0; j < w.columns; ++j)
        error += (w.at(r, i) - back.at(r, i)) * gram.at(i, j) *
                 (w.at(r, j) - back.at(r, j));
  return error;
}

/// The inverse, by elimination.
Numbers inverted(Numbers a) {
  int64_t n = a.rows;
  Numbers inverse(n, n);
  for (int64_t i = 0; i < n; ++i)
    inverse.at(i, i) = 1;
  for (int64_t p = 0; p < n; ++p) {
    double pivot = a.at(p, p);
    for (int64_t c = 0; c < n; ++c)
      a.at(p, c) /= pivot, inverse.at(p, c) /= pivot;
    for (int64_t r = 0; r < n; ++r) {
      double factor = r == p ? 0 : a.at(r, p);
      for (int64_t c = 0; c < n; ++c) {
        a.at(r, c) -= factor * a.at(p, c);
        inverse.at(r, c) -= factor * inverse.at(p, c);
      }
    }
  }
  return inverse;
}
} // namespace

TEST(Compensation, AgreesWithOptimalBrainSurgery) {
  // GPTQ (arXiv 2210.17323, section 3) computes with a Cholesky factor what its
  // ancestor does number by number: all of the rest move by the inverse's
  // column, and the inverse loses the row and column of what is rounded. 70
  // columns are more than a block, 40 rows more than a thread's share.
  int64_t n = 70, rows = 40;
  Numbers gram = gramOf(n, 21), w = drawn(rows, n, 22);
  auto round = [](double number) { return std::nearbyint(2 * number) / 2; };
  auto compensation = compensationOf(gram);
  ASSERT_TRUE(compensation);
  Numbers rounded(rows, n);
  roundInOrder(w, *compensation, [&](int64_t r, int64_t c, double number) {
    return rounded.at(r, c) = round(number);
  });
  Numbers damped = gram;
  double mean = 0;
  for (int64_t i = 0; i < n; ++i)
    mean += gram.at(i, i) / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i)
    damped.at(i, i) += 0.01 * mean;
  std::vector<bool> isDone(n);
  Numbers inverse = inverted(damped), rest = w, expected(rows, n);
  for (int64_t step = 0; step < n; ++step) {
    int64_t q = -1; // the greatest moment that is left
    for (int64_t i = 0; i < n; ++i)
      if (!isDone[i] && (q < 0 || gram.at(i, i) > gram.at(q, q)))
        q = i;
    isDone[q] = true;
    EXPECT_EQ(compensation->order[step], q);
    for (int64_t r = 0; r < rows; ++r) {
      expected.at(r, q) = round(rest.at(r, q));
      double error = (rest.at(r, q) - expected.at(r, q)) / inverse.at(q, q);
      for (int64_t c = 0; c < n; ++c)
        if (!isDone[c])
          rest.at(r, c) -= error * inverse.at(q, c);
    }
    Numbers before = inverse;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        inverse.at(i, j) -= before.at(i, q) * before.at(q, j) / before.at(q, q);
  }
  EXPECT_EQ(rounded.values, expected.values);
}

TEST(Compensation, LowersTheErrorOfProductsInEveryFormat) {
  Numbers gram = gramOf(64, 23), w = drawn(24, 64, 24);
  std::vector<double> moments;
  for (int64_t i = 0; i < 64; ++i)
    moments.push_back(gram.at(i, i));
  auto compensation = compensationOf(gram);
  ASSERT_TRUE(compensation);
  for (const QuantFormat &format :
       std::vector<QuantFormat>{{8, 32, "int", false},
                                {4, 32, "int", false},
                                {4, 0, "int", true},
                                {4, 32, "fp4", false},
                                {4, 64, "nf4", false},
                                {8, 32, "fp8", false}}) {
    QuantizedMatrix aware = quantize(w, format, moments);
    QuantizedMatrix made = quantize(w, format, moments, &*compensation);
    // Only codes differ, so that whoever reads the format reads this.
    EXPECT_EQ(made.scales, aware.scales);
    EXPECT_EQ(made.zeros, aware.zeros);
    EXPECT_NE(made.codes, aware.codes);
    double plain = errorOf(w, dequantize(aware, format), gram);
    double less = errorOf(w, dequantize(made, format), gram);
    EXPECT_LT(less, 0.8 * plain) << format.code << format.bits;
  }
}

TEST(Compensation, ChangesNothingWhereInputsAreUnrelated) {
  Numbers gram(32, 32), w = drawn(4, 32, 25);
  for (int64_t i = 0; i < 32; ++i)
    gram.at(i, i) = static_cast<double>(i); // the first was never seen
  auto compensation = compensationOf(gram);
  ASSERT_TRUE(compensation);
  QuantFormat format{4, 32, "int", false};
  EXPECT_EQ(quantize(w, format, {}, &*compensation).codes,
            quantize(w, format, {}).codes);
  EXPECT_TRUE(compensationOf(Numbers(8, 8))); // nothing was seen at all
}

TEST(Compensation, RefusesWhatAreNoSumsOfProducts) {
  Numbers negative = matrix(2, 2, {1, 5, 5, 1});
  EXPECT_FALSE(compensationOf(negative));
  Numbers broken = gramOf(4, 26);
  broken.at(2, 2) = std::nan("");
  EXPECT_FALSE(compensationOf(broken));
}

TEST(LinearAlgebra, SingularValuesGiveTheStableRank) {
  // arXiv 2310.01334, section 3.3: sum s^2 / max s^2, of diag(3, 2, 1) 14 / 9.
  Numbers w = matrix(3, 3, {0, 0, 3, 2, 0, 0, 0, 1, 0}), left, right;
  ASSERT_TRUE(factorize(w, 3, {}, left, right));
  double sum = 0, most = 0;
  for (int64_t i = 0; i < 3; ++i) {
    double square = 0; // of a column of A sqrt(S): the singular value
    for (int64_t r = 0; r < 3; ++r)
      square += left.at(r, i) * left.at(r, i);
    sum += square * square, most = std::max(most, square * square);
  }
  EXPECT_NEAR(sum / most, 1.555556, 1e-6);
}

TEST(Quantization, FourBitsWithScalesTakeSomeMoreThanAQuarterOfF16) {
  // arXiv 2411.01433, section 3.2: a load of low precision moves 4.5 bits of 16
  // a weight.
  QuantFormat format{4, 32, "int", false};
  QuantizedMatrix coded = quantize(drawn(16, 64, 10), format, {});
  double bytes =
      static_cast<double>(coded.packed(4).size() + 2 * coded.scales.size());
  EXPECT_EQ(bytes / (16 * 64 * 2), 0.28125);
}
