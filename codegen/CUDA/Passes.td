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

def RunOnDevicePass : Pass<"moert-run-on-device", "::mlir::ModuleOp"> {
  let summary = "Let a device run what there are kernels for";
  let description = [{
    Where a layer of experts of @main has kernels (`codegen/CUDA`), @main gets a
    second body for runs with a device (`moert.on_device`): every op with kernels is launched, its memory is
    the device's, and what the processor computes in between is copied there and
    back. The first body stays for runs without one. Layers inside loops
    are tried one by one.

    What the kernels need is left in attributes of the module:
    `moe.device_pools`, the shapes of layers and matrices, `moe.device_layers`, their
    weights and entries (and `moe.device_layer_names`, for people), and `moe.device_kernels`, names of kernels in the
    module @moe_device_kernels. A remark (`moe-device`) says why layers stay, as does
    their attribute `moe.not_offloaded`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::moe::moegpu::MoEGPUDialect", "::mlir::scf::SCFDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
  let options = [Option<"tf32", "tf32", "bool", "false",
      "Round products of f32 numbers of many tokens to 10 bits">,
    Option<"fp8Inputs", "fp8-inputs", "bool", "false",
      "Round inputs and hidden values of fp8 experts to fp8">];
}

#endif // MOE_CODEGEN_CUDA_PASSES_TD
