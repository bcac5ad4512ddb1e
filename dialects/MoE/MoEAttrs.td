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

def MoE_QuantPanelsAttr : MoE_Attr<"QuantPanels", "quant_panels"> {
  let summary = "Recipe: quantised values repacked into panels of columns";
  let description = [{
    Like `#moe.panels`, for values of 8 or 4 `bits`, which come out as bytes:
    the derived bank has shape `[matrices, panels, depth, width * bits / 8]`.
    With 4 bits, byte c of a row holds column c of the panel in its low half
    and column `c + width / 2` in its high half.

    Sources hold `stored` bits per value, 8 or 4 (the first of a byte in its
    low half); runs count values. Every value is XORed with `flip`, which turns
    numbers that count from 0 into signed ones. Columns past the last are zeros
    before that.

    ```mlir
    #moe.quant_panels<bits = 4, stored = 4, flip = 8, width = 32, depth = 192, interleave = 0,
                      matrices = [[#moe.columns<@q, count = 64, offset = 0, stride_n = 192, stride_k = 1>]]>
    ```
  }];
  let parameters = (ins "int64_t":$bits, "int64_t":$stored, "int64_t":$flip,
                        "int64_t":$width, "int64_t":$depth,
                        "int64_t":$interleave, "::mlir::ArrayAttr":$matrices);
  let assemblyFormat = [{
    `<` `bits` `=` $bits `,` `stored` `=` $stored `,` `flip` `=` $flip `,`
    `width` `=` $width `,` `depth` `=` $depth `,`
    `interleave` `=` $interleave `,` `matrices` `=` $matrices `>`
  }];
  let genVerifyDecl = 1;
}

def MoE_SliceAttr : MoE_Attr<"Slice", "slice"> {
  let summary = "Part of a bank: one matrix or vector of one expert";
  let description = [{
    `@bank` with one selector per leading dimension, like numpy: an index drops
    the dimension, `start:stop` and `start:stop:step` keep a run of it, `:`
    keeps all of it; dimensions without a selector are kept whole. So the
    usual ways to store the gate and up matrices of a gated expert are all
    the same thing: separate banks (`@gate[3]`, `@up[3]`), halves of one
    (`@gate_up[3, 0:768]`, `@gate_up[3, 768:1536]`), interleaved rows
    (`@gate_up[3, 0:1536:2]`, `@gate_up[3, 1:1536:2]`).

    What is left is a vector `[n]` or a matrix. Matrices are `[out, in]`, or
    `[in, out]` where marked `transposed`.

    `quant` says that the bank holds quantised values (`#moe.quant`).

    ```mlir
    #moe.slice<@gate_up[3, 0:1536:2] transposed>
    ```
  }];
  // Three numbers per selector: start, stop, step. Step 0 marks an index (stop
  // is start + 1), stop kDynamic the end of the dimension.
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$bank,
                        ArrayRefParameter<"int64_t">:$ranges,
                        "bool":$transposed, "::mlir::Attribute":$quant);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let builders = [
    AttrBuilderWithInferredContext<(ins "::mlir::FlatSymbolRefAttr":$bank,
                     CArg<"::llvm::ArrayRef<int64_t>", "{}">:$ranges,
                     CArg<"bool", "false">:$transposed), [{
      return $_get(bank.getContext(), bank, ranges, transposed, ::mlir::Attribute());
    }]>
  ];
  let extraClassDeclaration = [{
    /// `@bank[index]`: the usual slice of a stack.
    static SliceAttr at(::mlir::FlatSymbolRefAttr bank, int64_t index,
                        bool transposed = false);
    /// `@bank[index, start:stop:step]`: a run of rows of one slice.
    static SliceAttr rows(::mlir::FlatSymbolRefAttr bank, int64_t index,
                          int64_t start, int64_t stop, int64_t step = 1,
                          bool transposed = false);
    /// Where the slice lies in a bank of type `type`, in elements of the bank;
    /// failure where it does not fit (`emitError` then says why).
    ::mlir::FailureOr<SliceGeometry> resolve(
        ::mlir::RankedTensorType type,
        ::llvm::function_ref<::mlir::InFlightDiagnostic()> emitError);
    /// The columns (outputs) of the slice: a matrix, or a vector, whose
    /// `stride_k` is then 0. Null where the slice does not fit or has another
    /// rank. Quantised matrices count packed elements along k.
    ColumnsAttr getColumns(::mlir::RankedTensorType type);
  }];
}

