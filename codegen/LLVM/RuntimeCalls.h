#ifndef MOE_CODEGEN_LLVM_RUNTIMECALLS_H
#define MOE_CODEGEN_LLVM_RUNTIMECALLS_H

#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace moe {
/// The declaration of a function of the runtime; no result type: void.
mlir::LLVM::LLVMFuncOp declareRuntime(mlir::ModuleOp module,
                                      llvm::StringRef name,
                                      llvm::ArrayRef<mlir::Type> arguments,
                                      mlir::Type result = {});

/// Memory of `sizes` and `strides` at `data`.
mlir::Value memoryAt(mlir::OpBuilder &builder, mlir::Location loc,
                     const mlir::LLVMTypeConverter &types, mlir::Value data,
                     mlir::MemRefType type, llvm::ArrayRef<mlir::Value> sizes,
                     llvm::ArrayRef<mlir::Value> strides);

/// Where the function around `op` begins: what is allocated on the stack there
/// is so once for each call, even where `op` stands in a loop.
mlir::OpBuilder atFunctionStart(mlir::Operation *op);

/// Where dense memory begins.
mlir::Value addressOfMemory(mlir::OpBuilder &builder, mlir::Location loc,
                            mlir::Value memory);

/// Bytes of an element in memory, where an index has eight.
inline int64_t bytesOfElement(mlir::MemRefType type) {
  mlir::Type element = type.getElementType();
  return element.isIndex()
             ? 8
             : llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
}

/// Caches to calls of moert_append and the like.
void lowerCaches(mlir::ModuleOp module);

/// Ops about devices to calls of the moert_device functions.
void lowerDeviceCalls(mlir::ModuleOp module);
} // namespace moe

#endif // MOE_CODEGEN_LLVM_RUNTIMECALLS_H
