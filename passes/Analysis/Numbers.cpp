#include "passes/Analysis/Numbers.h"

#include "passes/Analysis/Loops.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <optional>

using namespace mlir;
using namespace moe;

Numbers moe::transposed(const Numbers &numbers) {
  Numbers result(numbers.columns, numbers.rows);
  // Squares, so that lines of both are used while they are in the cache.
  constexpr int64_t side = 16;
  forRows(llvm::divideCeil(result.rows, side), side * result.columns,
          [&](int64_t first, int64_t last) {
            int64_t end = std::min(last * side, result.rows);
            for (int64_t r = 0; r < numbers.rows; r += side)
              for (int64_t c = first * side; c < end; ++c)
                for (int64_t i = r; i < std::min(r + side, numbers.rows); ++i)
                  result.at(c, i) = numbers.at(i, c);
          });
  return result;
}

bool moe::areFinite(ArrayRef<double> numbers) {
  int64_t bad = 0;
  runWide([&bad, from = numbers.data(), count = numbers.size()]() MOE_INLINE {
    // All bits of the exponent are set in those that are not.
    constexpr int64_t exponent = 0x7ff0000000000000;
    for (size_t i = 0; i < count; ++i)
      bad |= (llvm::bit_cast<int64_t>(from[i]) & exponent) == exponent;
  });
  return bad == 0;
}

bool moe::isNumberType(Type type) {
  if (isa<FloatType>(type))
    return type.getIntOrFloatBitWidth() % 8 == 0;
  return type.isInteger(8) || type.isInteger(4) || type.isInteger(32) ||
         type.isInteger(64);
}

static double decode(FloatType type, uint64_t bits) {
  APFloat value(type.getFloatSemantics(), APInt(type.getWidth(), bits));
  bool lost;
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
  return value.convertToDouble();
}

template <typename T>
static T load(const char *from) {
  T value;
  memcpy(&value, from, sizeof(T));
  return value;
}

/// Reads `count` elements of type T, `stride` apart, through `number`.
template <typename T, typename Fn>
static void each(const char *from, int64_t stride, int64_t count, double *to,
                 Fn number) {
  if (stride == 1)
    return runWide([=]() MOE_INLINE {
      for (int64_t i = 0; i < count; ++i)
        to[i] = number(load<T>(from + i * sizeof(T)));
    });
  for (int64_t i = 0; i < count; ++i)
    to[i] = number(load<T>(from + i * stride * sizeof(T)));
}

/// An f16 in f32: its bits as those of a number 2^112 times too small.
static float wideHalf(uint16_t half) {
  uint32_t bits = static_cast<uint32_t>(half & 0x7fff) << 13;
  float small = llvm::bit_cast<float>(bits) * 0x1p112f;
  uint32_t wide =
      bits >= 0x0f800000 ? bits | 0x7f800000 : llvm::bit_cast<uint32_t>(small);
  return llvm::bit_cast<float>(wide | static_cast<uint32_t>(half & 0x8000)
                                          << 16);
}

void moe::readNumbers(StringRef bytes, Type type, int64_t index, int64_t stride,
                      int64_t count, double *to) {
  int64_t bits = type.getIntOrFloatBitWidth();
  if (bits == 4) {
    for (int64_t i = 0; i < count; ++i) {
      int64_t at = index + i * stride;
      int nibble =
          static_cast<unsigned char>(bytes[at / 2]) >> (at % 2 ? 4 : 0) & 15;
      to[i] = type.isUnsignedInteger() || nibble < 8 ? nibble : nibble - 16;
    }
    return;
  }
  int64_t width = bits / 8;
  const char *from = bytes.data() + index * width;
  auto run = [&](auto zero, auto number) {
    each<decltype(zero)>(from, stride, count, to, number);
  };
  auto plain = [](auto value) { return static_cast<double>(value); };
  if (type.isF32())
    return run(float(), plain);
  if (type.isF64())
    return run(double(), plain);
  if (type.isBF16())
    return run(uint16_t(), [](uint16_t value) -> double {
      return llvm::bit_cast<float>(static_cast<uint32_t>(value) << 16);
    });
  if (type.isF16())
    return run(uint16_t(),
               [](uint16_t value) -> double { return wideHalf(value); });
  if (type.isUnsignedInteger(8))
    return run(uint8_t(), plain);
  if (type.isInteger(8))
    return run(int8_t(), plain);
  if (type.isInteger(32))
    return run(int32_t(), plain);
  if (type.isInteger(64))
    return run(int64_t(), plain);
  auto element = cast<FloatType>(type);
  if (width != 1)
    return run(uint16_t(),
               [=](uint16_t value) { return decode(element, value); });
  std::array<double, 256> table;
  for (unsigned code = 0; code < 256; ++code)
    table[code] = decode(element, code);
  run(uint8_t(), [&](uint8_t value) { return table[value]; });
}

