#include "passes/Analysis/Quantization.h"

#include "dialects/MoE/MoEOps.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Loops.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"
#include <atomic>
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

/// 1.5 * 2^52: added to a number, it leaves no bit for a fraction, which rounds
/// half to even, and a whole number in the low bits.
static constexpr double kMagic = 6755399441055744.0;

static double roundToEven(double x) {
  return std::abs(x) < 1e15 ? (x + kMagic) - kMagic : x;
}

namespace {
/// Finds codes; one per call of `quantize`, read by all threads.
class Coder {
public:
  explicit Coder(const QuantFormat &format)
      : format(format), values(codeValues(format)),
        integer(format.code == "int"), powerOfTwo(format.code == "fp4"),
        widest(format.code == "nf4"   ? 1
               : format.code == "fp8" ? 448
                                      : 0),
        half(1 << (format.bits - 1)) {
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
    for (size_t i = 0; i + 1 < order.size(); ++i) {
      double middle = (values[order[i]] + values[order[i + 1]]) / 2;
      // A tie goes to the even neighbour: the border is the middle, or just
      // below.
      borders.push_back(order[i] & 1 ? std::nextafter(middle, -HUGE_VAL)
                                     : middle);
    }
    std::fill(border.begin(), border.end(), HUGE_VAL);
    if (order.size() <= kFewCodes)
      llvm::copy(borders, border.begin());
  }

  /// The scale that just holds the block, exact in its stored type.
  float scaleOf(ArrayRef<double> block, uint8_t &zero) const;
  /// The same, smaller (`ratio` <= 1), or a neighbouring power of two.
  float stored(double scale) const;
  uint8_t code(double number, double inverse, uint8_t zero) const;
  /// The codes of a block.
  void codes(ArrayRef<double> block, double scale, uint8_t zero,
             uint8_t *to) const;
  /// The scale of least error, of those that `stored` makes of `widest`.
  float searchScale(ArrayRef<double> block, const double *moments, float widest,
                    uint8_t zero) const;
  double value(uint8_t code, double scale, uint8_t zero) const {
    return (values[code] - zero) * scale;
  }
  bool isPowerOfTwo() const { return powerOfTwo; }

private:
  /// Calls `fn` with a function from a number over its scale to what the
  /// nearest code stands for, which compilers turn into wide instructions.
  template <typename Fn>
  void withNearest(uint8_t zero, Fn fn) const;

  const QuantFormat &format;
  std::array<double, 256> values;
  bool integer, powerOfTwo;
  double widest; ///< of codes that are fractions; 0 of others
  int64_t half;
  SmallVector<unsigned, 256> order;
  SmallVector<double, 256> borders;
  /// Of as few codes as these, all borders are faster looked at than searched,
  /// since that needs no jumps.
  static constexpr size_t kFewCodes = 16;
  std::array<double, kFewCodes - 1> border;
};
} // namespace

float Coder::stored(double scale) const {
  if (scale == 0)
    return 0;
  if (isPowerOfTwo())
    return static_cast<float>(std::ldexp(
        1.0, std::clamp(static_cast<int>(std::ilogb(scale)), -127, 127)));
  // f16, half to even.
  uint64_t bits = llvm::bit_cast<uint64_t>(scale);
  if (scale >= 0x1p-14 && scale < 65504)
    return static_cast<float>(llvm::bit_cast<double>(
        (bits + 0x1ffffffffff + (bits >> 42 & 1)) & ~0x3ffffffffffull));
  // What is too small for it takes the smallest there is.
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
  runWide([&, from = block.data(), count = block.size()]() MOE_INLINE {
    constexpr size_t lanes = 8;
    double least[lanes] = {}, most[lanes] = {};
    size_t k = 0;
    for (; k + lanes <= count; k += lanes)
      for (size_t i = 0; i < lanes; ++i) {
        least[i] = from[k + i] < least[i] ? from[k + i] : least[i];
        most[i] = from[k + i] > most[i] ? from[k + i] : most[i];
      }
    for (; k < count; ++k)
      low = std::min(low, from[k]), high = std::max(high, from[k]);
    for (size_t i = 0; i < lanes; ++i)
      low = std::min(low, least[i]), high = std::max(high, most[i]);
  });
  double most = std::max(-low, high);
  zero = 0;
  if (most == 0)
    return 0;
  if (isPowerOfTwo())
    return stored(std::ldexp(1.0, std::ilogb(most) - 2));
  if (widest != 0)
    return stored(most / widest);
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
  size_t i = llvm::lower_bound(borders, scaled) - borders.begin();
  return static_cast<uint8_t>(order[i]);
}

