#ifndef MOE_TOOLS_MOEOPT_MEASURE_H
#define MOE_TOOLS_MOEOPT_MEASURE_H

#include "codegen/Compile.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace moe {

/// Compiles a copy of `module` into a temporary library, runs it on the texts,
/// and returns its mean bits per byte.
llvm::Expected<double> measureBits(mlir::ModuleOp module, WeightSource &weights,
                                   const CompileOptions &options,
                                   llvm::ArrayRef<std::string> texts);

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_MEASURE_H
