// Loops over weights, against plain ones: bits must not depend on how wide the
// processor's vectors are, nor on how work is cut.
#include "passes/Analysis/Numbers.h"
#include "CompressFixtures.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Quantization.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace moe;

namespace {
uint16_t bitsOf(double number, const llvm::fltSemantics &semantics) {
  APFloat value(number);
  bool lost;
  value.convert(semantics, APFloat::rmNearestTiesToEven, &lost);
  return static_cast<uint16_t>(value.bitcastToAPInt().getZExtValue());
}
} // namespace

TEST(Numbers, ReadsEveryHalf) {
  MLIRContext context;
  for (FloatType type : {FloatType(Float16Type::get(&context)),
                         FloatType(BFloat16Type::get(&context))}) {
    std::vector<uint16_t> codes(1 << 16);
    for (size_t i = 0; i < codes.size(); ++i)
      codes[i] = static_cast<uint16_t>(i);
    StringRef bytes(reinterpret_cast<const char *>(codes.data()),
                    codes.size() * 2);
    std::vector<double> found(codes.size()), apart(codes.size() / 2);
    readNumbers(bytes, type, 0, 1, codes.size(), found.data());
    readNumbers(bytes, type, 1, 2, apart.size(), apart.data());
    for (size_t i = 0; i < codes.size(); ++i) {
      APFloat value(type.getFloatSemantics(), APInt(16, i));
      bool lost;
      value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
      double own = i % 2 ? apart[i / 2] : found[i];
      if (value.isNaN()) {
        EXPECT_TRUE(std::isnan(found[i]) && std::isnan(own)) << i;
        continue;
      }
      EXPECT_EQ(llvm::bit_cast<uint64_t>(found[i]),
                value.bitcastToAPInt().getZExtValue())
          << i;
      EXPECT_EQ(own, found[i]) << i;
    }
  }
}

TEST(Numbers, FindsWhatATypeCannotHold) {
  MLIRContext context;
  Builder builder(&context);
  for (FloatType type :
       {FloatType(builder.getF16Type()), FloatType(builder.getBF16Type()),
        FloatType(builder.getF32Type()), FloatType(builder.getF64Type()),
        FloatType(Float8E4M3FNType::get(&context)),
        FloatType(Float8E8M0FNUType::get(&context))}) {
    double most = type.isBF16() || type.isF32() || type.isF64() ? 1e38
                  : type.isF16()                                ? 65504
                                                                : 256;
    std::vector<double> numbers(100003, 1);
    numbers[5] = most;
    if (type.getWidth() > 8)
      numbers[6] = -most;
    EXPECT_EQ(firstNotFinite(writeNumbers(numbers, type), type), std::nullopt);
    numbers[100001] = numbers[70000] = NAN;
    EXPECT_EQ(firstNotFinite(writeNumbers(numbers, type), type), 70000);
    numbers[1] = type.isF16() ? 65520 : INFINITY;
    EXPECT_EQ(firstNotFinite(writeNumbers(numbers, type), type), 1);
  }
}

TEST(Numbers, RoundsToHalvesOnce) {
  MLIRContext context;
  for (FloatType type : {FloatType(Float16Type::get(&context)),
                         FloatType(BFloat16Type::get(&context))}) {
    std::vector<double> numbers{0.0,    -0.0,      65504,   65519.99, 65520,
                                1e300,  -HUGE_VAL, 0x1p-14, 0x1p-24,  0x1p-25,
                                3.4e38, 0x1p-126,  0x1p-133};
    std::mt19937_64 random(5);
    std::uniform_real_distribution<double> exponent(-140, 130);
    for (int i = 0; i < 100000; ++i)
      numbers.push_back(std::exp2(exponent(random)) * (random() % 2 ? 1 : -1));
    // Ties, and what is next to them.
    for (int i = 0; i < 20000; ++i) {
      double tie = std::ldexp(2 * static_cast<double>(random() % 4096) + 1,
                              static_cast<int>(random() % 30) - 20);
      numbers.push_back(tie);
      numbers.push_back(std::nextafter(tie, 0));
      numbers.push_back(std::nextafter(tie, HUGE_VAL));
    }
    std::string bytes = writeNumbers(numbers, type);
    for (size_t i = 0; i < numbers.size(); ++i) {
      uint16_t found;
      memcpy(&found, &bytes[2 * i], 2);
      ASSERT_EQ(found, bitsOf(numbers[i], type.getFloatSemantics()))
          << numbers[i];
    }
  }
}

