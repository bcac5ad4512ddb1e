#ifndef MOE_DIALECTS_ONNX_ONNXOPS_H
#define MOE_DIALECTS_ONNX_ONNXOPS_H

#include "dialects/Onnx/OnnxDialect.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#define GET_OP_CLASSES
#include "dialects/Onnx/OnnxOps.h.inc"

namespace moe::onnx {
/// True where the condition of a Loop never ends it, so that its trip count
/// alone does: `condition` (null where absent) holds at the start, and `body`
/// passes it on.
bool conditionHolds(mlir::Value condition, mlir::Block &body);
} // namespace moe::onnx

#endif // MOE_DIALECTS_ONNX_ONNXOPS_H
