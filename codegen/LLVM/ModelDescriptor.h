#ifndef MOE_CODEGEN_LLVM_MODELDESCRIPTOR_H
#define MOE_CODEGEN_LLVM_MODELDESCRIPTOR_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/IR/Module.h"

namespace moe {
namespace cuda {
struct DeviceCode;
}

/// An input or output of the model, as `moert_port` tells the runtime.
struct Port {
  std::string name;
  int32_t dtype;                   // ONNX's number
  llvm::SmallVector<int64_t> dims; // -1: dynamic
  llvm::SmallVector<std::string> symbols;
};

struct ModelSignature {
  llvm::SmallVector<Port> inputs, outputs;
};

/// The ports of @main (tensors or memrefs), from its `moe.name` and `moe.dims`
/// attributes. Fails where a type cannot cross the border.
mlir::FailureOr<ModelSignature> collectSignature(mlir::func::FuncOp main);

struct DescriptorText {
  std::string name, manifest, cpuFeatures;
  uint64_t weightsSize;
  const cuda::DeviceCode *device = nullptr; ///< null: the processor alone
};

/// Adds `moert_model_descriptor` and the function that unpacks tensors for
/// @main's C interface to `module`.
void emitDescriptor(llvm::Module &module, const ModelSignature &signature,
                    const DescriptorText &text);

} // namespace moe

#endif // MOE_CODEGEN_LLVM_MODELDESCRIPTOR_H
