#ifndef MOE_FRONTENDS_ONNX_ELEMENTTYPES_H
#define MOE_FRONTENDS_ONNX_ELEMENTTYPES_H

#include "mlir/IR/Types.h"
#include <optional>
#include <string>

namespace moe::onnx {

/// The MLIR type of ONNX's element type `number` (TensorProto.DataType): signed
/// integers are signless, unsigned ones `ui8` and so on. Null for strings,
/// complex numbers and numbers that ONNX does not know.
mlir::Type elementTypeOf(mlir::MLIRContext *context, int64_t number);

/// The number of an MLIR type, where ONNX has it.
std::optional<int> numberOfElement(mlir::Type element);

/// ONNX's name of an element type: "float", "int64", "bfloat16"...
std::string nameOfElement(mlir::Type element);

/// "element type 8 (string)": how messages speak of a type number.
std::string describeElement(int64_t number);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_ELEMENTTYPES_H
