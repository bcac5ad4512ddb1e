#ifndef MOE_TOOLS_MOEOPT_BASEMODEL_H
#define MOE_TOOLS_MOEOPT_BASEMODEL_H

#include "mlir/IR/DialectRegistry.h"
#include "passes/Compress/RouterNorms.h"
#include "llvm/Support/Error.h"

namespace moe {

/// The routers of the model of `--base`: ONNX, raised text or a checkpoint;
/// `banks` are those of `--bank`. An error without text has been reported as a
/// diagnostic.
llvm::Expected<RouterNorms> readBase(llvm::StringRef path,
                                     llvm::ArrayRef<std::string> banks,
                                     const mlir::DialectRegistry &registry);

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_BASEMODEL_H
