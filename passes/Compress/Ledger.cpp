#include "passes/Compress/Ledger.h"

#include "dialects/MoE/MoEOps.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace moe;

/// Bytes that a bank's numbers take.
static int64_t bytesOf(RankedTensorType type) {
  return (type.getNumElements() * type.getElementTypeBitWidth() + 7) / 8;
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
    int64_t flops = 0, active = 0, working = 0;
    for (int64_t e = 0, n = pool.getNumEntries(); e < n; ++e) {
      ExpertCost own = pool.getEntry(e).getCost(symbols);
      cost.expertParams += own.params;
      cost.expertBytes += own.bytes;
      ExpertOpInterface entry = pool.getResolvedEntry(e);
      working += entry.needsDispatch();
      ExpertCost used = entry.getCost(symbols);
      active += used.params;
      flops += used.flopsPerToken.value_or(0);
    }
    sum.params = active;
    sum.flopsPerToken = flops;
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
    cost.flopsPerToken += slots * static_cast<double>(*sum.flopsPerToken);
  });
  // The rest: what the code names itself, each bank once.
  llvm::DenseSet<StringRef> seen;
  SymbolTable table(module);
  module.walk([&](WeightOp weight) {
    auto bank = table.lookup<BankOp>(weight.getBank());
    if (!bank || !seen.insert(weight.getBank()).second)
      return;
    cost.params += bank.getTensorType().getNumElements();
    cost.bytes += bytesOf(bank.getTensorType());
  });
  cost.params += cost.expertParams;
  cost.bytes += cost.expertBytes;
  return cost;
}

void Ledger::print(llvm::raw_ostream &os) const {
  bool error = llvm::any_of(
      steps, [](const LedgerStep &step) { return bool(step.outputError); });
  bool bits = llvm::any_of(
      steps, [](const LedgerStep &step) { return bool(step.bitsPerByte); });
  size_t width = 8;
  for (const LedgerStep &step : steps)
    width = std::max(width, step.name.size());
  auto name = [&](StringRef text) {
    os << text;
    os.indent(width - text.size() + 1);
  };
  name("step");
  os << "  params/M  bytes/MB  experts/MB      %  active/M  MFLOP/token";
  if (error)
    os << "  output error";
  if (bits)
    os << "  bits/byte     loss";
  os << "\n";
  for (const LedgerStep &step : steps) {
    const ModelCost &cost = step.cost, &first = steps.front().cost;
    name(step.name.empty() ? "original" : StringRef(step.name));
    os << llvm::format(
        "%10.3f%10.3f%12.3f%7.2f%10.3f%13.3f",
        static_cast<double>(cost.params) / 1e6,
        static_cast<double>(cost.bytes) / 1e6,
        static_cast<double>(cost.expertBytes) / 1e6,
        100.0 * static_cast<double>(cost.expertBytes) /
            static_cast<double>(std::max<int64_t>(first.expertBytes, 1)),
        cost.activeParams / 1e6, cost.flopsPerToken / 1e6);
    if (step.outputError)
      os << llvm::format("%14.4f", *step.outputError);
    else if (error)
      os.indent(14);
    if (step.bitsPerByte) {
      os << llvm::format("%11.4f", *step.bitsPerByte);
      if (steps.front().bitsPerByte)
        os << llvm::format("%+9.4f",
                           *step.bitsPerByte - *steps.front().bitsPerByte);
    }
    os << "\n";
  }
}

llvm::json::Array Ledger::toJSON() const {
  llvm::json::Array list;
  for (const LedgerStep &step : steps) {
    llvm::json::Object entry{{"step", step.name},
                             {"params", step.cost.params},
                             {"bytes", step.cost.bytes},
                             {"expert_params", step.cost.expertParams},
                             {"expert_bytes", step.cost.expertBytes},
                             {"active_params", step.cost.activeParams},
                             {"flops_per_token", step.cost.flopsPerToken}};
    if (step.outputError)
      entry["output_error"] = *step.outputError;
    if (step.bitsPerByte)
      entry["bits_per_byte"] = *step.bitsPerByte;
    list.push_back(std::move(entry));
  }
  return list;
}
