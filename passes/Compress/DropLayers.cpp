// --moe-drop-layers, --moe-drop-blocks.
#include "mlir/IR/Remarks.h"
#include "passes/Analysis/Residual.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Layers.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Outputs.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Profile.h"
#include "llvm/ADT/SetVector.h"

namespace moe {
#define GEN_PASS_DEF_DROPBLOCKSPASS
#define GEN_PASS_DEF_DROPLAYERSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// A part of the model that a value in front of it can stand for.
struct Part {
  MoELayer layer;
  Value before, after;
  double cosine;
};
} // namespace

/// The `count` parts with the greatest cosine, and an error where fewer can be
/// dropped.
static FailureOr<std::vector<Part>> choose(ModuleOp module, StringRef pass,
                                           int64_t count, bool blocks) {
  auto wrong = [&] { return emitError(module.getLoc()) << pass << ": "; };
  if (count < 1)
    return wrong() << "count is 1 or more, not " << count;
  auto layers = beginStep(module, pass, Stage::Trim);
  if (failed(layers))
    return failure();
  const Profile *profile = CompressInputs::of(module.getContext()).profile;
  if (!profile)
    return wrong() << "needs a profile (--profile=FILE)";
  StringRef measure = blocks ? "block_cosine" : "sublayer_cosine";
  std::vector<Part> parts;
  for (const MoELayer &layer : *layers) {
    auto place = findResidual(layer.apply);
    auto numbers = profile->get(layer.name, measure);
    StringRef why;
    if (!place || (blocks && !place->blockBefore))
      why = "it is no part of a residual stream";
    else if (!numbers || numbers->values.size() != 2 || numbers->values[1] <= 0)
      why = "the profile has no cosine of it";
    Value before;
    if (why.empty()) {
      before = blocks ? place->blockBefore : place->before;
      if (before.getType() != place->after.getType())
        why = "the stream changes its type there";
    }
    if (!why.empty()) {
      remark::missed(layer.apply->getLoc(),
                     remark::RemarkOpts::name("drop").category("moe-compress"))
          << "cannot drop " << layer.name << ": " << why;
      continue;
    }
    parts.push_back(
        {layer, before, place->after, numbers->values[0] / numbers->values[1]});
  }
  if (static_cast<int64_t>(parts.size()) < count)
    return wrong() << "only " << parts.size() << " of the " << layers->size()
                   << " layers can be dropped, not " << count
                   << " (--remarks-filter=moe-compress says why)";
  llvm::sort(parts, [](const Part &a, const Part &b) {
    return std::make_pair(-a.cosine, a.layer.index) <
           std::make_pair(-b.cosine, b.layer.index);
  });
  parts.resize(count);
  return parts;
}

/// Lets the streams in front of the parts take the place of those behind them.
static void bypass(MutableArrayRef<Part> parts) {
  for (Part &part : parts) {
    remark::passed(part.layer.apply->getLoc(),
                   remark::RemarkOpts::name("drop").category("moe-compress"))
        << "dropped " << part.layer.name
        << remark::metric("cosine", part.cosine);
    part.after.replaceAllUsesWith(part.before);
    // The stream in front of a part may be what another part gave.
    for (Part &other : parts)
      if (other.before == part.after)
        other.before = part.before;
  }
}

namespace {
struct DropLayersPass : moe::impl::DropLayersPassBase<DropLayersPass> {
  using DropLayersPassBase::DropLayersPassBase;

  void runOnOperation() override {
    auto parts = choose(getOperation(), "drop-layers", count, /*blocks=*/false);
    if (failed(parts))
      return signalPassFailure();
    bypass(*parts);
    eraseDeadCode(getOperation());
  }
};

/// What `value` is made of.
void collect(Value value, llvm::SetVector<Operation *> &ops) {
  SmallVector<Operation *> work;
  if (Operation *op = value.getDefiningOp())
    work.push_back(op);
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (!ops.insert(op))
      continue;
    for (Value operand : op->getOperands())
      if (Operation *from = operand.getDefiningOp())
        work.push_back(from);
  }
}

struct DropBlocksPass : moe::impl::DropBlocksPassBase<DropBlocksPass> {
  using DropBlocksPassBase::DropBlocksPassBase;

  void runOnOperation() override {
    auto parts = choose(getOperation(), "drop-blocks", count, /*blocks=*/true);
    if (failed(parts))
      return signalPassFailure();
    // What only this block computes: outputs that read it, other than through
    // the stream, are its caches.
    llvm::SetVector<Operation *> inside;
    for (const Part &part : *parts) {
      llvm::SetVector<Operation *> all, earlier;
      collect(part.after, all);
      collect(part.before, earlier);
      for (Operation *op : all)
        // Tables of positions and masks are everybody's.
        if (!earlier.contains(op) && readsStream(op, part.before))
          inside.insert(op);
    }
    bypass(*parts);
    auto function =
        (*parts)[0].after.getParentRegion()->getParentOfType<func::FuncOp>();
    Operation *end = function.getBody().front().getTerminator();
    llvm::BitVector results(end->getNumOperands());
    for (OpOperand &operand : end->getOpOperands()) {
      llvm::SetVector<Operation *> ops;
      collect(operand.get(), ops);
      if (llvm::any_of(ops, [&](Operation *op) { return inside.contains(op); }))
        results.set(operand.getOperandNumber());
    }
    eraseOutputs(function, results);
  }

  /// Does `op` depend on `stream`?
  static bool readsStream(Operation *op, Value stream) {
    llvm::SetVector<Operation *> ops;
    for (Value operand : op->getOperands()) {
      if (operand == stream)
        return true;
      collect(operand, ops);
    }
    Operation *from = stream.getDefiningOp();
    return from && ops.contains(from);
  }
};
} // namespace
