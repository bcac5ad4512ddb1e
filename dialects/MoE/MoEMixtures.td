#ifndef MOE_DIALECTS_MOE_MOEMIXTURES_TD
#define MOE_DIALECTS_MOE_MOEMIXTURES_TD

include "dialects/MoE/MoEDispatch.td"
include "dialects/MoE/MoEEnums.td"

def MoE_SoftMergeOp : MoE_PoolUser<"soft_merge"> {
  let summary = "Run each token through the mixture of the experts' parameters";
  let description = [{
    `y[t] = E(sum_e weights[t, e] * theta_e)(x[t])`: parameters are mixed, then used once
    (MoV, MoLoRA). Of `linear` and `scale` entries, which are linear in their
    parameters, it is what a dense `moe.apply` gives, cheaper; a factored matrix
    mixes as the matrix that it stands for.

    Constraints:
    - (C1) x, weights and the result have rank 2, the weights are dense: one per entry.
    - (C2) all entries of the pool are `moe.expert`s of one kind, activation and shape.
    - (C3) x is as wide as the experts take, the result as they give.

    Example:

    ```mlir
    %y = moe.soft_merge @adapters %x weights %p
        : (tensor<?x64xf32>, tensor<?x4xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$pool, AnyRankedTensor:$tokens,
                       AnyRankedTensor:$weights);
  let results = (outs AnyRankedTensor:$out);
  let assemblyFormat = [{
    $pool $tokens `weights` $weights attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MoE_Dispersion : MoE_Enum<"Dispersion", "what confidence is read from", [
    I32EnumAttrCase<"Variance", 0, "variance">,
    I32EnumAttrCase<"Entropy", 1, "entropy">,
    I32EnumAttrCase<"Both", 2, "both">]>;

def MoE_ConfidenceMode : MoE_Enum<"ConfidenceMode", "how confidence decides", [
    I32EnumAttrCase<"Joint", 0, "joint">,
    I32EnumAttrCase<"Separate", 1, "separate">]>;

def MoE_ConfidenceGateOp : MoE_Op<"confidence_gate", [
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Let a strong expert decide where a weak one is unsure";
  let description = [{
    The pool's first entry, weak, gives logits a for all rows; its
    dispersion v = var(q) / var(one-hot) and e = 1 - H(q) / ln C of q = softmax(a)
    (of softmax(softmax(a)) with `double_softmax`, what Mowst's evaluation does)
    go, as columns v, e or both, through the function `confidence`, and
    g = sigmoid of its one output. The second entry, strong, gives logits b.

    - `joint`: `y = g softmax(a) + (1 - g) softmax(b)`
    - `separate`: row n is softmax(a) if `u_n < g_n`, else softmax(b); u_n is the
      top 24 bits of the n-th output of SplitMix64 started at `seed`, over 2^24

    In `separate` mode the strong expert needs to run on the `hops`-hop
    neighbourhood of undecided rows only. Both functions take the rows, then
    `extras` (the graph). Results are y and g `[N, 1]`.

    Constraints:
    - (C1) rows and y have rank 2, g rank 2 with one column.
    - (C2) `separate` has a seed, and `joint` none.
    - (C3) the pool has two entries, both `expert_fn`; `confidence` is a function of one argument.

    Example:

    ```mlir
    %y, %g = moe.confidence_gate @experts %x extras %ptr, %nbr confidence @mlp both joint hops 2
        : (tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$pool, AnyRankedTensor:$rows,
      Variadic<AnyType>:$extras, FlatSymbolRefAttr:$confidence,
      MoE_Dispersion:$dispersion, MoE_ConfidenceMode:$mode,
      ConfinedAttr<I64Attr, [IntNonNegative]>:$hops,
      UnitAttr:$double_softmax, OptionalAttr<I64Attr>:$seed);
  let results = (outs AnyRankedTensor:$out, AnyRankedTensor:$certainty);
  let assemblyFormat = [{
    $pool $rows (`extras` $extras^)? `confidence` $confidence $dispersion $mode
    `hops` $hops (`double_softmax` $double_softmax^)? (`seed` $seed^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MoE_HyperAdapterOp : MoE_Op<"hyper_adapter", [
    AttrSizedOperandSegments, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Run an adapter that is made from the experts not selected";
  let description = [{
    `y[t] = up relu(down x[t] + down_bias) + up_bias` (HyperMoE), where the
    adapter depends on the set of experts that row t of `ids` selects, not on
    their order:

    - generated: the function `generator` turns `sum_{i not selected} embeddings[i]`
      (`[S, width]`, one row per distinct set) into down `[S, in, rank]`, down_bias
      `[S, rank]`, up `[S, rank, out]` and up_bias `[S, out]`.
    - folded: the same four as `table` operands, with one row per set in
      lexicographic order of the sorted selected ids.

    Constraints:
    - (C1) x, ids and the result have rank 2, ids are i32.
    - (C2) a generator with embeddings, or a table of four; not both.
    - (C3) `experts` over k sets make the rows of the table; embeddings have one row per expert.
    - (C4) `generator` is a function of one argument and four results.

    Example:

    ```mlir
    %y = moe.hyper_adapter %x ids %ids experts 8 generator @hyper embeddings %emb
        : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<8x128xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$tokens, AnyRankedTensor:$ids,
      ConfinedAttr<I64Attr, [IntPositive]>:$experts,
      OptionalAttr<FlatSymbolRefAttr>:$generator,
      Optional<AnyRankedTensor>:$embeddings, Variadic<AnyRankedTensor>:$table);
  let results = (outs AnyRankedTensor:$out);
  let assemblyFormat = [{
    $tokens `ids` $ids `experts` $experts (`generator` $generator^)?
    (`embeddings` $embeddings^)? (`table` $table^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MoE_Measure : MoE_Enum<"Measure", "what an observer records", [
    I32EnumAttrCase<"Counts", 0, "counts">,
    I32EnumAttrCase<"MeanScore", 1, "mean_score">,
    I32EnumAttrCase<"Ratio", 2, "ratio">,
    I32EnumAttrCase<"LogitGram", 3, "logit_gram">,
    I32EnumAttrCase<"Cosine", 4, "cosine">,
    I32EnumAttrCase<"SecondMoment", 5, "second_moment">,
    I32EnumAttrCase<"ExpertOutputs", 6, "expert_outputs">]>;

def MoE_ObserveOp : MoE_Op<"observe", [
    DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "Record a measure of values in the profile";
  let description = [{
    Writes to the profile, so that it survives, and changes no result. `name`
    is the layer in the profile file.

    - `counts`: ids; selections per expert
    - `mean_score`: scores or weights `[T, E]`; their mean per expert
    - `ratio`: weights; distribution of second over first
    - `logit_gram`: logits; sums for the cosines between experts' columns
    - `cosine`: two tensors; mean cosine of their rows
    - `second_moment`: x; mean square per feature
    - `expert_outputs`: x, over a pool; every expert on every row: output
      norms and cosines (the probe mode)

    Constraints:
    - (C1) `cosine` takes two values of one shape, all others one, of rank 2 or more.
    - (C2) `counts` takes i32 ids, the others floats.
    - (C3) `expert_outputs` has a pool, and a pool is a `moe.pool`.

    Example:

    ```mlir
    moe.observe counts "layers.0.moe" over @ffn0 %ids : tensor<?x2xi32>
    ```
  }];
  let arguments = (ins MoE_Measure:$measure, StrAttr:$name,
      OptionalAttr<FlatSymbolRefAttr>:$pool, Variadic<AnyRankedTensor>:$values);
  let assemblyFormat = [{
    $measure $name (`over` $pool^)? $values attr-dict `:` type($values)
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECTS_MOE_MOEMIXTURES_TD
