#ifndef MOE_PASSES_RAISE_PASSES_TD
#define MOE_PASSES_RAISE_PASSES_TD

include "mlir/Pass/PassBase.td"

def RaiseExpertsPass : Pass<"moe-raise-experts", "::mlir::ModuleOp"> {
  let summary = "Recognise MoE layers in ONNX graphs and raise them to moe ops";
  let description = [{
    Replaces every MoE layer of `onnx` nodes by `moe.router`, `moe.gate` and
    `moe.apply` over a new `moe.pool`. Two ways in:

    - the operators `MoE` and `QMoE` of `com.microsoft` say what they are;
    - layers of plain operators are found by their experts (small MLPs of
      constant weights over one input) and their router (a linear layer whose
      result ends in a TopK or a maximum). What lies between, however it is
      spelled, is *measured*: the nodes are evaluated with chosen logits and
      stand-in experts, which gives the weight of every expert for every
      token. A gate that explains the measurements is then proved on other
      inputs (ties, empty experts, extreme logits, one token, none).

    A remark (`moe-raise`) says what was raised, or why not; what is not
    raised stays as it is and compiles on the generic road. A layer whose
    file lost experts is an error: it cannot be what its author meant.

    ```mlir
    %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %logits, %fc1, %none, %fc2) {k = 2 : i64, ...}
    // becomes
    %ids, %w = moe.gate softmax %logits over @layer0 top_k 2 : ...
    %y = moe.apply @layer0 %x ids %ids weights %w : ...
    ```
  }];
  let dependentDialects = ["::moe::MoEDialect", "::moe::onnx::OnnxDialect"];
}

def RaiseProjectionsPass : Pass<"moe-raise-projections", "::mlir::ModuleOp"> {
  let summary = "Raise products with a weight to moert.gemm";
  let description = [{
    `MatMul` of activations by a constant matrix (a weight, or a `Cast` of one
    to f32: narrow storage is kept) becomes `moert.gemm` over rows, with the
    leading dimensions folded into one around it.

    ```mlir
    %w = moe.weight @w : tensor<192x64xbf16>
    %f = onnx.node "Cast" v 19 (%w) {to = 1 : i64} : (tensor<192x64xbf16>) -> tensor<192x64xf32>
    %y = onnx.node "MatMul" v 13 (%x, %f) : (tensor<?x?x192xf32>, tensor<192x64xf32>) -> tensor<?x?x64xf32>
    // becomes
    %rows = tensor.collapse_shape %x [[0, 1], [2]] : ...
    %p = moert.gemm ins(%rows, %w : tensor<?x192xf32>, tensor<192x64xbf16>) outs(...) -> tensor<?x64xf32>
    %y = tensor.reshape %p(%sizes) : ...
    ```
  }];
  let dependentDialects = ["::moe::moert::MoERTDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

#endif // MOE_PASSES_RAISE_PASSES_TD
