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
    I32EnumAttrCase<"Choice", 0, "choice">,
    I32EnumAttrCase<"Logits", 1, "logits">,
    I32EnumAttrCase<"Inputs", 2, "inputs">,
    I32EnumAttrCase<"InputGram", 3, "input_gram">,
    I32EnumAttrCase<"SublayerCosine", 4, "sublayer_cosine">,
    I32EnumAttrCase<"BlockCosine", 5, "block_cosine">,
    I32EnumAttrCase<"Outputs", 6, "outputs">]>;

def MoE_ObserveOp : MoE_Op<"observe", [
    DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "Record a measure of values in the profile";
  let description = [{
    Writes to the profile, so that it survives, and changes no result. `name`
    is the layer in the profile file. Rows are those of the last dimension;
    all sums are in f64 (`runtime/Bank/README.md` has the tensors).

    - `choice`: ids, and their weights where they are given. Selections per
      expert; with weights also their sums, the ratio of the second to the first
      of each token, and which experts were chosen together
    - `logits`: logits `[T, E]`; sums of them, of their scores over all
      experts (`score`), and of products of two columns
    - `inputs`: x and ids, over a pool; the sum of x^2 of the rows that each
      expert gets, and a sample of rows
    - `input_gram`: x; sums of products of two features
    - `sublayer_cosine`: rows before and after the layer; sum of their cosines
    - `block_cosine`: rows before and after the block that the layer is in
    - `outputs`: y; sums of norms and of squares

    Every expert on every row (a probe) needs no observer: a reader of the
    profile evaluates them on the sample.

    Constraints:
    - (C1) `choice` takes one or two values, `inputs` and cosines two, others one, of rank 2 or more.
    - (C2) ids are i32, everything else floats.
    - (C3) `choice` and `inputs` have a pool, and a pool is a `moe.pool`.
    - (C4) `logits` have a score, and nothing else has.
    - (C5) two values have as many rows, those of a cosine the same shape.

    Example:

    ```mlir
    moe.observe choice "layers.0.moe" over @ffn0 %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
    ```
  }];
  let arguments = (ins MoE_Measure:$measure, StrAttr:$name,
      OptionalAttr<FlatSymbolRefAttr>:$pool, OptionalAttr<MoE_Score>:$score,
      Variadic<AnyRankedTensor>:$values);
  let assemblyFormat = [{
    $measure $name (`over` $pool^)? (`score` $score^)? $values attr-dict `:` type($values)
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECTS_MOE_MOEMIXTURES_TD