TEST(Numbers, FindsWhatIsNotFinite) {
  std::vector<double> numbers(37, 1e308);
  EXPECT_TRUE(areFinite(numbers));
  for (double bad : {HUGE_VAL, -HUGE_VAL, std::nan("")})
    for (size_t i = 0; i < numbers.size(); ++i) {
      auto own = numbers;
      own[i] = bad;
      EXPECT_FALSE(areFinite(own)) << i;
    }
}

TEST(LinearAlgebra, SumsProductsInTheOrderOfInputs) {
  for (auto [rows, columns, depth] :
       {std::array<int64_t, 3>{1, 1, 1}, {37, 53, 19}, {300, 130, 64}}) {
    Numbers a = drawn(rows, depth, 1), b = drawn(columns, depth, 2);
    Numbers product = timesTransposed(a, b);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < depth; ++k)
          sum += a.at(i, k) * b.at(j, k);
        ASSERT_EQ(product.at(i, j), sum) << i << " " << j;
      }
  }
}

TEST(Quantization, SearchesScalesAsAPlainLoopDoes) {
  // 0.98, 0.96, ... of the widest scale, each with its error summed one number
  // after the other; the first of the best is taken.
  for (QuantFormat format :
       {QuantFormat{4, 32, "int", false}, QuantFormat{4, 32, "int", true},
        QuantFormat{8, 32, "int", false}, QuantFormat{4, 32, "nf4", false}}) {
    Numbers numbers = drawn(9, 96, 11), moments = drawn(1, 96, 12);
    for (double &moment : moments.values)
      moment *= moment;
    QuantizedMatrix plain = quantize(numbers, format, {});
    QuantizedMatrix aware = quantize(numbers, format, moments.values);
    auto values = codeValues(format);
    for (int64_t r = 0; r < numbers.rows; ++r)
      for (int64_t b = 0; b < plain.blocks; ++b) {
        int64_t at = r * plain.blocks + b;
        double zero = plain.zeros.empty() ? 0 : plain.zeros[at];
        double least = HUGE_VAL, best = 0;
        for (int i = 0; i <= 20; ++i) {
          APFloat stored(plain.scales[at] * (1 - 0.02 * i));
          bool lost;
          stored.convert(APFloat::IEEEhalf(), APFloat::rmNearestTiesToEven,
                         &lost);
          double scale = stored.convertToFloat(), error = 0;
          for (int64_t k = 32 * b; k < 32 * b + 32; ++k) {
            double off = HUGE_VAL;
            for (int code = 0; code < 1 << format.bits; ++code) {
              double own = numbers.at(r, k) - (values[code] - zero) * scale;
              if (std::abs(own) < std::abs(off))
                off = own;
            }
            error += moments.values[k] * off * off;
          }
          if (error < least)
            least = error, best = scale;
        }
        EXPECT_EQ(aware.scales[at], best)
            << format.code << " " << r << " " << b;
      }
  }
}

TEST(Quantization, ReadsRowsInPieces) {
  // Two pieces at least, of rows that a buffer is filled with.
  Numbers numbers = drawn(70, 1024, 3);
  QuantFormat format{4, 32, "int", false};
  auto read = [&](int64_t first, int64_t last, double *buffer) {
    std::copy_n(&numbers.at(first, 0), (last - first) * numbers.columns,
                buffer);
    return static_cast<const double *>(buffer);
  };
  QuantizedMatrix whole = quantize(numbers, format, {});
  auto pieces = quantizeRows(70, 1024, read, format, {});
  ASSERT_TRUE(pieces);
  EXPECT_EQ(pieces->codes, whole.codes);
  EXPECT_EQ(pieces->scales, whole.scales);
  numbers.at(69, 1000) = std::nan("");
  EXPECT_FALSE(quantizeRows(70, 1024, read, format, {}));
}
