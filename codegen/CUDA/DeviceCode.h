#ifndef MOE_CODEGEN_CUDA_DEVICECODE_H
#define MOE_CODEGEN_CUDA_DEVICECODE_H

#include "codegen/CUDA/PoolAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace moe::cuda {
/// A kernel of `poolKernels`.
struct KernelFacts {
  std::string name;
  uint32_t threads, sharedBytes;
};

/// What a model with layers on a GPU is written with.
struct DeviceCode {
  std::string architecture;
  /// With a last line, a comment, from which `poolsOfPtx` reads the pools, and
  /// one for each kernel before it: "// moe-opt kernel: NAME THREADS BYTES".
  std::string ptx;
  std::vector<Pool> pools;
  std::vector<std::vector<KernelFacts>> kernels; ///< of each pool

  /// Where the weights of a layer are, and the expert of each id.
  struct Layer {
    uint64_t up, down;
    std::vector<int32_t> entries;
    uint32_t pool;
  };
  std::vector<Layer> layers;
};

/// Generates the kernels of the module's `moe.device_pools`.
llvm::Expected<DeviceCode> makeDeviceCode(mlir::ModuleOp module,
                                          llvm::StringRef architecture);

/// Fills in the layers, once weights have their places.
llvm::Error placeLayers(mlir::ModuleOp module, DeviceCode &code);

/// A module of the kernels of pools (the context has all dialects), those of
/// number i called "moe_i_sort" and so on, in the order of MOERT_KERNEL_SORT
/// and the others.
mlir::OwningOpRef<mlir::ModuleOp>
poolKernels(mlir::MLIRContext *context, llvm::ArrayRef<Pool> pools,
            std::vector<std::vector<KernelFacts>> &facts);

/// The pools whose kernels are in `ptx`; none where it is not ours.
std::vector<Pool> poolsOfPtx(mlir::MLIRContext *context, llvm::StringRef ptx);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_DEVICECODE_H
