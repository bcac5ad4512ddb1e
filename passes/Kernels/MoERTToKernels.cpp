#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "passes/Kernels/Kernels.h"
#include "passes/Kernels/Passes.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTMOERTTOKERNELSPASS
#include "passes/Kernels/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// Memory that must be given back after the call.
using Copies = SmallVector<Value, 4>;

/// Gives `operand` dense memory: what is not dense is copied, and copied back
/// where it is written.
void makeDense(KernelBuilder &k, OpOperand &operand, bool isWritten,
               Copies &copies) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type || type.getLayout().isIdentity() || kernels::takesStrides(operand))
    return;
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < type.getRank(); ++d)
    if (type.isDynamicDim(d))
      sizes.push_back(memref::DimOp::create(k.b, k.loc, operand.get(), d));
  Value dense = memref::AllocOp::create(
      k.b, k.loc, MemRefType::get(type.getShape(), type.getElementType()),
      sizes);
  copies.push_back(dense);
  if (isWritten) {
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointAfter(operand.getOwner());
    linalg::CopyOp::create(k.b, k.loc, dense, operand.get());
  } else {
    linalg::CopyOp::create(k.b, k.loc, operand.get(), dense);
  }
  operand.set(dense);
}

struct ConvertMoERTToKernelsPass
    : moe::impl::ConvertMoERTToKernelsPassBase<ConvertMoERTToKernelsPass> {
  using ConvertMoERTToKernelsPassBase::ConvertMoERTToKernelsPassBase;

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](DestinationStyleOpInterface op) {
      if (op->getName().getDialectNamespace() == "moert")
        ops.push_back(op);
    });
    Isa isa = avx512 ? Isa::avx512() : Isa::avx2();
    isa.splits = splitVectors;
    for (Operation *op : ops) {
      if (!hasKernel(op, isa)) {
        op->emitOpError("has no kernel for these types and sizes");
        return signalPassFailure();
      }
      OpBuilder builder(op);
      KernelBuilder k(builder, op->getLoc(), getOperation(), isa);
      Copies copies;
      for (OpOperand &operand : op->getOpOperands())
        makeDense(k, operand,
                  cast<DestinationStyleOpInterface>(op).isDpsInit(&operand),
                  copies);
      // The op's name is the phase that --trace shows.
      moert::PhaseOp::create(
          builder, op->getLoc(),
          builder.getStringAttr(op->getName().stripDialect()));
      callKernel(k, op);
      moert::PhaseOp::create(builder, op->getLoc(), StringAttr());
      // Behind the copies back, which stand right after the op.
      Operation *last = op;
      for (size_t i = 0;
           i < copies.size() &&
           llvm::isa_and_nonnull<linalg::CopyOp>(last->getNextNode());
           ++i)
        last = last->getNextNode();
      builder.setInsertionPointAfter(last);
      for (Value copy : copies)
        memref::DeallocOp::create(builder, op->getLoc(), copy);
      op->erase();
    }
  }
};
} // namespace
