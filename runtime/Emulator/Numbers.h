// Numbers of 16 and 8 bits, as GPUs convert them: to the nearest, ties to even.
#ifndef MOE_RUNTIME_EMULATOR_NUMBERS_H
#define MOE_RUNTIME_EMULATOR_NUMBERS_H

#include <cstdint>
#include <cstring>

namespace moe::emu {

inline uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float fromBf16(uint16_t bits) { return floatOf(uint32_t(bits) << 16); }

inline uint16_t toBf16(float value) {
  uint32_t bits = bitsOf(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000)
    return 0x7FFF; // what the GPU makes of every NaN
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

/// With 10 bits after the point, ties away from zero; in an f32.
inline float toTf32(float value) {
  uint32_t bits = bitsOf(value);
  if ((bits & 0x7FFFFFFF) >= 0x7F800000) // infinity and NaN
    return value;
  return floatOf((bits + 0x1000) & 0xFFFFE000);
}

/// An f32 that rounds to 16 bits as `value` does: where it is not exact its
/// last bit is set, so that nothing looks like a tie.
inline float roundToOdd(double value) {
  float nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) == value || nearest != nearest ||
      (bitsOf(nearest) & 0x7FFFFFFF) == 0x7F800000)
    return nearest;
  bool isLarger = (nearest < 0 ? -static_cast<double>(nearest)
                               : static_cast<double>(nearest)) >
                  (value < 0 ? -value : value);
  return floatOf((bitsOf(nearest) - isLarger) | 1);
}

inline float fromF16(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16;
  uint32_t magnitude = bits & 0x7FFF;
  if (magnitude >= 0x7C00) // infinity and NaN
    return floatOf(sign | 0x7F800000 | (magnitude & 0x3FF) << 13);
  if (magnitude >= 0x400)
    return floatOf(sign | ((magnitude << 13) + (uint32_t(112) << 23)));
  float tiny = static_cast<float>(magnitude) * 0x1p-24f;
  return sign ? -tiny : tiny;
}

inline uint16_t toF16(float value) {
  uint32_t bits = bitsOf(value);
  uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000)
    return 0x7FFF;
  if (magnitude >= 0x477FF000) // rounds to 65536 or more
    return sign | 0x7C00;
  if (magnitude < 0x38800000) {
    // Below 2^-14: the addition rounds to multiples of 2^-24.
    float shifted = floatOf(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (bitsOf(shifted) - 0x3F000000));
  }
  uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign |
                               ((rounded - (uint32_t(112) << 23)) >> 13));
}

inline float fromE4M3(uint8_t code) {
  uint32_t sign = uint32_t(code & 0x80) << 24, magnitude = code & 0x7F;
  if (magnitude == 0x7F)
    return floatOf(sign | 0x7FC00000);
  float value = magnitude < 8
                    ? static_cast<float>(magnitude) * 0x1p-9f
                    : floatOf((magnitude << 20) + (uint32_t(120) << 23));
  return sign ? -value : value;
}

/// What is too large becomes the largest number, 448.
inline uint8_t toE4M3(float value) {
  uint32_t bits = bitsOf(value), magnitude = bits & 0x7FFFFFFF;
  uint8_t sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  if (magnitude > 0x7F800000)
    return 0x7F;               // what the GPU makes of every NaN
  if (magnitude >= 0x43E00000) // 448
    return sign | 0x7E;
  if (magnitude < 0x3C800000) {
    // Below 2^-6: the addition rounds to multiples of 2^-9.
    float shifted = floatOf(magnitude) + 0x1p14f;
    return static_cast<uint8_t>(sign | (bitsOf(shifted) - bitsOf(0x1p14f)));
  }
  uint32_t rounded = magnitude + 0x7FFFF + ((magnitude >> 20) & 1);
  return static_cast<uint8_t>(sign | ((rounded - (uint32_t(120) << 23)) >> 20));
}

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_NUMBERS_H
