#ifndef MOE_PASSES_KERNELS_PASSES_TD
#define MOE_PASSES_KERNELS_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertMoERTToKernelsPass : Pass<"convert-moert-to-kernels", "::mlir::ModuleOp"> {
  let summary = "Turn moert ops on memrefs into calls of generated kernels";
  let description = [{
    Every `moert` op on memrefs that has a kernel becomes a call of a private
    function, written for its static sizes and types; equal ops share one.
    Operands that are not dense are copied first.

    Fails on an op without a kernel, by name: such ops take
    `--convert-moert-to-linalg=keep-kernels` before bufferization.
  }];
  let options = [
    Option<"avx512", "avx512", "bool", "true",
           "vectors of 512 bits, else of 256">,
    Option<"splitVectors", "split-vectors", "bool", "false",
           "the processor has vectors of half the size (for tests)">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

#endif // MOE_PASSES_KERNELS_PASSES_TD
