#include "runtime/Core/Tensor.h"

#include "runtime/Core/Text.h"

#include <cstring>

namespace moe::rt {
namespace {

struct TypeInfo {
  int32_t dtype;
  uint8_t size;
  bool floating;
  bool integer;
  const char *name;
};

constexpr TypeInfo types[] = {
    {MOE_F32, 4, true, false, "float32"},  {MOE_U8, 1, false, true, "uint8"},
    {MOE_I8, 1, false, true, "int8"},      {MOE_U16, 2, false, true, "uint16"},
    {MOE_I16, 2, false, true, "int16"},    {MOE_I32, 4, false, true, "int32"},
    {MOE_I64, 8, false, true, "int64"},    {MOE_BOOL, 1, false, false, "bool"},
    {MOE_F16, 2, true, false, "float16"},  {MOE_F64, 8, true, false, "float64"},
    {MOE_U32, 4, false, true, "uint32"},   {MOE_U64, 8, false, true, "uint64"},
    {MOE_BF16, 2, true, false, "bfloat16"}};

const TypeInfo *find(int32_t dtype) {
  for (const TypeInfo &type : types)
    if (type.dtype == dtype)
      return &type;
  return nullptr;
}

template <typename T>
T load(const void *data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + index * sizeof(T),
              sizeof(T));
  return value;
}

template <typename T>
void store(void *data, int64_t index, double value) {
  T converted = static_cast<T>(value);
  std::memcpy(static_cast<char *>(data) + index * sizeof(T), &converted,
              sizeof(T));
}

float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

uint32_t toBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

} // namespace

size_t elementSize(int32_t dtype) {
  const TypeInfo *type = find(dtype);
  return type ? type->size : 0;
}

std::string dtypeName(int32_t dtype) {
  const TypeInfo *type = find(dtype);
  return type ? type->name : text("type ", dtype);
}

bool isFloat(int32_t dtype) {
  const TypeInfo *type = find(dtype);
  return type && type->floating;
}

bool isInteger(int32_t dtype) {
  const TypeInfo *type = find(dtype);
  return type && type->integer;
}

std::optional<int64_t> elementCount(const int64_t *shape, int32_t rank) {
  // A zero anywhere makes the product zero, whatever the others are.
  bool empty = false;
  for (int32_t i = 0; i < rank; ++i) {
    if (shape[i] < 0)
      return std::nullopt;
    empty |= shape[i] == 0;
  }
  int64_t count = 1;
  for (int32_t i = 0; i < rank && !empty; ++i)
    if (__builtin_mul_overflow(count, shape[i], &count))
      return std::nullopt;
  return empty ? 0 : count;
}

std::optional<int64_t> byteSize(const moe_tensor &tensor) {
  size_t size = elementSize(tensor.dtype);
  if (!size || tensor.rank < 0 || tensor.rank > MOE_MAX_RANK)
    return std::nullopt;
  std::optional<int64_t> count = elementCount(tensor.shape, tensor.rank);
  int64_t bytes;
  if (!count ||
      __builtin_mul_overflow(*count, static_cast<int64_t>(size), &bytes))
    return std::nullopt;
  return bytes;
}

std::string shapeText(const int64_t *shape, int32_t rank) {
  std::string out = "[";
  for (int32_t i = 0; i < rank; ++i)
    out += text(i ? ", " : "", shape[i]);
  return out + "]";
}

std::string portText(const moe_port &port) {
  std::string out = dtypeName(port.dtype) + " [";
  for (int32_t i = 0; i < port.rank; ++i) {
    if (i)
      out += ", ";
    if (port.dims[i] >= 0)
      out += std::to_string(port.dims[i]);
    else
      out += port.dim_names[i][0] ? printable(port.dim_names[i]) : "?";
  }
  return out + "]";
}

float halfToFloat(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 0x1F, mantissa = bits & 0x3FF;
  if (exponent == 0x1F)
    return fromBits(sign | 0x7F800000 | mantissa << 13);
  if (exponent)
    return fromBits(sign | (exponent + 112) << 23 | mantissa << 13);
  // Subnormal: mantissa * 2^-24, exact in float.
  return fromBits(sign | toBits(static_cast<float>(mantissa) * 0x1p-24f));
}

float bfloat16ToFloat(uint16_t bits) {
  return fromBits(static_cast<uint32_t>(bits) << 16);
}

uint16_t floatToHalf(float value) {
  uint32_t bits = toBits(value);
  uint16_t sign = bits >> 16 & 0x8000;
  uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000)
    return sign | 0x7E00;
  if (magnitude >= 0x477FF000) // rounds to 65536 or is infinite
    return sign | 0x7C00;
  if (magnitude < 0x38800000) {
    // Adding 0.5 puts the subnormal's units in the last place of a float.
    float shifted = fromBits(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(toBits(shifted) - toBits(0.5f));
  }
  uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return sign | static_cast<uint16_t>((rounded >> 13) - (112 << 10));
}

uint16_t floatToBfloat16(float value) {
  uint32_t bits = toBits(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000)
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

double elementAsDouble(const void *data, int32_t dtype, int64_t index) {
  switch (dtype) {
  case MOE_F32:
    return load<float>(data, index);
  case MOE_F64:
    return load<double>(data, index);
  case MOE_F16:
    return halfToFloat(load<uint16_t>(data, index));
  case MOE_BF16:
    return bfloat16ToFloat(load<uint16_t>(data, index));
  case MOE_U8:
  case MOE_BOOL:
    return load<uint8_t>(data, index);
  case MOE_I8:
    return load<int8_t>(data, index);
  case MOE_U16:
    return load<uint16_t>(data, index);
  case MOE_I16:
    return load<int16_t>(data, index);
  case MOE_U32:
    return load<uint32_t>(data, index);
  case MOE_I32:
    return load<int32_t>(data, index);
  case MOE_U64:
    return static_cast<double>(load<uint64_t>(data, index));
  case MOE_I64:
    return static_cast<double>(load<int64_t>(data, index));
  }
  return 0;
}

void setElement(void *data, int32_t dtype, int64_t index, double value) {
  switch (dtype) {
  case MOE_F32:
    return store<float>(data, index, value);
  case MOE_F64:
    return store<double>(data, index, value);
  case MOE_F16:
    return store<uint16_t>(data, index, floatToHalf(static_cast<float>(value)));
  case MOE_BF16:
    return store<uint16_t>(data, index,
                           floatToBfloat16(static_cast<float>(value)));
  case MOE_U8:
  case MOE_BOOL:
    return store<uint8_t>(data, index, value);
  case MOE_I8:
    return store<int8_t>(data, index, value);
  case MOE_U16:
    return store<uint16_t>(data, index, value);
  case MOE_I16:
    return store<int16_t>(data, index, value);
  case MOE_U32:
    return store<uint32_t>(data, index, value);
  case MOE_I32:
    return store<int32_t>(data, index, value);
  case MOE_U64:
    return store<uint64_t>(data, index, value);
  case MOE_I64:
    return store<int64_t>(data, index, value);
  }
}

} // namespace moe::rt
