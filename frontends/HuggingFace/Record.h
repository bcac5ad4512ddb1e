// What config.json cannot say with its own keys stands under `moe_opt`: README.
#ifndef MOE_FRONTENDS_HUGGINGFACE_RECORD_H
#define MOE_FRONTENDS_HUGGINGFACE_RECORD_H

#include "frontends/HuggingFace/Storage.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <map>

namespace moe::hf {

inline constexpr llvm::StringLiteral kRecord = "moe_opt";

/// An entry of a pool, in the order of the router's columns.
struct EntryRecord {
  std::string name;
  std::string alias;                      ///< the entry that serves it
  std::string null;                       ///< "zero", "copy"
  std::optional<int64_t> width;           ///< hidden units, where they differ
  std::map<std::string, Storage> storage; ///< by matrix; plain ones are absent
  llvm::SmallVector<int64_t, 2> nOfM;
};

struct LayerRecord {
  std::optional<int64_t> topK; ///< where it differs from the model's
  std::optional<double> skipRatio;
  std::string norm; ///< "real", "nonzero" where the gate's is that
  std::vector<EntryRecord> entries;
};

struct Record {
  /// Steps that have run, with their stages (`moe.compressed`).
  std::vector<std::pair<std::string, int64_t>> steps;
  std::map<int64_t, LayerRecord> layers;

  /// Into `object`, beside what is there.
  void addTo(rt::Json &object) const;
  /// Reads it; fails with a message where it is not well formed, or of a newer
  /// version.
  static mlir::FailureOr<Record>
  parse(const rt::Json &object,
        llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
};

} // namespace moe::hf

#endif // MOE_FRONTENDS_HUGGINGFACE_RECORD_H
