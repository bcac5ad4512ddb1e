#include "codegen/CUDA/DeviceTables.h"
#include "codegen/CUDA/MemoryUses.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

/// The number of `attribute` in `list`, where it is added if need be.
static int64_t numberIn(SmallVector<Attribute> &list, Attribute attribute) {
  auto known = llvm::find(list, attribute);
  if (known != list.end())
    return known - list.begin();
  list.push_back(attribute);
  return list.size() - 1;
}

/// What the importer called the op at `loc`, or one that became it.
static StringRef nameOf(Location loc) {
  StringRef found;
  loc->walk([&](Location part) {
    auto name = dyn_cast<NameLoc>(part);
    if (!name)
      return WalkResult::advance();
    found = name.getName();
    return WalkResult::interrupt();
  });
  return found;
}

DeviceTables::DeviceTables(ModuleOp module, MayRound allowed)
    : builder(module.getContext()), module(module), allowed(allowed),
      isRounding(allowed.tf32) {
  module.walk([&](moert::ExpertFfnOp op) {
    StringRef why;
    std::optional<Pool> pool = poolOf(op, allowed, why);
    isRounding |= pool && pool->shape.element != Element::F32;
  });
}

int64_t DeviceTables::add(Operation *op, const Pool &pool,
                          ArrayRef<int64_t> entries,
                          ArrayRef<std::pair<StringRef, Value>> parts) {
  NamedAttrList layer;
  int64_t number = numberIn(pools, toAttribute(builder.getContext(), pool));
  layer.set("pool", builder.getI64IntegerAttr(number));
  layer.set("entries", builder.getDenseI64ArrayAttr(entries));
  for (auto [name, value] : parts)
    if (value)
      layer.set(name, bankOf(value).getBankAttr());
  int64_t place = numberIn(layers, layer.getDictionary(builder.getContext()));
  // Of several that share weights, the first.
  if (layers.size() > layerNames.size())
    layerNames.push_back(builder.getStringAttr(nameOf(op->getLoc())));
  return place;
}

std::optional<int64_t> DeviceTables::layerOf(moert::ExpertFfnOp op,
                                             StringRef &why) {
  std::optional<Pool> pool = poolOf(op, allowed, why);
  if (!pool)
    return std::nullopt;
  SmallVector<int64_t> entries;
  if (std::optional<ArrayRef<int64_t>> given = op.getEntries())
    entries.assign(given->begin(), given->end());
  else
    for (int64_t i = 0; i < pool->entries; ++i)
      entries.push_back(i);
  return add(op, *pool, entries,
             {{"up", op.getUp()},
              {"up_scales", op.getUpScales()},
              {"up_zeros", op.getUpZeros()},
              {"up_bias", op.getUpBias()},
              {"down", op.getDown()},
              {"down_scales", op.getDownScales()},
              {"down_zeros", op.getDownZeros()},
              {"down_bias", op.getDownBias()},
              {"up_low", op.getUpLow()},
              {"up_low_scales", op.getUpLowScales()},
              {"up_low_zeros", op.getUpLowZeros()},
              {"down_low", op.getDownLow()},
              {"down_low_scales", op.getDownLowScales()},
              {"down_low_zeros", op.getDownLowZeros()}});
}

/// Whether what is in `memory` decides where tokens go, perhaps after some
/// arithmetic.
static bool isRouted(Value memory) {
  llvm::SetVector<Value> seen;
  seen.insert(memory);
  for (size_t i = 0; i < seen.size(); ++i)
    for (Operation *user : seen[i].getUsers()) {
      if (isa<moert::RouteOp>(user))
        return true;
      // Loops may read it in their bodies.
      auto loop = dyn_cast<linalg::LinalgOp>(user);
      if (!loop)
        loop = user->getParentOfType<linalg::LinalgOp>();
      if (viewedBy(user))
        seen.insert(user->getResult(0));
      else if (loop)
        for (Value out : loop.getDpsInits())
          seen.insert(rootOf(out));
    }
  return false;
}

std::optional<int64_t> DeviceTables::layerOf(moert::GemmOp op, StringRef &why) {
  // What is close to a tie must not be decided by rounded inputs.
  bool isRouter = isRouted(rootOf(op.getOuts()));
  std::optional<Pool> pool = poolOf(op, isRouter, allowed.tf32, why);
  if (!pool)
    return std::nullopt;
  return add(op, *pool, {0},
             {{"down", op.getWeight()}, {"down_bias", op.getBias()}});
}

int64_t DeviceTables::kernelNumber(StringRef name) {
  return numberIn(names, builder.getStringAttr(name));
}

ModuleOp DeviceTables::kernels() {
  if (!own) {
    OpBuilder inside = OpBuilder::atBlockEnd(module.getBody());
    own = ModuleOp::create(inside, builder.getUnknownLoc(),
                           StringRef(kDeviceModule));
  }
  return own;
}

void DeviceTables::write() {
  if (own)
    for (Operation &kernel : llvm::make_early_inc_range(*own.getBody()))
      if (!llvm::is_contained(names, SymbolTable::getSymbolName(&kernel)))
        kernel.erase();
  if (own && names.empty())
    own.erase();
  if (layers.empty() && names.empty())
    return;
  module->setAttr(kDevicePools, builder.getArrayAttr(pools));
  module->setAttr(kDeviceLayers, builder.getArrayAttr(layers));
  if (llvm::any_of(layerNames, [](Attribute name) {
        return !cast<StringAttr>(name).empty();
      }))
    module->setAttr(kDeviceLayerNames, builder.getArrayAttr(layerNames));
  if (!names.empty())
    module->setAttr(kDeviceKernels, builder.getArrayAttr(names));
}