template <typename Fn>
void Coder::withNearest(uint8_t zero, Fn fn) const {
  if (integer) {
    double low = (format.asymmetric ? 0 : static_cast<double>(-half)) - zero;
    double high = low + static_cast<double>(2 * half - 1);
    return fn([=](double scaled) MOE_INLINE {
      scaled = scaled > low ? scaled : low;
      scaled = scaled < high ? scaled : high;
      return (scaled + kMagic) - kMagic;
    });
  }
  if (order.size() <= kFewCodes) {
    double value[kFewCodes];
    for (size_t i = 0; i < kFewCodes; ++i)
      value[i] = values[order[std::min(i, order.size() - 1)]];
    return fn([&](double scaled) MOE_INLINE {
      double nearest = value[0];
#pragma clang loop unroll(full)
      for (size_t i = 0; i + 1 < kFewCodes; ++i)
        nearest = scaled > border[i] ? value[i + 1] : nearest;
      return nearest;
    });
  }
  fn([&](double scaled) {
    return values[order[llvm::lower_bound(borders, scaled) - borders.begin()]];
  });
}

void Coder::codes(ArrayRef<double> block, double scale, uint8_t zero,
                  uint8_t *to) const {
  double inverse = scale == 0 ? 0 : 1.0 / scale;
  if (!integer && order.size() > kFewCodes) {
    for (size_t k = 0; k < block.size(); ++k)
      to[k] = code(block[k], inverse, zero);
    return;
  }
  if (!integer) {
    // The place among all codes is the number of borders below.
    runWide([&, from = block.data(), count = block.size()]() MOE_INLINE {
      for (size_t k = 0; k < count; ++k) {
        double scaled = from[k] * inverse;
        int64_t below = 0;
#pragma clang loop unroll(full)
        for (size_t i = 0; i + 1 < kFewCodes; ++i)
          below += scaled > border[i];
        to[k] = static_cast<uint8_t>(below);
      }
      for (size_t k = 0; k < count; ++k)
        to[k] = static_cast<uint8_t>(order[to[k]]);
    });
    return;
  }
  int64_t least = format.asymmetric ? 0 : -half;
  double low = static_cast<double>(least - zero);
  double high = low + static_cast<double>(2 * half - 1);
  int32_t above = static_cast<int32_t>(zero - least);
  runWide([=, from = block.data(), count = block.size()]() MOE_INLINE {
    for (size_t k = 0; k < count; ++k) {
      double scaled = from[k] * inverse;
      scaled = scaled > low ? scaled : low;
      scaled = scaled < high ? scaled : high;
      int32_t whole = static_cast<int32_t>((scaled + kMagic) - kMagic);
      to[k] = static_cast<uint8_t>(whole + above);
    }
  });
}

