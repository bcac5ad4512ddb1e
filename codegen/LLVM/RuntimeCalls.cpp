#include "codegen/LLVM/RuntimeCalls.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moe;

LLVM::LLVMFuncOp moe::declareRuntime(ModuleOp module, StringRef name,
                                     ArrayRef<Type> arguments, Type result) {
  if (auto known = module.lookupSymbol<LLVM::LLVMFuncOp>(name))
    return known;
  OpBuilder atStart = OpBuilder::atBlockBegin(module.getBody());
  return LLVM::LLVMFuncOp::create(
      atStart, module.getLoc(), name,
      LLVM::LLVMFunctionType::get(
          result ? result : LLVM::LLVMVoidType::get(module.getContext()),
          arguments));
}

Value moe::memoryAt(OpBuilder &builder, Location loc,
                    const LLVMTypeConverter &types, Value data, MemRefType type,
                    ArrayRef<Value> sizes, ArrayRef<Value> strides) {
  auto descriptor =
      MemRefDescriptor::poison(builder, loc, types.convertType(type));
  descriptor.setAllocatedPtr(builder, loc, data);
  descriptor.setAlignedPtr(builder, loc, data);
  descriptor.setConstantOffset(builder, loc, 0);
  for (auto [d, size] : llvm::enumerate(sizes)) {
    descriptor.setSize(builder, loc, d, size);
    descriptor.setStride(builder, loc, d, strides[d]);
  }
  return UnrealizedConversionCastOp::create(builder, loc, type,
                                            Value(descriptor))
      .getResult(0);
}

OpBuilder moe::atFunctionStart(Operation *op) {
  auto function = op->getParentOfType<FunctionOpInterface>();
  return OpBuilder::atBlockBegin(&function.getFunctionBody().front());
}

Value moe::addressOfMemory(OpBuilder &builder, Location loc, Value memory) {
  Value place =
      memref::ExtractAlignedPointerAsIndexOp::create(builder, loc, memory);
  place = arith::IndexCastOp::create(builder, loc, builder.getI64Type(), place);
  return LLVM::IntToPtrOp::create(
      builder, loc, LLVM::LLVMPointerType::get(builder.getContext()), place);
}
