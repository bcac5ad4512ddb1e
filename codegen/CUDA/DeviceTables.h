#ifndef MOE_CODEGEN_CUDA_DEVICETABLES_H
#define MOE_CODEGEN_CUDA_DEVICETABLES_H

#include "codegen/CUDA/PoolOfExperts.h"
#include "mlir/IR/BuiltinOps.h"

namespace moe::cuda {
/// What a model has on the device, as the module's attributes list it.
class DeviceTables {
public:
  DeviceTables(mlir::ModuleOp module, MayRound allowed);

  /// Whether layers round what they multiply, so that the rest may, too.
  bool mayRound() const { return isRounding; }

  /// Whether there are kernels for `op`.
  bool has(moert::ExpertFfnOp op) const {
    llvm::StringRef why;
    return poolOf(op, allowed, why).has_value();
  }
  /// The number of the layer that `op` is, or nothing with the reason in `why`.
  std::optional<int64_t> layerOf(moert::ExpertFfnOp op, llvm::StringRef &why);
  std::optional<int64_t> layerOf(moert::GemmOp op, llvm::StringRef &why);
  /// The number of a kernel of `kernels()`.
  int64_t kernelNumber(llvm::StringRef name);
  /// Where kernels of ops go.
  mlir::ModuleOp kernels();
  /// Writes the attributes; nothing where there are no layers and kernels.
  void write();

private:
  int64_t add(mlir::Operation *op, const Pool &pool,
              llvm::ArrayRef<int64_t> entries,
              llvm::ArrayRef<std::pair<llvm::StringRef, mlir::Value>> parts);

  mlir::Builder builder;
  mlir::ModuleOp module, own;
  MayRound allowed;
  bool isRounding;
  llvm::SmallVector<mlir::Attribute> pools, layers, layerNames, names;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_DEVICETABLES_H
