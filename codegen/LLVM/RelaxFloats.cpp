#include "codegen/LLVM/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace moe {
#define GEN_PASS_DEF_RELAXFLOATSPASS
#include "codegen/LLVM/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {
struct RelaxFloatsPass : moe::impl::RelaxFloatsPassBase<RelaxFloatsPass> {
  void runOnOperation() override {
    using Flags = arith::FastMathFlags;
    auto flags = arith::FastMathFlagsAttr::get(
        &getContext(), Flags::reassoc | Flags::contract | Flags::nsz);
    getOperation()->walk([&](arith::ArithFastMathInterface op) {
      op->setAttr(op.getFastMathAttrName(), flags);
    });
  }
};
} // namespace
