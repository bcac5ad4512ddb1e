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

#endif // MOE_PASSES_CONVERT_PASSES_TD
