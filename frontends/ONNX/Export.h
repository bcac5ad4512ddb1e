#ifndef MOE_FRONTENDS_ONNX_EXPORT_H
#define MOE_FRONTENDS_ONNX_EXPORT_H

#include "mlir/IR/BuiltinOps.h"
#include <functional>

namespace moe {
class BankOp;
} // namespace moe

namespace moe::onnx {

/// How MoE layers are spelled.
enum class MoEForm {
  /// `com.microsoft.MoE` and `QMoE` where they mean the same and ONNX Runtime
  /// reads them right, else standard operators.
  Contrib,
  /// Standard operators only.
  Standard
};

struct ExportOptions {
  MoEForm form = MoEForm::Contrib;
  /// Weights go to `<path>.data`; also done where they exceed 1 GiB.
  bool externalData = false;
  /// The bytes of a bank, derived ones too, and the end of their use.
  std::function<mlir::FailureOr<llvm::StringRef>(BankOp)> bytes;
  std::function<void(llvm::StringRef)> release;
  /// Hears, once the graph is made, which banks will be read, in order.
  std::function<void(llvm::ArrayRef<BankOp>)> expect;
  /// Called now and then: how many bytes of how many are written.
  std::function<void(uint64_t, uint64_t)> progress;
};

/// Writes `module` (phase `imported`, MoE layers raised) as an ONNX model.
/// Weights are streamed; files appear when they are complete, the external data
/// before the model. What ONNX cannot say fails with a message that names it.
mlir::LogicalResult exportModel(mlir::ModuleOp module, llvm::StringRef path,
                                const ExportOptions &options);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_EXPORT_H
