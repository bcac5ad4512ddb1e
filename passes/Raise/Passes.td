#ifndef MOE_PASSES_RAISE_PASSES_TD
#define MOE_PASSES_RAISE_PASSES_TD

include "mlir/Pass/PassBase.td"

def UnrollLoopsPass : Pass<"moe-unroll-loops", "::mlir::ModuleOp"> {
  let summary = "Unroll loops that go through experts";
  let description = [{
    A `Loop` of constant trip count that nothing ends early, whose body takes
    another matrix of a stored stack in each iteration, becomes that many
    copies of the body: then its experts are branches like those of other
    files, and `moe-raise-experts` can find them. Loops with scan outputs and
    all others stay.

    ```mlir
    %y = onnx.node "Loop" v 16 (%two, %true, %x) do {
    ^bb0(%i: tensor<i64>, %go: tensor<i1>, %a: tensor<?x4xf32>):
      %w = onnx.node "Gather" v 13 (%weights, %i) : ...
      ...
    }
    // becomes
    %w0 = onnx.node "Gather" v 13 (%weights, %c0) : ...
    ...
    %w1 = onnx.node "Gather" v 13 (%weights, %c1) : ...
    ```
  }];
  let dependentDialects = ["::moe::onnx::OnnxDialect"];
}

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

def RaiseShapesPass : Pass<"moe-raise-shapes", "::mlir::ModuleOp"> {
  let summary = "Write down the sizes that follow from the graph";
  let description = [{
    Exporters leave sizes open that follow from others: a Reshape to
    `[batch, seq, -1, 32]` of 192 features has 6 heads. Sizes are followed
    through the function as polynomials in its open sizes, also through the
    integer tensors in which graphs compute shapes; those that are constant
    become part of the types. The later passes rely on it. Where a Reshape's -1
    stays open, `moe.open_dims` lists dimensions of its input whose product it
    is, where such are found: the number of elements tells nothing when it is 0.
    A size that is 0 in a run stays 0 (`allowzero`): only a 0 in the file asks
    for a copy of the input's size.
  }];
  let dependentDialects = ["::moe::onnx::OnnxDialect"];
}

def RaiseNormsPass : Pass<"moe-raise-norms", "::mlir::ModuleOp"> {
  let summary = "Raise normalisations to moert.rms_norm and moert.layer_norm";
  let description = [{
    Every mean over features is followed to the values that depend on nothing
    but one tensor x and constants. The last that is x normalised, times a
    vector, plus a vector, becomes a moert op. That it is, and with which
    epsilon and vectors, is measured: the nodes are evaluated on rows of
    several magnitudes. So the spelling does not matter. f32 only.

    Also takes `LayerNormalization`, `RMSNormalization` and their relatives of
    `com.microsoft`.
  }];
  let dependentDialects = ["::moe::moert::MoERTDialect",
                           "::moe::onnx::OnnxDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

def RaiseRotaryPass : Pass<"moe-raise-rotary", "::mlir::ModuleOp"> {
  let summary = "Raise rotary positions to moert.rope";
  let description = [{
    Sines and cosines of multiples of an integer tensor of positions are
    followed to the products with tensors of heads, and these to the last
    value that is the heads rotated pair by pair. Frequencies, pairing (halves
    or neighbours), layout (heads or rows first) and the number of rotated
    features are measured; the table of angles becomes one
    `moert.rope_table`.
  }];
  let dependentDialects = ["::moe::moert::MoERTDialect",
                           "::moe::onnx::OnnxDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

def RaiseRowsPass : Pass<"moe-raise-rows", "::mlir::ModuleOp"> {
  let summary = "Raise embeddings and appends to caches";
  let description = [{
    `Gather` of rows of a weight becomes `moert.embed`; `Concat` of an argument
    `[B, heads, P, D]` and new rows becomes `moert.kv_append`.

    ```mlir
    %y = onnx.node "Concat" v 13 (%past, %new) {axis = 2 : i64} : (tensor<?x2x?x32xf32>, tensor<?x2x?x32xf32>) -> tensor<?x2x?x32xf32>
    // becomes
    %rows = onnx.node "Transpose" v 13 (%new) {perm = array<i64: 0, 2, 1, 3>} : ...
    %y = moert.kv_append past(%past : ...) ins(%rows : ...) outs(...) -> tensor<?x2x?x32xf32>
    ```
  }];
  let dependentDialects = ["::moe::moert::MoERTDialect",
                           "::moe::onnx::OnnxDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect",
                           "::mlir::tensor::TensorDialect"];
}

def RaiseAttentionPass : Pass<"moe-raise-attention", "::mlir::ModuleOp"> {
  let summary = "Raise softmax between two products to moert.attention";
  let description = [{
    A `Softmax` of products (with factors, a cap and masks) whose result goes
    into another product becomes `moert.attention`, where measuring shows that
    it is: queries, keys and values are followed to tensors of heads that the
    graph only moves, repeats and scales; the masks are evaluated with
    equal scores, which shows whether they are causal, a window or a mask of
    keys. A mask of another kind that is added stays a bias. What was found is
    proved on random heads, padded and empty rows included.
  }];
  let dependentDialects = ["::moe::moert::MoERTDialect",
                           "::moe::onnx::OnnxDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect",
                           "::mlir::tensor::TensorDialect"];
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
