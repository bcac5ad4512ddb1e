#include "codegen/LLVM/RuntimeCalls.h"

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
