#ifndef MOE_CODEGEN_CUDA_DEVICECODE_H
#define MOE_CODEGEN_CUDA_DEVICECODE_H

#include "codegen/CUDA/PoolAttributes.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace moe::cuda {
/// A kernel of `poolKernels`; without a name there is none.
struct KernelFacts {
  std::string name;
  uint32_t threads = 0, sharedBytes = 0;
  uint32_t mapRows = 0; ///< of moert_device_kernel
};

KernelFacts factsOf(moegpu::KernelOp kernel);

/// What a model with layers on a GPU is written with.
struct DeviceCode {
  std::string architecture;
  /// With last lines, comments, from which `kernelsOfPtx` makes them again, and
  /// one for each kernel of a pool: "// moe-opt kernel: NAME THREADS BYTES
  /// ROWS", as KernelFacts has them.
  std::string ptx;
  std::string cubin; ///< what an assembler made of it; empty: nothing
  std::vector<Pool> pools;
  std::vector<std::vector<KernelFacts>> poolKernels; ///< of each pool
  std::vector<KernelFacts> kernels;                  ///< of other ops

  /// Where parts of a matrix are; 0 those that it does not have.
  struct Place {
    uint64_t values, scales, zeros, bias;
  };
  /// Where the weights of a layer are, and the expert of each id.
  struct Layer {
    Place up, down, upLow, downLow;
    std::vector<int32_t> entries;
    uint32_t pool;
  };
  std::vector<Layer> layers;
  std::vector<std::string> layerNames; ///< of each layer, for people

  /// What moert.device_constant copies.
  struct Constant {
    std::string symbol; ///< of a bank, or of memory in the module
    uint64_t bytes;
    bool isWeight;
    uint64_t place; ///< in the weights
  };
  std::vector<Constant> constants;
};

/// Generates the kernels of the module's `moe.device_pools`, and takes those of
/// other ops out of it.
llvm::Expected<DeviceCode> makeDeviceCode(mlir::ModuleOp module,
                                          llvm::StringRef architecture);

/// Fills in layers and constants, once weights have their places.
llvm::Error placeLayers(mlir::ModuleOp module, DeviceCode &code);

/// A module of the kernels of pools (the context has all dialects), those of
/// number i called "moe_i_prepare" and so on, in the order of
/// MOERT_KERNEL_PREPARE and the others. Those for some and many tokens are
/// sm_90a's where `architecture` is.
mlir::OwningOpRef<mlir::ModuleOp>
poolKernels(mlir::MLIRContext *context, llvm::ArrayRef<Pool> pools,
            llvm::StringRef architecture,
            std::vector<std::vector<KernelFacts>> &facts);

/// The kernels that `ptx` was made from; null where it is not ours.
mlir::OwningOpRef<mlir::ModuleOp> kernelsOfPtx(mlir::MLIRContext *context,
                                               llvm::StringRef ptx);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_DEVICECODE_H
