#include "mlir/IR/BuiltinOps.h"
#include "passes/Verify/Passes.h"
#include <vector>

namespace moe {
#define GEN_PASS_DEF_VERIFYPHASEPASS
#include "passes/Verify/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// What may occur in a phase. Names are those of dialects, or of single ops.
struct Phase {
  StringRef name;
  std::vector<StringRef> allowed;
  bool tensors, memrefs;
};
} // namespace

static const Phase phases[] = {
    {"imported", {"onnx", "func", "moe.bank", "moe.weight"}, true, false},
    {"raised",
     {"moe", "moert", "linalg", "tensor", "arith", "math", "scf", "func", "ub",
      "cf.assert"},
     true,
     false},
    {"optimized",
     {"moe", "moert", "linalg", "tensor", "arith", "math", "scf", "func", "ub",
      "cf.assert"},
     true,
     false},
    {"bufferized",
     {"moert", "linalg", "memref", "scf", "cf", "affine", "func", "math",
      "vector", "x86vector", "arith", "ub", "gpu", "moegpu", "moe.bank",
      "moe.weight"},
     false,
     true},
    {"llvm", {"llvm", "gpu.binary"}, true, true},
};

static const Phase *findPhase(StringRef name) {
  const Phase *phase =
      llvm::find_if(phases, [&](const Phase &p) { return p.name == name; });
  return phase == std::end(phases) ? nullptr : phase;
}

static bool allows(const Phase &phase, Operation *op) {
  if (isa<ModuleOp>(op))
    return true;
  StringRef name = op->getName().getStringRef();
  StringRef dialect = op->getName().getDialectNamespace();
  return llvm::any_of(phase.allowed, [&](StringRef allowed) {
    return allowed == dialect || allowed == name;
  });
}

/// The first type among results, operands and block arguments that the phase
/// forbids, or null.
static Type forbiddenType(const Phase &phase, Operation *op) {
  auto forbidden = [&](Type type) {
    return (!phase.tensors && isa<TensorType>(type)) ||
           (!phase.memrefs && isa<BaseMemRefType>(type));
  };
  for (Type type : op->getResultTypes())
    if (forbidden(type))
      return type;
  for (Type type : op->getOperandTypes())
    if (forbidden(type))
      return type;
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Type type : block.getArgumentTypes())
        if (forbidden(type))
          return type;
  return {};
}

namespace {
struct VerifyPhasePass : moe::impl::VerifyPhasePassBase<VerifyPhasePass> {
  using VerifyPhasePassBase::VerifyPhasePassBase;

  /// Takes `raised` as well as `phase=raised`, and knows the phases.
  LogicalResult initializeOptions(
      StringRef options,
      function_ref<LogicalResult(const Twine &)> errorHandler) override {
    std::string full = options.str();
    if (!options.empty() && !options.contains('='))
      full = "phase=" + full;
    if (failed(Pass::initializeOptions(full, errorHandler)))
      return failure();
    if (findPhase(phase))
      return success();
    return errorHandler("unknown phase '" + Twine(phase) +
                        "', expected imported, raised, optimized, bufferized "
                        "or llvm\n");
  }

  void runOnOperation() override {
    const Phase *found = findPhase(phase);
    if (!found) {
      getOperation()->emitError("unknown phase '") << phase << "'";
      return signalPassFailure();
    }
    WalkResult result = getOperation()->walk<WalkOrder::PreOrder>(
        [&](Operation *op) -> WalkResult {
          if (!allows(*found, op))
            return op->emitOpError("may not occur in phase ") << found->name;
          if (Type type = forbiddenType(*found, op))
            return op->emitOpError("uses ")
                   << type << ", which may not occur in phase " << found->name;
          return WalkResult::advance();
        });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
