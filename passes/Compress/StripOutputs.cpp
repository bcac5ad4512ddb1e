#include "passes/Compress/Outputs.h"
#include "passes/Compress/Passes.h"

namespace moe {
#define GEN_PASS_DEF_STRIPOUTPUTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct StripOutputsPass : moe::impl::StripOutputsPassBase<StripOutputsPass> {
  using StripOutputsPassBase::StripOutputsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto wrong = [&] { return emitError(module.getLoc(), "strip-outputs: "); };
    if (names.empty())
      return wrong() << "names the outputs that go (names=a,b)";
    auto function = module.lookupSymbol<func::FuncOp>("main");
    if (!function)
      return wrong() << "the module has no function @main";
    llvm::BitVector results(function.getNumResults());
    for (StringRef name : names) {
      std::string known;
      bool found = false;
      for (unsigned i = 0; i < function.getNumResults(); ++i) {
        auto own = function.getResultAttrOfType<StringAttr>(i, "moe.name");
        if (!own)
          continue;
        known += (known.empty() ? "" : ", ") + own.getValue().str();
        if (own.getValue() == name) {
          results.set(i);
          found = true;
        }
      }
      if (!found)
        return wrong() << "the model has no output '" << name
                       << "'; it has: " << known;
    }
    if (results.all())
      return wrong() << "would leave no output";
    eraseOutputs(function, results);
    return success();
  }
};
} // namespace
