#include "frontends/ONNX/ElementTypes.h"

#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;

namespace {
enum class Kind { Float, Signed, Unsigned, Bool, Unsupported };
struct Element {
  int number;
  const char *name;
  Kind kind;
  unsigned bits;
};
} // namespace

// Numbers of TensorProto.DataType up to IR version 13.
static constexpr Element elements[] = {
    {1, "float", Kind::Float, 32},
    {2, "uint8", Kind::Unsigned, 8},
    {3, "int8", Kind::Signed, 8},
    {4, "uint16", Kind::Unsigned, 16},
    {5, "int16", Kind::Signed, 16},
    {6, "int32", Kind::Signed, 32},
    {7, "int64", Kind::Signed, 64},
    {8, "string", Kind::Unsupported, 0},
    {9, "bool", Kind::Bool, 1},
    {10, "float16", Kind::Float, 16},
    {11, "double", Kind::Float, 64},
    {12, "uint32", Kind::Unsigned, 32},
    {13, "uint64", Kind::Unsigned, 64},
    {14, "complex64", Kind::Unsupported, 0},
    {15, "complex128", Kind::Unsupported, 0},
    {16, "bfloat16", Kind::Float, 16},
    {17, "float8e4m3fn", Kind::Float, 8},
    {18, "float8e4m3fnuz", Kind::Float, 8},
    {19, "float8e5m2", Kind::Float, 8},
    {20, "float8e5m2fnuz", Kind::Float, 8},
    {21, "uint4", Kind::Unsigned, 4},
    {22, "int4", Kind::Signed, 4},
    {23, "float4e2m1", Kind::Float, 4},
    {24, "float8e8m0", Kind::Float, 8},
    {25, "uint2", Kind::Unsigned, 2},
    {26, "int2", Kind::Signed, 2},
};

static Type floatType(MLIRContext *context, int64_t number) {
  switch (number) {
  case 1:
    return Float32Type::get(context);
  case 10:
    return Float16Type::get(context);
  case 11:
    return Float64Type::get(context);
  case 16:
    return BFloat16Type::get(context);
  case 17:
    return Float8E4M3FNType::get(context);
  case 18:
    return Float8E4M3FNUZType::get(context);
  case 19:
    return Float8E5M2Type::get(context);
  case 20:
    return Float8E5M2FNUZType::get(context);
  case 23:
    return Float4E2M1FNType::get(context);
  case 24:
    return Float8E8M0FNUType::get(context);
  default:
    return {};
  }
}

Type moe::onnx::elementTypeOf(MLIRContext *context, int64_t number) {
  for (const Element &element : elements) {
    if (element.number != number)
      continue;
    switch (element.kind) {
    case Kind::Float:
      return floatType(context, number);
    case Kind::Signed:
    case Kind::Bool:
      return IntegerType::get(context, element.bits);
    case Kind::Unsigned:
      return IntegerType::get(context, element.bits, IntegerType::Unsigned);
    case Kind::Unsupported:
      return {};
    }
  }
  return {};
}

/// The row of the table that `type` is; null where there is none.
static const Element *find(Type type) {
  for (const Element &element : elements)
    if (type &&
        moe::onnx::elementTypeOf(type.getContext(), element.number) == type)
      return &element;
  return nullptr;
}

std::optional<int> moe::onnx::numberOfElement(Type type) {
  const Element *element = find(type);
  return element ? std::optional<int>(element->number) : std::nullopt;
}

std::string moe::onnx::nameOfElement(Type type) {
  const Element *element = find(type);
  return element ? element->name : "unknown";
}

std::string moe::onnx::describeElement(int64_t number) {
  std::string text = "element type " + std::to_string(number);
  for (const Element &element : elements)
    if (element.number == number)
      text += std::string(" (") + element.name + ")";
  return text;
}
