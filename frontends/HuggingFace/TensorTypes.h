#ifndef MOE_FRONTENDS_HUGGINGFACE_TENSORTYPES_H
#define MOE_FRONTENDS_HUGGINGFACE_TENSORTYPES_H

#include "mlir/IR/BuiltinTypes.h"

namespace moe::hf {

/// The element type of a safetensors type; BOOL is bytes.
mlir::Type elementOf(llvm::StringRef dtype, mlir::MLIRContext *context);
/// The other way round; empty where safetensors have no such type.
llvm::StringRef dtypeOf(mlir::Type element);

} // namespace moe::hf

#endif // MOE_FRONTENDS_HUGGINGFACE_TENSORTYPES_H
