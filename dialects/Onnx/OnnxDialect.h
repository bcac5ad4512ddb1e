#ifndef MOE_DIALECTS_ONNX_ONNXDIALECT_H
#define MOE_DIALECTS_ONNX_ONNXDIALECT_H

#include "mlir/IR/Dialect.h"

#include "dialects/Onnx/OnnxDialect.h.inc"

#endif // MOE_DIALECTS_ONNX_ONNXDIALECT_H
