#ifndef MOE_CODEGEN_CUDA_KERNELS_H
#define MOE_CODEGEN_CUDA_KERNELS_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <vector>

namespace moe::cuda {
/// Fails where kernels cannot be generated for `arch`, and says which are
/// known.
llvm::Error checkArchitecture(llvm::StringRef arch);

/// Whether the tensor cores of `arch` multiply E4M3 numbers: from sm_89 on.
bool multipliesE4M3(llvm::StringRef arch);

/// PTX of all kernels of `kernels`, a module of `moegpu.kernel`s, for
/// architecture `arch` ("sm_80", "sm_90a"). In process; no toolkit. Fails where
/// LLVM does not know the architecture; diagnostics of passes go to the
/// context.
llvm::Expected<std::string> emitPtx(mlir::ModuleOp kernels,
                                    llvm::StringRef arch);
/// The same for several, in their order, which takes less than one by one.
llvm::Expected<std::vector<std::string>>
emitPtx(mlir::ModuleOp kernels, llvm::ArrayRef<llvm::StringRef> archs);

/// The kernels of a module, compiled for this processor and the emulator
/// (runtime/Emulator).
class EmulatedKernels {
public:
  using Entry = void (*)(void **arguments);

  static llvm::Expected<std::unique_ptr<EmulatedKernels>>
  compile(mlir::ModuleOp kernels);
  virtual ~EmulatedKernels() = default;

  /// What runs one thread of the kernel `name`; null where there is none.
  virtual Entry find(llvm::StringRef name) = 0;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_KERNELS_H