float Coder::searchScale(ArrayRef<double> block, const double *moments,
                         float widest, uint8_t zero) const {
  SmallVector<float, 24> scales;
  if (isPowerOfTwo())
    for (double factor : {1.0, 2.0, 0.5})
      scales.push_back(stored(widest * factor));
  else
    for (int i = 0; i <= 20; ++i)
      scales.push_back(stored(widest * (1 - 0.02 * i)));
  // All scales side by side; each error is a sum in the order of inputs.
  constexpr size_t lanes = 8;
  size_t padded = llvm::alignTo(scales.size(), lanes);
  double error[24] = {}, inverse[24], width[24];
  for (size_t i = 0; i < padded; ++i) {
    width[i] = scales[std::min(i, scales.size() - 1)];
    inverse[i] = 1.0 / width[i];
  }
  withNearest(zero, [&](auto nearest) {
    runWide([&]() MOE_INLINE {
      for (size_t first = 0; first < padded; first += lanes) {
        double sum[lanes] = {};
        for (size_t k = 0; k < block.size(); ++k) {
          double number = block[k], moment = moments[k];
          for (size_t i = 0; i < lanes; ++i) {
            double off = number - nearest(number * inverse[first + i]) *
                                      width[first + i];
            sum[i] += moment * off * off;
          }
        }
        std::copy_n(sum, lanes, error + first);
      }
    });
  });
  float best = widest;
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < scales.size(); ++i)
    if (error[i] < least)
      least = error[i], best = scales[i];
  return best;
}

std::optional<QuantizedMatrix> moe::quantizeRows(int64_t rows, int64_t columns,
                                                 RowReader read,
                                                 const QuantFormat &format,
                                                 ArrayRef<double> moments) {
  QuantizedMatrix result;
  result.rows = rows, result.columns = columns;
  int64_t block = format.block ? format.block : columns;
  result.blocks = divideCeil(columns, std::max<int64_t>(block, 1));
  result.codes.resize(rows * columns);
  result.scales.resize(rows * result.blocks);
  if (format.asymmetric)
    result.zeros.resize(result.scales.size());
  Coder coder(format);
  auto quantizeRow = [&](int64_t row, const double *numbers) {
    for (int64_t b = 0; b < result.blocks; ++b) {
      int64_t first = b * block;
      ArrayRef<double> own(numbers + first, std::min(block, columns - first));
      uint8_t zero;
      float scale = coder.scaleOf(own, zero);
      if (!moments.empty() && scale != 0)
        scale = coder.searchScale(own, &moments[first], scale, zero);
      coder.codes(own, scale, zero,
                  result.codes.data() + row * columns + first);
      result.scales[row * result.blocks + b] = scale;
      if (format.asymmetric)
        result.zeros[row * result.blocks + b] = zero;
    }
  };
  std::atomic<bool> finite{true};
  forRows(rows, columns, [&](int64_t first, int64_t last) {
    int64_t count = (last - first) * columns;
    std::unique_ptr<double[]> buffer(new double[count]);
    const double *numbers = read(first, last, buffer.get());
    if (!areFinite(ArrayRef<double>(numbers, count))) {
      finite = false;
      return;
    }
    for (int64_t row = first; row < last; ++row)
      quantizeRow(row, numbers + (row - first) * columns);
  });
  if (!finite)
    return std::nullopt;
  return result;
}

QuantizedMatrix moe::quantize(const Numbers &numbers, const QuantFormat &format,
                              ArrayRef<double> moments,
                              const Compensation *compensation) {
  auto made = quantizeRows(
      numbers.rows, numbers.columns,
      [&](int64_t first, int64_t last, double *) {
        return numbers.values.data() + first * numbers.columns;
      },
      format, moments);
  assert(made && "numbers are finite");
  QuantizedMatrix result = std::move(*made);
  if (!compensation)
    return result;
  Coder coder(format);
  int64_t block = format.block ? format.block : numbers.columns;
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
  forRows(rows, columns, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const uint8_t *from = codes.data() + row * columns;
      char *to = bytes.data() + row * rowBytes;
      int64_t k = 0;
      if (bits == 8)
        k = columns, std::copy_n(from, columns, to);
      if (bits == 4)
        for (; k + 1 < columns; k += 2)
          to[k / 2] = static_cast<char>(from[k] | from[k + 1] << 4);
      for (; k < columns; ++k)
        to[k / each] |= static_cast<char>(from[k] << (k % each * bits));
    }
  });
  return bytes;
}
