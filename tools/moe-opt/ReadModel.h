#ifndef MOE_TOOLS_MOEOPT_READMODEL_H
#define MOE_TOOLS_MOEOPT_READMODEL_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/SourceMgr.h"

namespace moe {
class WeightSource;

/// The module of a file of MLIR (`-` is standard input) or of ONNX, whose
/// archives are bound; their files are added to `files`. An error without text
/// is a diagnostic that was printed.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
readModel(llvm::StringRef path, llvm::SourceMgr &sources,
          mlir::MLIRContext &context, WeightSource &weights,
          std::vector<std::string> &files);

/// Binds the archives of `--bank`, each `name=path`.
llvm::Error bindBanks(llvm::ArrayRef<std::string> banks, WeightSource &weights);

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_READMODEL_H
