#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "passes/Convert/MoERTLoops.h"
#include "passes/Convert/Passes.h"
#include "passes/Kernels/Kernels.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTMOERTTOLINALGPASS
#include "passes/Convert/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct ConvertMoERTToLinalgPass
    : moe::impl::ConvertMoERTToLinalgPassBase<ConvertMoERTToLinalgPass> {
  using ConvertMoERTToLinalgPassBase::ConvertMoERTToLinalgPassBase;

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (op->getDialect() && op->getDialect()->getNamespace() == "moert" &&
          op->getNumResults() > 0 &&
          isa<TensorType>(op->getResult(0).getType()) &&
          !(keepKernels && hasKernel(op, avx512 ? Isa::avx512() : Isa::avx2())))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      // The op's name is the phase that --trace shows.
      OpBuilder builder(op);
      moert::PhaseOp::create(
          builder, op->getLoc(),
          builder.getStringAttr(op->getName().stripDialect()));
      builder.setInsertionPointAfter(op);
      moert::PhaseOp::create(builder, op->getLoc(), StringAttr());
      LogicalResult result = failure();
      if (auto gemm = dyn_cast<moert::GemmOp>(op))
        result = lowerToLoops(gemm);
      else if (auto route = dyn_cast<moert::RouteOp>(op))
        result = lowerToLoops(route);
      else if (auto ffn = dyn_cast<moert::ExpertFfnOp>(op))
        result = lowerToLoops(ffn);
      else
        result = lowerModelOp(op);
      if (failed(result))
        return signalPassFailure();
    }
  }
};
} // namespace
