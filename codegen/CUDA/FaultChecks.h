#ifndef MOE_CODEGEN_CUDA_FAULTCHECKS_H
#define MOE_CODEGEN_CUDA_FAULTCHECKS_H

#include "codegen/CUDA/OpKernels.h"

namespace moe::cuda {
/// What kernels cannot say when it happens: memory of the device in which they
/// note what they could not work with, looked at once, at the end of a block.
class FaultChecks {
public:
  /// Memory for `count` kernels that take faults, at the start of `block`.
  void place(mlir::Block &block, int64_t count);
  /// The number that is `kernel`'s.
  mlir::Value add(mlir::OpBuilder &builder, mlir::Location loc,
                  const OpKernel &kernel);
  /// Ends the run where one was noted.
  void check(mlir::Block &block);

private:
  struct Fault {
    std::string message, where;
  };
  llvm::SmallVector<Fault> faults;
  mlir::Value all; // a number for each
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_FAULTCHECKS_H
