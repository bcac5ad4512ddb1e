#ifndef MOE_FRONTENDS_ONNX_IMPORTER_H
#define MOE_FRONTENDS_ONNX_IMPORTER_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"

namespace moe::onnx {

struct ImportedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Logical archive name (as in `moe.archives`) -> file.
  llvm::StringMap<std::string> archives;
};

/// Reads the ONNX model at `path` into phase `imported`: one `func.func @main`
/// of `onnx` ops, weights as `moe.bank` symbols that point into the model file
/// and its external data. Messages go to the context's diagnostic engine; their
/// location is the file and, as the line, the node's place in it (from 1).
mlir::FailureOr<ImportedModel> importModel(llvm::StringRef path,
                                           mlir::MLIRContext &context);

/// The same for a model that is already in memory; external data lies in the
/// folder of `path`, which names the model in messages.
mlir::FailureOr<ImportedModel> importBuffer(llvm::StringRef buffer,
                                            llvm::StringRef path,
                                            mlir::MLIRContext &context);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_IMPORTER_H
