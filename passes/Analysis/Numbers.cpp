#include "passes/Analysis/Numbers.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"
#include <array>
#include <cstring>

using namespace mlir;
using namespace moe;

Numbers moe::transposed(const Numbers &numbers) {
  Numbers result(numbers.columns, numbers.rows);
  for (int64_t r = 0; r < numbers.rows; ++r)
    for (int64_t c = 0; c < numbers.columns; ++c)
      result.at(c, r) = numbers.at(r, c);
  return result;
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

/// Calls `number(p)` for each place.
template <typename Fn>
static void each(const char *from, int64_t width, int64_t stride, int64_t count,
                 double *to, Fn number) {
  for (int64_t i = 0; i < count; ++i)
    to[i] = number(from + i * stride * width);
}

template <typename T>
static T load(const char *from) {
  T value;
  memcpy(&value, from, sizeof(T));
  return value;
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
  auto run = [&](auto number) { each(from, width, stride, count, to, number); };
  if (type.isF32())
    return run([](const char *p) -> double { return load<float>(p); });
  if (type.isF64())
    return run([](const char *p) { return load<double>(p); });
  if (type.isBF16())
    return run([](const char *p) -> double {
      return llvm::bit_cast<float>(uint32_t(load<uint16_t>(p)) << 16);
    });
  if (type.isUnsignedInteger(8))
    return run([](const char *p) -> double { return load<uint8_t>(p); });
  if (type.isInteger(8))
    return run([](const char *p) -> double { return load<int8_t>(p); });
  if (type.isInteger(32))
    return run([](const char *p) -> double { return load<int32_t>(p); });
  if (type.isInteger(64))
    return run([](const char *p) -> double { return load<int64_t>(p); });
  auto element = cast<FloatType>(type);
  if (width == 1) {
    std::array<double, 256> table;
    for (unsigned code = 0; code < 256; ++code)
      table[code] = decode(element, code);
    return run([&](const char *p) { return table[load<uint8_t>(p)]; });
  }
  run([&](const char *p) { return decode(element, load<uint16_t>(p)); });
}

std::string moe::writeNumbers(ArrayRef<double> values, FloatType type) {
  size_t width = type.getWidth() / 8;
  std::string bytes(values.size() * width, '\0');
  char *to = bytes.data();
  for (double number : values) {
    if (type.isF32()) {
      float value = static_cast<float>(number);
      memcpy(to, &value, width);
    } else {
      APFloat value(number);
      bool lost;
      value.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                    &lost);
      uint64_t bits = value.bitcastToAPInt().getZExtValue();
      memcpy(to, &bits, width);
    }
    to += width;
  }
  return bytes;
}
