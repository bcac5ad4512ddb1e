#include "passes/Compress/Order.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace moe;

static constexpr StringLiteral kHistory = "moe.compressed";

static StringRef nameOf(int64_t stage) {
  static const StringLiteral names[] = {"trims", "merges", "factors",
                                        "quantises"};
  return names[stage];
}

static LogicalResult enterStage(ModuleOp module, StringRef name, Stage stage) {
  Builder builder(module.getContext());
  SmallVector<Attribute> history;
  if (auto before = module->getAttrOfType<ArrayAttr>(kHistory))
    history.append(before.begin(), before.end());
  int64_t own = static_cast<int64_t>(stage);
  for (Attribute entry : history) {
    auto step = dyn_cast<DictionaryAttr>(entry);
    auto other = step ? step.getAs<IntegerAttr>("stage") : IntegerAttr();
    auto otherName = step ? step.getAs<StringAttr>("name") : StringAttr();
    if (!other || !otherName || other.getInt() < 0 || other.getInt() > 3)
      continue;
    if (other.getInt() > own)
      return emitError(module.getLoc())
             << name << " " << nameOf(own) << ", but " << otherName.getValue()
             << ", which " << nameOf(other.getInt())
             << ", has run before: the order is trim, merge, factor, quantise, "
                "for each looks at numbers that the later ones change";
  }
  history.push_back(builder.getDictionaryAttr(
      {builder.getNamedAttr("name", builder.getStringAttr(name)),
       builder.getNamedAttr("stage", builder.getI64IntegerAttr(own))}));
  module->setAttr(kHistory, builder.getArrayAttr(history));
  return success();
}

FailureOr<std::vector<MoELayer>> moe::beginStep(ModuleOp module, StringRef name,
                                                Stage stage,
                                                ArrayRef<int64_t> only) {
  if (failed(enterStage(module, name, stage)))
    return failure();
  return collectLayers(module, only);
}
