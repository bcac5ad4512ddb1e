#include "codegen/CUDA/OpKernels.h"

#include "codegen/CUDA/OpWriter.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

MadeKernel moe::cuda::kernelOf(Operation *op, OpBuilder &host, ModuleOp kernels,
                               bool mayRound, StringRef &why) {
  OpWriter w(op, host, kernels, mayRound);
  MadeKernel made =
      llvm::TypeSwitch<Operation *, MadeKernel>(op)
          .Case([&](linalg::LinalgOp op) { return loopKernel(w, op); })
          .Case([&](memref::CopyOp op) { return copyKernel(w, op); })
          .Case<moert::RmsNormOp, moert::LayerNormOp>(
              [&](auto op) { return normKernel(w, op); })
          .Case<moert::RopeOp, moert::RopeTableOp>(
              [&](auto op) { return ropeKernel(w, op); })
          .Case([&](moert::EmbedOp op) { return embedKernel(w, op); })
          .Case([&](moert::KvAppendOp op) { return appendKernel(w, op); })
          .Case([&](moert::RouteOp op) { return routeKernel(w, op); })
          .Case([&](moert::AttentionOp op) { return attentionKernel(w, op); })
          .Default([&](Operation *) -> MadeKernel {
            return w.refuse("there is no kernel for such an op");
          });
  // Kept by the context: the writer ends here.
  why = StringAttr::get(op->getContext(), w.why()).getValue();
  return made;
}
