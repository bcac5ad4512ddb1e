#ifndef MOE_PASSES_COMPRESS_LEDGER_H
#define MOE_PASSES_COMPRESS_LEDGER_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"
#include <optional>

namespace moe {

/// What a module's weights and MoE layers cost.
struct ModelCost {
  int64_t params = 0;       ///< all weights that code or entries name
  int64_t bytes = 0;        ///< as stored, scales included
  int64_t expertParams = 0; ///< of them, in entries of pools
  int64_t expertBytes = 0;
  /// Of the experts, that a token meets: means over the entries of each
  /// layer, as often as the gate chooses.
  double activeParams = 0;
  double flopsPerToken = 0;
  /// Of weights, as stored, that decoding one token reads: experts as above,
  /// rows of tables that are only looked up, and all of the rest. That is not
  /// the peak memory of a run: weights are mapped, and what stays in memory of
  /// them is the system's choice.
  double bytesReadPerToken = 0;
};

/// `slots` says how many experts run per token, by layer, where that is known
/// better than from what the gate chooses.
ModelCost measureCost(mlir::ModuleOp module,
                      const llvm::StringMap<double> &slots = {});

/// One step of compression.
struct LedgerStep {
  std::string name; ///< as the user wrote it; empty for the model as it came
  ModelCost cost;
  /// Relative error of the layers' outputs on the profile's sample, root mean
  /// square over layers.
  std::optional<double> outputError;
  std::optional<double> bitsPerByte; ///< measured on a text
};

struct Ledger {
  std::vector<LedgerStep> steps;

  /// A table for people.
  void print(llvm::raw_ostream &os) const;
  llvm::json::Array toJSON() const;
};

} // namespace moe

#endif // MOE_PASSES_COMPRESS_LEDGER_H