def MoE_QuantAttr : MoE_Attr<"Quant", "quant"> {
  let summary = "How the numbers of a quantised slice are to be read";
  let description = [{
    Value `(n, k)` of the matrix is `(q - zero[n, k / block]) * scale[n, k / block]`.
    With `bits` below 8 the bank holds bytes, several values to a byte along
    k, low bits first, or elements of that many bits. `scales` and `zeros` are
    `[out, in / block]` (rounded up), or `[out]` with `block` 0: one scale per
    row. Without `zeros` the zero point is 0 for signed elements and
    `2^(bits - 1)` for unsigned ones.

    `code` says what the bits of a value mean:

    - `int`: a number, signed or not as the bank's elements are; where these
      are 8-bit floats (`f8E4M3FN`), what the element says
    - `fp4`: sign, two bits of exponent, one of mantissa (E2M1): 0, 0.5, 1,
      1.5, 2, 3, 4, 6 and their negatives. In blocks of 32 with `f8E8M0FNU`
      scales that is MXFP4.
    - `nf4`: the 16 quantiles of a normal distribution of QLoRA, -1 to 1

    Scales are f32, f16, bf16 or powers of two (`f8E8M0FNU`). Zero points are
    integers (for 4-bit values also one to a byte), and go with integers alone.

    ```mlir
    #moe.quant<bits = 4, block = 32, scales = <@s[0]>>
    ```
    ```mlir
    #moe.quant<bits = 4, block = 64, scales = <@s[0]>, code = "nf4">
    ```
  }];
  let parameters = (ins "int64_t":$bits, "int64_t":$block, "SliceAttr":$scales,
                        OptionalParameter<"SliceAttr">:$zeros,
                        StringRefParameter<"", [{"int"}]>:$code);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let builders = [
    AttrBuilder<(ins "int64_t":$bits, "int64_t":$block, "SliceAttr":$scales,
                     CArg<"SliceAttr", "{}">:$zeros), [{
      return $_get($_ctxt, bits, block, scales, zeros, "int");
    }]>
  ];
  let extraClassDeclaration = [{
    /// What 4-bit value `q` (0 to 15) of code `fp4` or `nf4` stands for.
    static double decode(::llvm::StringRef code, unsigned q);
    bool isInteger() const { return getCode() == "int"; }
  }];
}

def MoE_FactoredAttr : MoE_Attr<"Factored", "factored"> {
  let summary = "A matrix as a sum: base, low-rank product, some full rows";
  let description = [{
    `W = base + scale * left * right + scatter(rows)`; every term may be
    missing, but not all. `left` is `[out, rank]`, `right` `[rank, in]`; row i of `rows`
    (`[n, in]`) stands at output `row_ids[i]`. Low-rank plus row-sparse
    experts (MC-SMoE) have no base; a LoRA expert has a base and no rows; a
    MoLoRA expert has neither.

    ```mlir
    #moe.factored<base = <@w[0]>, left = <@b[0]>, right = <@a[0]>, scale = 4.0>
    ```
  }];
  let parameters = (ins OptionalParameter<"SliceAttr">:$base,
                        OptionalParameter<"SliceAttr">:$left,
                        OptionalParameter<"SliceAttr">:$right,
                        OptionalParameter<"::mlir::FloatAttr">:$scale,
                        OptionalParameter<"SliceAttr">:$rows,
                        OptionalParameter<"SliceAttr">:$row_ids);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def MoE_VariantAttr : MoE_Attr<"Variant", "variant"> {
  let summary = "Another storage of an expert's matrices";
  let description = [{
    The same matrices from other banks, usually with fewer bits. `weights`
    maps names of the expert's matrices (`gate`, `up`, `down`) to slices.

    ```mlir
    #moe.variant<"int4", {up = #moe.slice<@up4[0]>, down = #moe.slice<@down4[0]>}>
    ```
  }];
  let parameters = (ins "::mlir::StringAttr":$name,
                        "::mlir::DictionaryAttr":$weights);
  let assemblyFormat = "`<` $name `,` $weights `>`";
}

/// A matrix of an expert: a slice or a sum.
def MoE_MatrixAttr : AnyAttrOf<[MoE_SliceAttr, MoE_FactoredAttr],
                               "a slice of a bank or a factored matrix"> {
  let storageType = "::mlir::Attribute";
  let returnType = "::mlir::Attribute";
}

#endif // MOE_DIALECTS_MOE_MOEATTRS_TD
