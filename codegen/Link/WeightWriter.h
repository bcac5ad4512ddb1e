#ifndef MOE_CODEGEN_LINK_WEIGHTWRITER_H
#define MOE_CODEGEN_LINK_WEIGHTWRITER_H

#include "mlir/IR/BuiltinOps.h"
#include <memory>

namespace moe {
class WeightSource;

/// Hears of bytes done and bytes in all.
using WeightProgress = llvm::function_ref<void(uint64_t, uint64_t)>;

/// Writes every placed bank (`moe-place-weights`) of a module: those of
/// archives are copied, derived ones made by their recipe, a piece at a time;
/// mapped pages are released on the way, so that memory stays flat however
/// large the model is.
///
/// It begins at once, on threads of its own, while code for the module is still
/// being made: what needs work is made ahead, as far as a limit on memory goes.
/// Until it is gone the source is its own, and the functions of the module, but
/// not its banks, may change.
class WeightWriter {
public:
  WeightWriter(mlir::ModuleOp module, WeightSource &source);
  /// Stops where `write` has not been called.
  ~WeightWriter();

  /// Writes all into `fd`, which messages call `path`, places counted from
  /// `offset`. Fails with a diagnostic.
  mlir::LogicalResult write(llvm::StringRef path, int fd, uint64_t offset,
                            WeightProgress progress);

private:
  class Job;
  std::unique_ptr<Job> job;
};

} // namespace moe

#endif // MOE_CODEGEN_LINK_WEIGHTWRITER_H
