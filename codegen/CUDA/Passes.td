#ifndef MOE_CODEGEN_CUDA_PASSES_TD
#define MOE_CODEGEN_CUDA_PASSES_TD

include "mlir/Pass/PassBase.td"

def MoEGPUToNVVMPass : Pass<"moegpu-to-nvvm", "::mlir::ModuleOp"> {
  let summary = "Kernels for the GPU: moegpu to NVVM";
  let description = [{
    Kernels become `llvm.func`s with the attributes that NVIDIA's back end
    wants; `arith`, `scf` and `vector` between stay for upstream passes. What
    the NVVM dialect lacks is inline PTX (`InlinePtx.h`).
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::arith::ArithDialect", "::mlir::vector::VectorDialect"];
}

def MoEGPUToEmulatorPass : Pass<"moegpu-to-emulator", "::mlir::ModuleOp"> {
  let summary = "Kernels for the processor: moegpu to calls of the emulator";
  let description = [{
    Kernels become `llvm.func`s of one pointer, to pointers to the arguments,
    as the driver takes them; every op becomes a call of
    `runtime/Emulator/EmulatorAbi.h`, and every access of memory passes by it.
    Its last argument, the site, is the kernel's name and the op's number and
    name in it.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect",
                           "::mlir::arith::ArithDialect", "::mlir::vector::VectorDialect"];
}

def OffloadExpertsPass : Pass<"moert-offload-experts", "::mlir::ModuleOp"> {
  let summary = "Let a device compute the experts that it has kernels for";
  let description = [{
    Each `moert.expert_ffn` on memory that the kernels of `codegen/CUDA` can
    compute is tried by `moert.offload` first, and done by the processor where
    that has no device. What the kernels need is left in two attributes of the
    module: `moe.device_pools`, the different shapes, and `moe.device_layers`,
    the weights and entries of each layer. A remark (`moe-offload`) says why others
    stay, as does their attribute `moe.not_offloaded`.
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
  let options = [Option<"tf32", "tf32", "bool", "false",
      "Round products of f32 numbers of many tokens to 10 bits">];
}

#endif // MOE_CODEGEN_CUDA_PASSES_TD
