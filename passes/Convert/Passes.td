#ifndef MOE_PASSES_CONVERT_PASSES_TD
#define MOE_PASSES_CONVERT_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertOnnxToLinalgPass : Pass<"convert-onnx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Turn onnx ops into linalg on tensors";
  let description = [{
    The generic road: every `onnx.node` becomes linalg, tensor and scf ops
    with dynamic shapes, one element at a time, so that any operator of the
    table runs, however it is used. What a run alone can show (an index
    outside, sizes that do not fit) becomes a `cf.assert` that names the node.
    Unsigned integers become signless.

    Fails on the first operator that has no lowering, by name.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def WidenFloatsPass : Pass<"moe-widen-floats", "::mlir::ModuleOp"> {
  let summary = "Compute all floats in f64";
  let description = [{
    For the oracle in f64: every float value of a function narrower than f64
    becomes f64, constants included. Only the border keeps its types: arguments
    are widened as they come in, results are rounded as they go out, weights are
    widened as they are read. Roundings in between (Cast to f16, f16
    arithmetic) disappear, but for those of angles: arguments of Sin and Cos.

    Runs between raising and `--convert-onnx-to-linalg`.

    ```mlir
    func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
      %y = onnx.node "Exp" v 13 (%x) : (tensor<?xf32>) -> tensor<?xf32>
    // becomes
      %wide = onnx.node "Cast" v 13 (%x) : (tensor<?xf32>) -> tensor<?xf64>
      %y = onnx.node "Exp" v 13 (%wide) : (tensor<?xf64>) -> tensor<?xf64>
      %z = onnx.node "Cast" v 13 (%y) : (tensor<?xf64>) -> tensor<?xf32>
    ```
  }];
  let dependentDialects = ["::moe::onnx::OnnxDialect"];
}

def ConvertMoEToMoERTPass : Pass<"convert-moe-to-moert", "::mlir::ModuleOp"> {
  let summary = "Turn moe layers into the kernel families that run them";
  let description = [{
    `moe.router linear` becomes `moert.gemm`, `moe.gate` `moert.route`,
    `moe.apply` a chain of `moert.expert_ffn`, one per kind of experts, whose
    weights are derived banks: panels of `width` columns, gate and up
    interleaved, quantised ones as they are. Null experts have no matrices; what
    those that copy or are constant add starts the sum.

    What the kernels cannot do yet is refused, by op and feature.
  }];
  let options = [Option<"width", "width", "int64_t", "32", "columns of a panel">];
  let dependentDialects = [
    "::moe::moert::MoERTDialect", "::mlir::arith::ArithDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"];
}

def ConvertMoERTToLinalgPass : Pass<"convert-moert-to-linalg", "::mlir::func::FuncOp"> {
  let summary = "Turn moert ops on tensors into plain loops";
  let description = [{
    The oracle of the kernels: every `moert` op that computes, with plain or
    packed weights, as linalg and scf. Ids outside an embedding's table end the
    run through `cf.assert`. With `keep-kernels`, ops that
    `--convert-moert-to-kernels` can turn into kernels stay.
  }];
  let options = [
    Option<"keepKernels", "keep-kernels", "bool", "false",
           "only ops that have no kernel">,
    Option<"avx512", "avx512", "bool", "true",
           "kernels would have vectors of 512 bits, else of 256">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::mlir::vector::VectorDialect"];
}

#endif // MOE_PASSES_CONVERT_PASSES_TD
