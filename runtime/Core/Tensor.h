// Element types and shapes of dense tensors.
#ifndef MOE_RUNTIME_CORE_TENSOR_H
#define MOE_RUNTIME_CORE_TENSOR_H

#include "runtime/moe_runtime.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace moe::rt {

/// Bytes of one element, or 0 for an unknown type.
size_t elementSize(int32_t dtype);

/// "float32"; "type 42" for an unknown one.
std::string dtypeName(int32_t dtype);

/// Is it one of f16, bf16, f32, f64?
bool isFloat(int32_t dtype);

/// Is it a signed or unsigned integer? (bool is not)
bool isInteger(int32_t dtype);

/// Product of the sizes; nothing when one is negative or it overflows.
std::optional<int64_t> elementCount(const int64_t *shape, int32_t rank);

/// Bytes of a tensor; nothing on overflow, bad rank or unknown type.
std::optional<int64_t> byteSize(const moe_tensor &tensor);

/// "[2, 3]"
std::string shapeText(const int64_t *shape, int32_t rank);

/// "float32 [batch, 64]", symbols or "?" where sizes are free.
std::string portText(const moe_port &port);

/// One element as a double (integers beyond 2^53 round).
double elementAsDouble(const void *data, int32_t dtype, int64_t index);

/// Stores a double as one element: rounded to nearest for floats, truncated for
/// integers, which it must fit.
void setElement(void *data, int32_t dtype, int64_t index, double value);

float halfToFloat(uint16_t bits);
float bfloat16ToFloat(uint16_t bits);
/// Rounds to nearest even; overflow becomes infinity, NaN stays NaN.
uint16_t floatToHalf(float value);
uint16_t floatToBfloat16(float value);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_TENSOR_H
