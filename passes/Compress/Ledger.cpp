#include "passes/Compress/Ledger.h"

#include "dialects/MoE/MoEOps.h"
#include "dialects/Onnx/OnnxOps.h"
#include "runtime/Bank/LedgerTable.h"
#include "llvm/ADT/MapVector.h"
#include <cmath>

using namespace mlir;
using namespace moe;

/// Bytes that a bank's numbers take.
static int64_t bytesOf(RankedTensorType type) {
  return (type.getNumElements() * type.getElementTypeBitWidth() + 7) / 8;
}

/// Is the value, part of a weight, a table of which tokens take rows, and
/// nothing else? It may be widened first.
static bool isLookedUp(Value table) {
  return llvm::all_of(table.getUses(), [](OpOperand &use) {
    auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
    if (!node || use.getOperandNumber() != 0)
      return false;
    if (node.is("Cast") || node.is("DequantizeLinear"))
      return isLookedUp(node.getResult(0));
    if (!node.is("Gather"))
      return false;
    auto axis = dyn_cast_or_null<IntegerAttr>(node.attribute("axis"));
    return !axis || axis.getInt() == 0;
  });
}

ModelCost moe::measureCost(ModuleOp module,
                           const llvm::StringMap<double> &slotsOf) {
  ModelCost cost;
  SymbolTableCollection symbols;
  struct Pool {
    ExpertCost sum;
    int64_t entries = 0, working = 0;
  };
  llvm::StringMap<Pool> pools;
  for (PoolOp pool : module.getOps<PoolOp>()) {
    ExpertCost sum;
    int64_t working = 0;
    for (int64_t e = 0, n = pool.getNumEntries(); e < n; ++e) {
      ExpertCost own = pool.getEntry(e).getCost(symbols);
      cost.expertParams += own.params;
      cost.expertBytes += own.bytes + own.variantBytes;
      ExpertOpInterface entry = pool.getResolvedEntry(e);
      working += entry.needsDispatch();
      ExpertCost used = entry.getCost(symbols);
      sum.params += used.params;
      sum.bytes += used.bytes;
      *sum.flopsPerToken += used.flopsPerToken.value_or(0);
    }
    pools[pool.getSymName()] = {sum, pool.getNumEntries(), working};
  }
  module.walk([&](ApplyOp apply) {
    auto found = pools.find(apply.getPool());
    if (found == pools.end() || found->second.entries == 0)
      return;
    const auto &[sum, entries, working] = found->second;
    double slots = static_cast<double>(entries);
    if (!apply.isDense())
      slots = static_cast<double>(
          cast<RankedTensorType>(apply.getIds()[0].getType()).getDimSize(1));
    slots /= static_cast<double>(entries);
    if (auto known = slotsOf.find(apply.getLayer().value_or(""));
        known != slotsOf.end() && working > 0)
      slots = known->second / static_cast<double>(working);
    cost.activeParams += slots * static_cast<double>(sum.params);
    cost.bytesReadPerToken += slots * static_cast<double>(sum.bytes);
    cost.flopsPerToken += slots * static_cast<double>(*sum.flopsPerToken);
  });
  // The rest: what the code names itself, each bank once; read whole where any
  // use reads it whole.
  llvm::MapVector<StringRef, bool> isRead;
  module.walk([&](WeightOp weight) {
    if (weight->use_empty()) // what a step has replaced
      return;
    // Importers of weights alone say what they know.
    isRead[weight.getBank()] |=
        !weight->hasAttr("moe.looked_up") && !isLookedUp(weight.getResult());
  });
  SymbolTable table(module);
  for (auto [name, whole] : isRead) {
    auto bank = table.lookup<BankOp>(name);
    if (!bank)
      continue;
    RankedTensorType type = bank.getTensorType();
    int64_t bytes = bytesOf(type);
    cost.params += type.getNumElements();
    cost.bytes += bytes;
    int64_t rows = whole || type.getRank() == 0 ? 1 : type.getDimSize(0);
    cost.bytesReadPerToken += static_cast<double>(bytes) /
                              static_cast<double>(std::max<int64_t>(rows, 1));
  }
  cost.params += cost.expertParams;
  cost.bytes += cost.expertBytes;
  return cost;
}

void Ledger::print(llvm::raw_ostream &os) const {
  std::vector<rt::LedgerLine> lines;
  for (const LedgerStep &step : steps) {
    const ModelCost &cost = step.cost;
    rt::LedgerLine line;
    line.step = step.name;
    line.params = static_cast<double>(cost.params);
    line.bytes = static_cast<double>(cost.bytes);
    line.expertBytes = static_cast<double>(cost.expertBytes);
    line.activeParams = cost.activeParams;
    line.bytesReadPerToken = cost.bytesReadPerToken;
    line.flopsPerToken = cost.flopsPerToken;
    line.outputError = step.outputError;
    line.bitsPerByte = step.bitsPerByte;
    lines.push_back(std::move(line));
  }
  os << rt::ledgerTable(lines);
}

llvm::json::Array Ledger::toJSON() const {
  llvm::json::Array list;
  for (const LedgerStep &step : steps) {
    // Arguments of a command line need not be UTF-8, JSON must.
    llvm::json::Object entry{
        {"step", llvm::json::fixUTF8(step.name)},
        {"params", step.cost.params},
        {"bytes", step.cost.bytes},
        {"expert_params", step.cost.expertParams},
        {"expert_bytes", step.cost.expertBytes},
        {"active_params", step.cost.activeParams},
        {"bytes_read_per_token", step.cost.bytesReadPerToken},
        {"flops_per_token", step.cost.flopsPerToken}};
    // JSON has no word for what is not finite.
    if (step.outputError && std::isfinite(*step.outputError))
      entry["output_error"] = *step.outputError;
    if (step.bitsPerByte && std::isfinite(*step.bitsPerByte))
      entry["bits_per_byte"] = *step.bitsPerByte;
    list.push_back(std::move(entry));
  }
  return list;
}
