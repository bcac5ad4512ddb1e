#ifndef MOE_DIALECTS_MOE_MOEATTRS_TD
#define MOE_DIALECTS_MOE_MOEATTRS_TD

include "dialects/MoE/MoEDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

class MoE_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<MoE_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def MoE_ColumnsAttr : MoE_Attr<"Columns", "columns"> {
  let summary = "A run of output columns taken from one bank";
  let description = [{
    Column `n` (0 <= n < `count`), input `k` of the run is the element
    `offset + n * stride_n + k * stride_k` of `bank`, counted in elements.
    So a `[out, in]` matrix of `in` inputs is `stride_n = in, stride_k = 1`,
    an `[in, out]` one `stride_n = 1, stride_k = out`, and slice `e` of a
    stack adds `e * in * out` to `offset`.

    ```mlir
    #moe.columns<@w, count = 64, offset = 0, stride_n = 192, stride_k = 1>
    ```
  }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$bank, "int64_t":$count,
                        "int64_t":$offset, "int64_t":$stride_n,
                        "int64_t":$stride_k);
  let assemblyFormat = [{
    `<` $bank `,` `count` `=` $count `,` `offset` `=` $offset `,`
    `stride_n` `=` $stride_n `,` `stride_k` `=` $stride_k `>`
  }];
}

def MoE_PanelsAttr : MoE_Attr<"Panels", "panels"> {
  let summary = "Recipe: weights repacked into panels of columns";
  let description = [{
    The derived bank has shape `[matrices, panels, depth, width]`: one matrix
    per entry of `matrices`, each a list of `#moe.columns` runs whose columns
    are concatenated and cut into panels of `width`; element `[m, p, k, c]` is
    column `p * width + c`, input `k`. Columns past the last are zero.
    With `interleave = n > 0` a matrix lists exactly two runs of equal count
    (gate, up) and every panel holds `n` columns of the first, then `n` of the
    second (`width == 2 n`).

    ```mlir
    #moe.panels<width = 32, depth = 192, interleave = 0,
                matrices = [[#moe.columns<@w, count = 64, offset = 0, stride_n = 1, stride_k = 64>]]>
    ```
  }];
  let parameters = (ins "int64_t":$width, "int64_t":$depth,
                        "int64_t":$interleave, "::mlir::ArrayAttr":$matrices);
  let assemblyFormat = [{
    `<` `width` `=` $width `,` `depth` `=` $depth `,`
    `interleave` `=` $interleave `,` `matrices` `=` $matrices `>`
  }];
}

#endif // MOE_DIALECTS_MOE_MOEATTRS_TD
