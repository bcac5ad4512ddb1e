#ifndef MOE_TOOLS_MOEOPT_MEASURE_H
#define MOE_TOOLS_MOEOPT_MEASURE_H

#include "codegen/Compile.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace moe {

/// Compiles `module` into a temporary library, runs it on the texts, and
/// returns its mean bits per byte. Diagnostics are printed, or, where
/// `isQuiet`, the first error is the one returned.
llvm::Expected<double> measureBits(mlir::OwningOpRef<mlir::ModuleOp> module,
                                   WeightSource &weights,
                                   const CompileOptions &options,
                                   llvm::ArrayRef<std::string> texts,
                                   bool isQuiet = false);

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_MEASURE_H