/// The bits of a number in a type with `mantissa` bits after the point and
/// exponents from `least` on (of normal numbers), rounded once; nothing where
/// it is none of the normal ones.
template <int mantissa, int least>
static std::optional<uint16_t> narrow(double number) {
  constexpr int drop = 52 - mantissa;
  uint64_t bits = llvm::bit_cast<uint64_t>(number);
  uint64_t sign = bits >> 63;
  bits &= ~(uint64_t(1) << 63);
  // Half to even; a carry goes into the exponent, at the end into infinity.
  uint64_t rounded =
      (bits + (uint64_t(1) << (drop - 1)) - 1 + (bits >> drop & 1)) >> drop;
  constexpr uint64_t first = uint64_t(1023 + least) << mantissa;
  constexpr uint64_t end = uint64_t(1023 + 2 - least) << mantissa;
  if (rounded < first || rounded > end || bits >> drop < first)
    return std::nullopt;
  return static_cast<uint16_t>(rounded - first + (1 << mantissa) | sign << 15);
}

static void encode(double number, FloatType type, char *to) {
  std::optional<uint16_t> fast;
  if (type.isF16())
    fast = narrow<10, -14>(number);
  else if (type.isBF16())
    fast = narrow<7, -126>(number);
  if (fast) {
    memcpy(to, &*fast, sizeof(*fast));
    return;
  }
  APFloat value(number);
  bool lost;
  value.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven, &lost);
  uint64_t bits = value.bitcastToAPInt().getZExtValue();
  memcpy(to, &bits, type.getWidth() / 8);
}

/// Has one of the numbers all bits of `exponent`?
template <typename T>
static bool anyWith(const char *from, int64_t count, T exponent) {
  int bad = 0;
  runWide([&bad, from, count, exponent]() MOE_INLINE {
    for (int64_t i = 0; i < count; ++i)
      bad |= (load<T>(from + i * sizeof(T)) & exponent) == exponent;
  });
  return bad;
}

std::optional<int64_t> moe::firstNotFinite(StringRef bytes, FloatType type) {
  int64_t width = type.getWidth() / 8;
  int64_t count = static_cast<int64_t>(bytes.size()) / width;
  std::array<bool, 256> bad{};
  if (width == 1)
    for (unsigned code = 0; code < 256; ++code)
      bad[code] = !std::isfinite(decode(type, code));
  auto anyIn = [&](const char *from, int64_t numbers) {
    if (type.isF32())
      return anyWith<uint32_t>(from, numbers, 0x7f800000);
    if (type.isF16())
      return anyWith<uint16_t>(from, numbers, 0x7c00);
    if (type.isBF16())
      return anyWith<uint16_t>(from, numbers, 0x7f80);
    if (type.isF64())
      return anyWith<uint64_t>(from, numbers, 0x7ff0000000000000);
    return width == 1 && std::any_of(from, from + numbers, [&](char code) {
             return bad[static_cast<unsigned char>(code)];
           });
  };
  std::atomic<bool> found{false};
  forRows(count, 1, [&](int64_t first, int64_t last) {
    if (anyIn(bytes.data() + first * width, last - first))
      found = true;
  });
  if (!found)
    return std::nullopt;
  for (int64_t i = 0; i < count; ++i)
    if (anyIn(bytes.data() + i * width, 1))
      return i;
  return std::nullopt;
}

std::string moe::writeNumbers(ArrayRef<double> values, FloatType type) {
  int64_t width = type.getWidth() / 8;
  std::string bytes(values.size() * width, '\0');
  bool isF32 = type.isF32();
  forRows(values.size(), 1, [&](int64_t first, int64_t last) {
    const double *from = values.data();
    char *to = bytes.data();
    if (isF32)
      return runWide([=]() MOE_INLINE {
        for (int64_t i = first; i < last; ++i) {
          float value = static_cast<float>(from[i]);
          memcpy(to + i * sizeof(value), &value, sizeof(value));
        }
      });
    for (int64_t i = first; i < last; ++i)
      encode(from[i], type, to + i * width);
  });
  return bytes;
}
