#ifndef MOE_FRONTENDS_HUGGINGFACE_IMPORTER_H
#define MOE_FRONTENDS_HUGGINGFACE_IMPORTER_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "runtime/Bank/Checkpoint.h"

namespace moe::hf {

struct ImportedCheckpoint {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Where it came from. Files are archives of the module, by their names.
  rt::Checkpoint source;
};

/// Reads the checkpoint that `path` names (a folder, its config.json, or its
/// weights) into raised MoE layers without the model around them: a function
/// for each layer, from its tokens to its result, and `@rest`, which returns
/// all other tensors. Weights are banks that point into the files. Messages go
/// to the context's diagnostic engine.
mlir::FailureOr<ImportedCheckpoint>
importCheckpoint(llvm::StringRef path, mlir::MLIRContext &context);

} // namespace moe::hf

#endif // MOE_FRONTENDS_HUGGINGFACE_IMPORTER_H
