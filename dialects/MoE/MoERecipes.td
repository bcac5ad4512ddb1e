#ifndef MOE_DIALECTS_MOE_MOERECIPES_TD
#define MOE_DIALECTS_MOE_MOERECIPES_TD

include "dialects/MoE/MoEAttrs.td"
include "dialects/MoE/MoEEnums.td"

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
    source minus their product. With `moments` (a slice or recipe of `[in]`
    mean squares of the inputs) the error is weighted by them: the source's
    columns are multiplied by their roots, and the right factor's divided.

    ```mlir
    #moe.low_rank<#moe.slice<@up[0]>, rank = 16, factor = "left">
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$source, "int64_t":$rank,
                        "::mlir::StringAttr":$factor,
                        OptionalParameter<"::mlir::Attribute">:$moments);
  let assemblyFormat = [{
    `<` $source `,` `rank` `=` $rank `,` `factor` `=` $factor
    (`,` `moments` `=` $moments^)? `>`
  }];
  let genVerifyDecl = 1;
}

def MoE_QuantizeAttr : MoE_Attr<"Quantize", "quantize"> {
  let summary = "Recipe: quantised values, scales or zero points of a matrix";
  let description = [{
    A block of `block` inputs (0: a row) of the source becomes codes of `bits`
    bits with one scale, as `#moe.quant` reads them; `part` is `values` (several
    to a byte along k), `scales` or `zeros`.

    - `code` `int`: `round(w / scale)`, half to even, in -(2^(bits-1)) ... 2^(bits-1) - 1,
      stored plus `2^(bits-1)` in `ui8`; `scale = max |w| / (2^(bits-1) - 1)`. `asymmetric`:
      `scale = (max - min) / (2^bits - 1)` over the block's range with 0 in it, and a zero point.
    - `fp4`: the nearest E2M1 number of `w / scale`; the scale is the power of two
      `2^(floor(log2 max |w|) - 2)` (OCP Microscaling Formats 1.0, section 6.3)
    - `nf4`: the nearest of QLoRA's 16 numbers (arXiv 2305.14314, appendix E), `scale = max |w|`
    - `fp8`: E4M3 numbers, `scale = max |w| / 448`

    With `moments` (`[in]` mean squares of the inputs) the scale of each block is
    searched between 0.6 and 1 times that (`fp4`: that power of two or the next)
    for the least sum of `moments[k] (w - w')^2`. With `gram` (`[in, in]` sums of
    products of the inputs, to any scale), inputs are rounded one after the other, and
    what one loses is made up for by the later ones (GPTQ, arXiv 2210.17323, section 3); where there
    are no `moments`, the diagonal of `gram` takes their place.

    ```mlir
    #moe.quantize<#moe.slice<@up[0]>, bits = 4, block = 32, part = "values">
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$source, "int64_t":$bits,
                        "int64_t":$block, "::mlir::StringAttr":$part,
                        OptionalParameter<"::mlir::StringAttr">:$code,
                        DefaultValuedParameter<"bool", "false">:$asymmetric,
                        OptionalParameter<"::mlir::Attribute">:$moments,
                        OptionalParameter<"::mlir::Attribute">:$gram);
  let assemblyFormat = [{
    `<` $source `,` `bits` `=` $bits `,` `block` `=` $block `,` `part` `=` $part
    (`,` struct($code, $asymmetric, $moments, $gram)^)? `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The code's name, "int" where none is given.
    ::llvm::StringRef getCodeName() {
      return getCode() ? getCode().getValue() : "int";
    }
  }];
}

def MoE_SparsifyAttr : MoE_Attr<"Sparsify", "sparsify"> {
  let summary = "Recipe: a matrix with its least important numbers zero";
  let description = [{
    Keeps `n` of every `m` neighbouring inputs of a row (`m` = 0: `n` of the whole
    row): those with the greatest `|w| sqrt(moments[k])` (Wanda, arXiv
    2306.11695), or `|w|` without moments; ties go to the lower input.

    ```mlir
    #moe.sparsify<#moe.slice<@up[0]>, n = 2, m = 4>
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$source, "int64_t":$n, "int64_t":$m,
                        OptionalParameter<"::mlir::Attribute">:$moments);
  let assemblyFormat = [{
    `<` $source `,` `n` `=` $n `,` `m` `=` $m (`,` `moments` `=` $moments^)? `>`
  }];
  let genVerifyDecl = 1;
}

def MoE_HiddenAttr : MoE_Attr<"Hidden", "hidden"> {
  let summary = "Recipe: what an expert's last matrix reads";
  let description = [{
    For rows `inputs` `[rows, in]`, `[rows, hidden]`: `a(up x + up_bias)`, and with
    `gate` `a(gate x + gate_bias) * (up x + up_bias + beta)`; activation and
    constants as in `moe.expert`.

    ```mlir
    #moe.hidden<inputs = #moe.slice<@sample>, up = #moe.slice<@up[0]>, activation = relu>
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$inputs, "::mlir::Attribute":$up,
                        EnumParameter<MoE_Activation>:$activation,
                        OptionalParameter<"::mlir::Attribute">:$gate,
                        OptionalParameter<"::mlir::Attribute">:$up_bias,
                        OptionalParameter<"::mlir::Attribute">:$gate_bias,
                        OptionalParameter<"::mlir::FloatAttr">:$alpha,
                        OptionalParameter<"::mlir::FloatAttr">:$beta,
                        OptionalParameter<"::mlir::FloatAttr">:$limit);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def MoE_GramAttr : MoE_Attr<"Gram", "gram"> {
  let summary = "Recipe: sums of products of columns";
  let description = [{
    `sum_r source[r, i] source[r, j]` of `[rows, n]` numbers, `[n, n]`.

    ```mlir
    #moe.gram<#moe.slice<@sample>>
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$source);
  let assemblyFormat = "`<` $source `>`";
  let genVerifyDecl = 1;
}

def MoE_ScaleAttr : MoE_Attr<"Scale", "scale"> {
  let summary = "Recipe: rows or columns times a vector";
  let description = [{
    Entry i of dimension `dim` is multiplied by `factors[i]`. A norm folded into the
    matrix before or behind it.

    ```mlir
    #moe.scale<#moe.slice<@up[0]>, dim = 0, factors = #moe.slice<@gamma>>
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$source, "int64_t":$dim,
                        "::mlir::Attribute":$factors);
  let assemblyFormat = [{
    `<` $source `,` `dim` `=` $dim `,` `factors` `=` $factors `>`
  }];
  let genVerifyDecl = 1;
}

#endif // MOE_DIALECTS_MOE_MOERECIPES_TD
