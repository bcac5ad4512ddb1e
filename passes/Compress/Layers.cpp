#include "passes/Compress/Layers.h"

#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/DenseSet.h"
#include <cmath>

using namespace mlir;
using namespace moe;

std::vector<MoELayer> moe::findLayers(ModuleOp module) {
  std::vector<MoELayer> layers;
  llvm::StringMap<int64_t> runs;
  module.walk([&](ApplyOp apply) { ++runs[apply.getPool()]; });
  SymbolTable symbols(module);
  int64_t index = 0;
  module.walk([&](ApplyOp apply) {
    MoELayer layer;
    layer.index = index++;
    layer.apply = apply;
    layer.name = apply.getLayer() ? apply.getLayer()->str()
                                  : "layer " + std::to_string(layer.index);
    layer.pool = symbols.lookup<PoolOp>(apply.getPool());
    if (apply.getNumGates() == 1 && !apply.isDense() &&
        apply.getWeights().size() == 1)
      layer.gate = apply.getIds()[0].getDefiningOp<GateOp>();
    if (layer.gate)
      layer.router = layer.gate.getLogits().getDefiningOp<RouterOp>();
    StringRef why;
    if (runs[apply.getPool()] > 1)
      why = "another layer uses its pool";
    else if (!layer.gate || layer.gate.getWeights() != apply.getWeights()[0])
      why = "no single gate chooses its experts";
    else if (layer.gate.getSubset())
      why = "its gate knows a subset of the pool";
    if (why.empty())
      layers.push_back(std::move(layer));
    else
      remark::missed(apply.getLoc(),
                     remark::RemarkOpts::name("layer").category("moe-compress"))
          << "left " << layer.name << " alone: " << why;
  });
  return layers;
}

FailureOr<std::vector<MoELayer>> moe::collectLayers(ModuleOp module,
                                                    ArrayRef<int64_t> only) {
  std::vector<MoELayer> layers = findLayers(module);
  if (layers.empty())
    return emitError(module.getLoc(), "the module has no MoE layer that can be "
                                      "compressed");
  if (only.empty())
    return layers;
  std::vector<MoELayer> chosen;
  int64_t count = 0;
  module.walk([&](ApplyOp) { ++count; });
  for (auto [i, wanted] : llvm::enumerate(only)) {
    if (llvm::is_contained(only.take_front(i), wanted))
      return emitError(module.getLoc(), "layers names layer ")
             << wanted << " twice";
    auto found = llvm::find_if(
        layers, [&](MoELayer &layer) { return layer.index == wanted; });
    if (found == layers.end())
      return emitError(module.getLoc(), "there is no layer ")
             << wanted << ": the module has " << count
             << " MoE layers, counted from 0";
    chosen.push_back(*found);
  }
  return chosen;
}

SmallVector<int64_t> moe::columnsOf(PoolOp pool, int64_t e) {
  SmallVector<int64_t> columns;
  auto entries = pool.getEntries();
  auto nameOf = [&](ExpertOpInterface entry) {
    auto alias = dyn_cast<AliasOp>(entry.getOperation());
    return alias ? alias.getTarget() : entry.getEntryName();
  };
  for (auto [column, entry] : llvm::enumerate(entries))
    if (nameOf(entry) == nameOf(entries[e]))
      columns.push_back(static_cast<int64_t>(column));
  return columns;
}

InFlightDiagnostic moe::emitLayerError(const MoELayer &layer) {
  return emitError(layer.apply->getLoc(), "layer '") << layer.name << "': ";
}

LogicalResult moe::checkFinite(const MoELayer &layer, int64_t e,
                               ArrayRef<double> numbers) {
  PoolOp pool = layer.pool;
  for (double number : numbers)
    if (!std::isfinite(number))
      return emitLayerError(layer)
             << "expert '" << pool.getEntry(e).getEntryName()
             << "' has weights that are not finite, or that make such numbers";
  return success();
}

BankOp moe::addBank(Operation *next, SymbolTable &symbols, const Twine &name,
                    Attribute recipe, RankedTensorType type) {
  OpBuilder builder(next->getContext());
  OperationState state(next->getLoc(), BankOp::getOperationName());
  BankOp::build(builder, state, builder.getStringAttr(name), StringAttr(),
                StringAttr(), IntegerAttr(), IntegerAttr(), recipe,
                TypeAttr::get(type));
  auto bank = cast<BankOp>(Operation::create(state));
  symbols.insert(bank, Block::iterator(next));
  return bank;
}

BankOp moe::addBank(const MoELayer &layer, SymbolTable &symbols,
                    const Twine &name, Attribute recipe,
                    RankedTensorType type) {
  PoolOp pool = layer.pool;
  return addBank(pool.getOperation(), symbols, name, recipe, type);
}

SliceAttr moe::wholeOf(BankOp bank) {
  return SliceAttr::get(FlatSymbolRefAttr::get(bank.getSymNameAttr()));
}

void moe::eraseUnusedBanks(ModuleOp module) {
  // Recipes name banks too, so removal goes on until nothing falls.
  for (bool changed = true; changed;) {
    changed = false;
    llvm::DenseSet<StringAttr> used;
    module.walk([&](Operation *op) {
      op->getAttrDictionary().walk([&](FlatSymbolRefAttr reference) {
        used.insert(reference.getRootReference());
      });
    });
    for (BankOp bank : llvm::make_early_inc_range(module.getOps<BankOp>()))
      if (!used.contains(bank.getSymNameAttr())) {
        bank.erase();
        changed = true;
      }
  }
}
