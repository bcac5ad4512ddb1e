#include "passes/Analysis/Quantization.h"

#include "dialects/MoE/MoEOps.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Parallel.h"
#include <cmath>

using namespace llvm;
using namespace moe;

std::array<double, 256> moe::codeValues(const QuantFormat &format) {
  std::array<double, 256> values{};
  for (unsigned code = 0; code < (1u << format.bits); ++code) {
    if (format.code == "nf4" || format.code == "fp4") {
      values[code] = QuantAttr::decode(format.code, code);
    } else if (format.code == "fp8") {
      APFloat value(APFloat::Float8E4M3FN(), APInt(8, code));
      bool lost;
      value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
      values[code] = value.convertToDouble();
    } else {
      values[code] = static_cast<double>(code) -
                     (format.asymmetric ? 0 : 1 << (format.bits - 1));
    }
  }
  return values;
}

/// To the nearest, half to even: adding 1.5 * 2^52 leaves no bit for a
/// fraction. A call of the C library would take most of the time of quantising.
static double roundToEven(double x) {
  constexpr double magic = 6755399441055744.0;
  return std::abs(x) < 1e15 ? (x + magic) - magic : x;
}

namespace {
/// Finds codes; one per call of `quantize`, read by all threads.
class Coder {
public:
  explicit Coder(const QuantFormat &format)
      : format(format), values(codeValues(format)),
        integer(format.code == "int"), half(1 << (format.bits - 1)) {
    if (integer)
      return;
    // All codes in rising order, for a search among neighbours.
    for (unsigned code = 0; code < (1u << format.bits); ++code)
      if (std::isfinite(values[code]) &&
          !(values[code] == 0 && code != 0 && std::signbit(values[code])))
        order.push_back(code);
    llvm::sort(order, [&](unsigned a, unsigned b) {
      return std::make_pair(values[a], a) < std::make_pair(values[b], b);
    });
    for (size_t i = 0; i + 1 < order.size(); ++i)
      borders.push_back((values[order[i]] + values[order[i + 1]]) / 2);
  }

  /// The scale that just holds the block, exact in its stored type.
  float scaleOf(ArrayRef<double> block, uint8_t &zero) const;
  /// The same, smaller (`ratio` <= 1), or a neighbouring power of two.
  float stored(double scale) const;
  uint8_t code(double number, double inverse, uint8_t zero) const;
  double value(uint8_t code, double scale, uint8_t zero) const {
    return (values[code] - zero) * scale;
  }
  bool isPowerOfTwo() const { return format.code == "fp4"; }

private:
  const QuantFormat &format;
  std::array<double, 256> values;
  bool integer;
  int64_t half;
  SmallVector<unsigned, 256> order;
  SmallVector<double, 256> borders;
};
} // namespace

float Coder::stored(double scale) const {
  if (scale == 0)
    return 0;
  if (isPowerOfTwo())
    return static_cast<float>(std::ldexp(
        1.0, std::clamp(static_cast<int>(std::ilogb(scale)), -127, 127)));
  // f16; what is too small for it takes the smallest there is.
  APFloat value(scale);
  bool lost;
  value.convert(APFloat::IEEEhalf(), APFloat::rmNearestTiesToEven, &lost);
  if (value.isZero())
    value = APFloat::getSmallest(APFloat::IEEEhalf());
  if (value.isInfinity())
    value = APFloat::getLargest(APFloat::IEEEhalf());
  return value.convertToFloat();
}

float Coder::scaleOf(ArrayRef<double> block, uint8_t &zero) const {
  double low = 0, high = 0;
  for (double number : block)
    low = std::min(low, number), high = std::max(high, number);
  double most = std::max(-low, high);
  zero = 0;
  if (most == 0)
    return 0;
  if (isPowerOfTwo())
    return stored(std::ldexp(1.0, std::ilogb(most) - 2));
  if (format.code == "nf4")
    return stored(most);
  if (format.code == "fp8")
    return stored(most / 448);
  if (!format.asymmetric)
    return stored(most / static_cast<double>(half - 1));
  float scale = stored((high - low) / static_cast<double>(2 * half - 1));
  zero = static_cast<uint8_t>(std::clamp<double>(
      roundToEven(-low / scale), 0, static_cast<double>(2 * half - 1)));
  return scale;
}

