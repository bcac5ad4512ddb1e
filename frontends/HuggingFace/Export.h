#ifndef MOE_FRONTENDS_HUGGINGFACE_EXPORT_H
#define MOE_FRONTENDS_HUGGINGFACE_EXPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "runtime/Bank/Checkpoint.h"
#include <functional>

namespace moe {
class BankOp;
} // namespace moe

namespace moe::hf {

struct ExportOptions {
  /// Weights beyond this go into several files, each at most that large (but
  /// for a single tensor).
  uint64_t shardBytes = 5000000000;
  /// What compression cost: members of a JSON object, for `moe_opt`.
  rt::Json facts;
  /// The bytes of a bank, derived ones too, and the end of their use.
  std::function<mlir::FailureOr<llvm::StringRef>(BankOp)> bytes;
  std::function<void(llvm::StringRef)> release;
  /// Called now and then: how many bytes of how many are written.
  std::function<void(uint64_t, uint64_t)> progress;
  /// Takes what the user should know about a folder that was written.
  std::function<void(const llvm::Twine &)> note;
};

/// Fails with a message where a checkpoint made of `source` cannot become
/// `folder`: it must be new, or an empty folder elsewhere.
mlir::LogicalResult checkFolder(llvm::StringRef folder,
                                const rt::Checkpoint &source,
                                mlir::Location loc);

/// Writes `module`, which importCheckpoint has made of `source`, as a folder in
/// the same layout. Weights are streamed; the folder appears when it is
/// complete. What the layout cannot say fails with a message that names it.
mlir::LogicalResult exportCheckpoint(mlir::ModuleOp module,
                                     const rt::Checkpoint &source,
                                     llvm::StringRef folder,
                                     const ExportOptions &options);

} // namespace moe::hf

#endif // MOE_FRONTENDS_HUGGINGFACE_EXPORT_H
