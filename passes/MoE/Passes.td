#ifndef MOE_PASSES_MOE_PASSES_TD
#define MOE_PASSES_MOE_PASSES_TD

include "mlir/Pass/PassBase.td"

def DequantizeExpertsPass : Pass<"moe-dequantize-experts", "::mlir::ModuleOp"> {
  let summary = "Store quantised and factored experts as plain numbers";
  let description = [{
    Gives every quantised or factored matrix of an expert a derived bank of its own, made
    when the artefact is written (`#moe.mix` of the slice alone). For targets
    whose kernels do not read quantised weights; storage grows to the size of
    the plain numbers. With `keep-coded` what kernels with panels of so many
    columns read stays as it is.

    ```mlir
    moe.expert @e0 ffn relu up @q[0] quant<bits = 4, block = 32, scales = <@s[0]>> down @d[0]
    // becomes
    moe.bank @q_e0_up recipe(#moe.mix<[#moe.slice<@q[0] quant<...>>], [1.0]>) : tensor<48x16xf32>
    moe.expert @e0 ffn relu up @q_e0_up down @d[0]
    ```
  }];
  let dependentDialects = ["::moe::MoEDialect"];
  let options = [
    Option<"type", "type", "std::string", /*default=*/"\"f32\"",
           "Element type of the plain numbers: f32, f16 or bf16">,
    Option<"keepCoded", "keep-coded", "int64_t", /*default=*/"0",
           "Keep what kernels read in panels of that many columns (0: nothing)">
  ];
}

def InstrumentPass : Pass<"moe-instrument", "::mlir::ModuleOp"> {
  let summary = "Observe layers for the profile";
  let description = [{
    Puts `moe.observe` on logits, ids, weights, inputs and outputs of each
    layer, and on the residual stream before and after it and its block, right
    behind `--moe-raise-experts`. No result depends on them, and no pattern looks
    for the values' only use. What is not found gets a remark and is not measured.

    ```mlir
    %logits = moe.router linear %x weight(...) : ...
    moe.observe logits "layers.0" score softmax %logits : tensor<?x8xf32>
    %ids, %weights = moe.gate softmax %logits over @moe0 top_k 2 layer "layers.0" : tensor<?x8xf32>
    moe.observe choice "layers.0" over @moe0 %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
    ```
  }];
  let dependentDialects = ["::moe::MoEDialect"];
  let options = [
    Option<"gram", "gram", "bool", /*default=*/"false",
           "Also sum the products of input features, H x H numbers per layer">
  ];
}

def ExpandVariantsPass : Pass<"moe-expand-variants", "::mlir::ModuleOp"> {
  let summary = "Give each storage variant an entry of its own";
  let description = [{
    A run over E entries that takes `variants` becomes a run over 2 E (or more) without: entry
    `v E + e` is storage v of entry e, and ids are moved there. Entries that have
    no such storage become aliases. Kernels then need not know of variants.

    ```mlir
    %y = moe.apply @ffn %x ids %ids weights %w variants %v : ...
    // becomes
    %moved = ... %ids + 2 * %v, where %ids >= 0
    %y = moe.apply @ffn.variants %x ids %moved weights %w : ...
    ```
  }];
  let dependentDialects = ["::moe::MoEDialect", "::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

#endif // MOE_PASSES_MOE_PASSES_TD
