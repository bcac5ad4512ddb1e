#ifndef MOE_DIALECTS_MOE_MOERECIPES_TD
#define MOE_DIALECTS_MOE_MOERECIPES_TD

include "dialects/MoE/MoEAttrs.td"

// Recipes of derived banks. A source is a #moe.slice or another recipe; the
// bank's own type says what comes out.

def MoE_MixAttr : MoE_Attr<"Mix", "mix"> {
  let summary = "Recipe: weighted sum of equal shapes";
  let description = [{
    `sum_i weights[i] * sources[i]`, in f64, rounded once. Merged experts and router
    rows, averaged models.

    ```mlir
    #moe.mix<[#moe.slice<@up[0]>, #moe.slice<@up[3]>], [0.75, 0.25]>
    ```
  }];
  let parameters = (ins "::mlir::ArrayAttr":$sources,
                        "::mlir::ArrayAttr":$weights);
  let assemblyFormat = "`<` $sources `,` $weights `>`";
  let genVerifyDecl = 1;
}

def MoE_StackAttr : MoE_Attr<"Stack", "stack"> {
  let summary = "Recipe: sources one after the other, in a new first dimension";
  let description = [{
    ```mlir
    #moe.stack<[#moe.slice<@up[0]>, #moe.slice<@up[2]>]>
    ```
  }];
  let parameters = (ins "::mlir::ArrayAttr":$sources);
  let assemblyFormat = "`<` $sources `>`";
  let genVerifyDecl = 1;
}

def MoE_PermuteAttr : MoE_Attr<"Permute", "permute"> {
  let summary = "Recipe: entries of one dimension in another order, or some of them";
  let description = [{
    Entry i of dimension `dim` is entry `order[i]` of the source. Alignment of
    hidden units, splitting a dense FFN by importance, dropped rows.

    ```mlir
    #moe.permute<#moe.slice<@up[1]>, dim = 0, order = [2, 0, 1]>
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$source, "int64_t":$dim,
                        "::mlir::DenseI64ArrayAttr":$order);
  let assemblyFormat = [{
    `<` $source `,` `dim` `=` $dim `,` `order` `=` $order `>`
  }];
  let genVerifyDecl = 1;
}

def MoE_LowRankAttr : MoE_Attr<"LowRank", "low_rank"> {
  let summary = "Recipe: one factor of the best approximation of low rank";
  let description = [{
    With the singular value decomposition A S B^T of the `[out, in]` source,
    factor `left` is A sqrt(S), `right` sqrt(S) B^T, cut to `rank`; `rest` is the
    source minus their product.

    ```mlir
    #moe.low_rank<#moe.slice<@up[0]>, rank = 16, factor = "left">
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$source, "int64_t":$rank,
                        "::mlir::StringAttr":$factor);
  let assemblyFormat = [{
    `<` $source `,` `rank` `=` $rank `,` `factor` `=` $factor `>`
  }];
  let genVerifyDecl = 1;
}

def MoE_QuantizeAttr : MoE_Attr<"Quantize", "quantize"> {
  let summary = "Recipe: quantised values, scales or zero points of a matrix";
  let description = [{
    Symmetric, `scale = max |w| / (2^(bits - 1) - 1)` per block of `block` inputs (0:
    per row), rounded half to even; `part` is `values`, packed as `#moe.quant` says, or
    `scales`.

    ```mlir
    #moe.quantize<#moe.slice<@up[0]>, bits = 4, block = 32, part = "values">
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$source, "int64_t":$bits,
                        "int64_t":$block, "::mlir::StringAttr":$part);
  let assemblyFormat = [{
    `<` $source `,` `bits` `=` $bits `,` `block` `=` $block `,` `part` `=` $part `>`
  }];
  let genVerifyDecl = 1;
}

#endif // MOE_DIALECTS_MOE_MOERECIPES_TD
