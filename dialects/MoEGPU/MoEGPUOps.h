#ifndef MOE_DIALECTS_MOEGPU_MOEGPUOPS_H
#define MOE_DIALECTS_MOEGPU_MOEGPUOPS_H

#include "dialects/MoEGPU/MoEGPUDialect.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/MoEGPU/MoEGPUEnums.h.inc"
#define GET_OP_CLASSES
#include "dialects/MoEGPU/MoEGPUOps.h.inc"

namespace moe::moegpu {
/// Address spaces of pointers.
constexpr unsigned kGlobal = 1, kShared = 3;
/// Of a kernel's argument that is a tensor map, of `kTensorMapBytes`.
constexpr unsigned kTensorMap = 0;
constexpr int64_t kTensorMapBytes = 128;

/// Bytes of a value that `moegpu.load` reads.
int64_t sizeOf(mlir::Type value);
} // namespace moe::moegpu

#endif // MOE_DIALECTS_MOEGPU_MOEGPUOPS_H
