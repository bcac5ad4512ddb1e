#ifndef MOE_PASSES_COMPRESS_OUTPUTERROR_H
#define MOE_PASSES_COMPRESS_OUTPUTERROR_H

#include "passes/Compress/Calibration.h"
#include "llvm/ADT/StringMap.h"
#include <optional>

namespace moe {

/// How far the outputs of MoE layers have moved, on a profile's sample.
class OutputError {
public:
  /// Keeps what the layers of the module make of at most 256 rows each. Those
  /// that cannot be evaluated are left out, with a remark: measuring refuses no
  /// step.
  static mlir::FailureOr<OutputError>
  of(mlir::ModuleOp module, const Profile &profile, WeightSource &weights);

  struct Result {
    /// `|Z' - Z| / |Z|`, root mean square over the layers; 1 for those that
    /// are gone; nothing where none has been evaluated.
    std::optional<double> error;
    /// Experts that run per token, by layer: what skip rules and null experts
    /// save is not among them.
    llvm::StringMap<double> slots;
  };
  /// Those of the module that it keeps.
  const llvm::StringMap<double> &getSlots() const { return slots; }
  /// Is there a layer that could be evaluated?
  bool measuresAny() const { return !before.empty(); }
  mlir::FailureOr<Result> measure(mlir::ModuleOp module, const Profile &profile,
                                  WeightSource &weights) const;

private:
  llvm::StringMap<Numbers> before;
  llvm::StringMap<double> slots;
};

} // namespace moe

#endif // MOE_PASSES_COMPRESS_OUTPUTERROR_H