uint8_t Coder::code(double number, double inverse, uint8_t zero) const {
  double scaled = number * inverse;
  if (integer) {
    double low = format.asymmetric ? 0 : static_cast<double>(-half);
    double q = roundToEven(scaled) + zero;
    q = std::clamp(q, low, low + static_cast<double>(2 * half - 1));
    return static_cast<uint8_t>(q - low);
  }
  // The even neighbour on a tie; borders lie between neighbours.
  size_t i = llvm::lower_bound(borders, scaled) - borders.begin();
  if (i < borders.size() && borders[i] == scaled && (order[i] & 1))
    ++i;
  return static_cast<uint8_t>(order[i]);
}

QuantizedMatrix moe::quantize(const Numbers &numbers, const QuantFormat &format,
                              ArrayRef<double> moments,
                              const Compensation *compensation) {
  QuantizedMatrix result;
  result.rows = numbers.rows, result.columns = numbers.columns;
  int64_t block = format.block ? format.block : numbers.columns;
  result.blocks = divideCeil(numbers.columns, std::max<int64_t>(block, 1));
  result.codes.resize(numbers.values.size());
  result.scales.resize(result.rows * result.blocks);
  if (format.asymmetric)
    result.zeros.resize(result.scales.size());
  Coder coder(format);
  parallelFor(0, result.rows, [&](size_t row) {
    for (int64_t b = 0; b < result.blocks; ++b) {
      int64_t first = b * block;
      int64_t count = std::min(block, numbers.columns - first);
      ArrayRef<double> own(
          numbers.values.data() + row * numbers.columns + first, count);
      uint8_t *codes = result.codes.data() + row * numbers.columns + first;
      uint8_t zero;
      float best = coder.scaleOf(own, zero);
      if (!moments.empty() && best != 0) {
        double least = std::numeric_limits<double>::infinity();
        float widest = best;
        auto attempt = [&](float scale) {
          double inverse = 1.0 / scale, error = 0;
          for (int64_t k = 0; k < count && error < least; ++k) {
            double off = own[k] - coder.value(coder.code(own[k], inverse, zero),
                                              scale, zero);
            error += moments[first + k] * off * off;
          }
          if (error < least)
            least = error, best = scale;
        };
        if (coder.isPowerOfTwo()) {
          for (double factor : {1.0, 2.0, 0.5})
            attempt(coder.stored(widest * factor));
        } else {
          for (int i = 0; i <= 20; ++i)
            attempt(coder.stored(widest * (1 - 0.02 * i)));
        }
      }
      double inverse = best == 0 ? 0 : 1.0 / best;
      for (int64_t k = 0; k < count; ++k)
        codes[k] = coder.code(own[k], inverse, zero);
      result.scales[row * result.blocks + b] = best;
      if (format.asymmetric)
        result.zeros[row * result.blocks + b] = zero;
    }
  });
  if (!compensation)
    return result;
  roundInOrder(
      numbers, *compensation, [&](int64_t row, int64_t column, double number) {
        int64_t at = row * result.blocks + column / block;
        double scale = result.scales[at];
        uint8_t zero = format.asymmetric ? result.zeros[at] : 0;
        uint8_t code = coder.code(number, scale == 0 ? 0 : 1.0 / scale, zero);
        result.codes[row * numbers.columns + column] = code;
        return coder.value(code, scale, zero);
      });
  return result;
}

Numbers moe::dequantize(const QuantizedMatrix &matrix,
                        const QuantFormat &format) {
  std::array<double, 256> values = codeValues(format);
  Numbers numbers(matrix.rows, matrix.columns);
  int64_t block = format.block ? format.block : matrix.columns;
  for (int64_t row = 0; row < matrix.rows; ++row)
    for (int64_t k = 0; k < matrix.columns; ++k) {
      int64_t at = row * matrix.blocks + k / block;
      numbers.at(row, k) = (values[matrix.codes[row * matrix.columns + k]] -
                            (matrix.zeros.empty() ? 0 : matrix.zeros[at])) *
                           matrix.scales[at];
    }
  return numbers;
}

std::string QuantizedMatrix::packed(int64_t bits) const {
  int64_t each = 8 / bits, rowBytes = divideCeil(columns, each);
  std::string bytes(rows * rowBytes, '\0');
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t k = 0; k < columns; ++k)
      bytes[row * rowBytes + k / each] |= codes[row * columns + k]
                                          << (k % each * bits);
  return bytes;
}
