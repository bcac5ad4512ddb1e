#ifndef MOE_DIALECTS_MOE_MOEGATE_TD
#define MOE_DIALECTS_MOE_MOEGATE_TD

include "dialects/MoE/MoEAttrs.td"
include "dialects/MoE/MoEEnums.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def MoE_RouterOp : MoE_Op<"router", [Pure, AttrSizedOperandSegments]> {
  let summary = "Turn the features of tokens into logits over experts";
  let description = [{
    For each row x of `input` (rank 2) one row of logits:

    - `linear`: `z = W x (+ bias)`
    - `linear_tanh_linear`: `z = W tanh(hidden x) (+ bias)`
    - `distance`: `z_e = -|x - W_e|^2 / temperature`, the rows of W are centres
    - `table`: no logits but the experts' ids at once, `ids[t] = W[x[t]]`: x
      are token (or sentence) ids of rank 1, W `[vocabulary]` or `[vocabulary, k]`
    - `given`: `z = x`; marks logits that something else computes

    W is `[experts, features]`, or `[features, experts]` with `transposed`.
    `residual(%z0, %R)` adds `R z0`, the logits of the layer before through
    R `[experts, experts before]` (MoE++). `standardize` divides each row of the
    final logits by its (population) standard deviation.

    A frozen random router has a `seed` instead of `weight` and bias: with
    `b = 1 / sqrt(features)` and s(i) the top 24 bits of the i-th output
    (i from 0) of SplitMix64 started at `seed`, element i of the row-major W,
    then element i - experts * features of the bias, is `b * (2 s(i) / 2^24 - 1)`.

    Accumulated in f32 or wider, whatever the types.

    Constraints:
    - (C1) `weight`, or `seed` for `linear`, but not both, and neither for `given`.
    - (C2) `hidden` goes with `linear_tanh_linear`.
    - (C3) `temperature` is positive, and only for `distance`.
    - (C4) the input has rank 2 (`table`: integers of rank 1, and the result are i32 ids of rank 2).
    - (C5) sizes agree: features of input and weights, experts of weight, bias, residual and result.
    - (C6) bias, residual, `standardize` do not go with `table` and `given`, `residual` is logits and matrix together.

    Example:

    ```mlir
    %logits = moe.router linear %x weight(%w : tensor<8x64xbf16>) : tensor<?x64xf32> -> tensor<?x8xf32>
    ```
  }];
  let arguments = (ins MoE_RouterKind:$kind, AnyRankedTensor:$input,
      Optional<AnyRankedTensor>:$weight, Optional<AnyRankedTensor>:$hidden,
      Optional<AnyRankedTensor>:$bias, Optional<AnyRankedTensor>:$residual,
      Optional<AnyRankedTensor>:$residual_weight, UnitAttr:$transposed,
      OptionalAttr<F64Attr>:$temperature, OptionalAttr<I64Attr>:$seed,
      UnitAttr:$standardize);
  let results = (outs AnyRankedTensor:$logits);
  let assemblyFormat = [{
    $kind $input (`weight` `(` $weight^ `:` type($weight) `)`)?
    (`transposed` $transposed^)? (`hidden` `(` $hidden^ `:` type($hidden) `)`)?
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    (`residual` `(` $residual^ `,` $residual_weight `:` type($residual) `,` type($residual_weight) `)`)?
    (`temperature` $temperature^)? (`seed` $seed^)? (`standardize` $standardize^)?
    attr-dict `:` type($input) `->` type($logits)
  }];
  let hasVerifier = 1;
  let builders = [
    OpBuilder<(ins "::mlir::Type":$logits, "::moe::RouterKind":$kind,
                   "::mlir::Value":$input, "::mlir::Value":$weight,
                   CArg<"::mlir::Value", "{}">:$bias,
                   CArg<"bool", "false">:$transposed)>
  ];
}

def MoE_GateOp : MoE_Op<"gate", [
    Pure, AttrSizedOperandSegments, InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Pick the experts that serve each token, and their weights";
  let description = [{
    Logits `[T, E]` to ids `[T, k]` (i32, best first) and weights `[T, k]`. In
    this order, in f32 or wider:

    1. Scores: `softmax` or `sigmoid` of the logits, or the logits (`none`).
       With `select_first` the choice looks at the logits, and the score
       function sees the chosen ones alone (softmax over k).
    2. Choice scores are the scores, plus `choice_bias [E]`. With
       `groups G top_groups g`, the columns form G equal groups, ranked by
       their best choice score (`max`) or the sum of their best two (`top2`);
       those of groups below the g best become zero, or `minus_infinity`.
    3. The `top_k` columns with the highest choice scores, best first; ties go
       to the lower column, with `ties_high` to the higher. `dynamic %k` takes k at
       run time (1 <= k <= `top_k`): slots from k on are empty. A dense gate
       without `top_k` selects all columns.
       `sparse_mixer d` (k = 2, `none`; PhiMoE, d = 0.02) takes the column
       with the highest logit m, weighted by its softmax over the columns without
       `(m - z) / max(|z|, m) > d`, then the same again without that column.
    4. Weights are the scores of the chosen, or the entries of `values [T, E]`
       there. The norm divides them by their sum plus `norm_epsilon`:
       over the `selected`, over those that are `real` experts (no null
       expert), or that are `nonzero` (no `zero` expert); the weights of
       slots outside the sum become zero. A zero sum leaves zeros.
    5. Skip rules, on slots in descending order. `skip_ratio beta` empties slots
       j > 0 with `w_j < beta w_0` and divides by the sum again if the weights added up
       to 1 before, by a norm or a softmax over the selected (NAEE).
       `skip_cumulative [T1, T2]`: with s_j the share that the weights of the slots before
       slot j have in the sum of all (ties go to the earlier slot), storage 0 if
       `s_j <= T1`, 1 if `s_j <= T2`, else the slot is emptied and the other weights
       stay (HOBBIT); the third result holds the storage of each slot, 0 for empty ones.
    6. Capacity: an expert serves at most `capacity` slots, or
       `rounding(capacity_factor * T * k / E)`; with `capacity_tau` tau null experts
       weigh 1 and others tau: `rounding(factor * T * k * tau / (tau N_real + N_null))`,
       null experts without the tau above the line (MoE++). In `order` `token` (by token, then slot), `slot` (all
       first slots, then all second...) or `score` (by first weight, highest
       first, slot by slot), slots that find it full are emptied (`drop`), go to the token's next best
       expert with room (`next`), or `pass` the token itself on.
    7. All weights are multiplied by `scale`.

    An empty slot has id -1 and weight 0, a passing one id -2; a token
    may lose all its slots, and is zero then.

    `dense`: no ids; weights `[T, E]` of all columns; with `top_k` those of
    the others are zero. `subset` says which entries of the pool the columns
    stand for; ids are entries of the pool in any case. `sequence` granularity
    says that a row of logits belongs to a sequence, not to a token.

    A NaN logit ends the run with an error that names `layer` and the token.

    Constraints:
    - (C1) logits have rank 2 and `top_k` is at most the number of columns.
    - (C2) `top_k` is there unless the gate is `dense`.
    - (C3) `groups` divide the columns, `top_groups` are at most `groups`, and hold `top_k` columns.
    - (C4) `choice_bias` is `[E]`, `values` has the shape of the logits.
    - (C5) `sparse_mixer` picks two, without score.
    - (C6) `skip_ratio` is not negative, `skip_cumulative` is two rising numbers, and they need ids.
    - (C7) at most one of `capacity` and `capacity_factor`, positive, and it needs ids.
    - (C8) `subset` holds one entry per column, each once.
    - (C9) the pool has an entry for each column; `real` and `nonzero` need a pool.
    - (C10) `top_k`, `dynamic`, `select_first` and a norm agree: `dynamic` needs `top_k`, `norm_epsilon` a norm.

    Example:

    ```mlir
    %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 2 norm selected : tensor<?x8xf32>
    ```
  }];
  let arguments = (ins MoE_Score:$score, AnyRankedTensor:$logits,
      Optional<Index>:$k, Optional<AnyRankedTensor>:$choice_bias,
      Optional<AnyRankedTensor>:$values,
      OptionalAttr<FlatSymbolRefAttr>:$pool,
      OptionalAttr<DenseI64ArrayAttr>:$subset, UnitAttr:$dense,
      OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$top_k,
      UnitAttr:$select_first,
      OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$groups,
      OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$top_groups,
      DefaultValuedAttr<MoE_GroupScore, "::moe::GroupScore::Max">:$group_score,
      DefaultValuedAttr<MoE_GroupMask, "::moe::GroupMask::Zero">:$group_mask,
      OptionalAttr<F64Attr>:$sparse_mixer,
      DefaultValuedAttr<MoE_Norm, "::moe::Norm::None">:$norm,
      DefaultValuedAttr<F64Attr, "0.0">:$norm_epsilon,
      OptionalAttr<F64Attr>:$skip_ratio,
      OptionalAttr<DenseF64ArrayAttr>:$skip_cumulative,
      OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$capacity,
      OptionalAttr<F64Attr>:$capacity_factor,
      OptionalAttr<F64Attr>:$capacity_tau,
      DefaultValuedAttr<MoE_Rounding, "::moe::Rounding::Ceil">:$rounding,
      DefaultValuedAttr<MoE_Overflow, "::moe::Overflow::Drop">:$overflow,
      DefaultValuedAttr<MoE_CapacityOrder, "::moe::CapacityOrder::Token">:$order,
      DefaultValuedAttr<F64Attr, "1.0">:$scale,
      DefaultValuedAttr<MoE_Granularity, "::moe::Granularity::Token">:$granularity,
      UnitAttr:$ties_high, OptionalAttr<StrAttr>:$layer);
  let results = (outs Variadic<AnyRankedTensor>:$outs);
  let assemblyFormat = [{
    $score $logits (`over` $pool^)? (`subset` $subset^)? (`dense` $dense^)?
    (`top_k` $top_k^)? (`dynamic` $k^)? (`select_first` $select_first^)?
    (`choice_bias` `(` $choice_bias^ `:` type($choice_bias) `)`)?
    (`groups` $groups^ `top_groups` $top_groups)? (`group_score` $group_score^)?
    (`group_mask` $group_mask^)? (`sparse_mixer` $sparse_mixer^)?
    (`values` `(` $values^ `:` type($values) `)`)?
    (`norm` $norm^)? (`norm_epsilon` $norm_epsilon^)?
    (`skip_ratio` $skip_ratio^)? (`skip_cumulative` $skip_cumulative^)?
    (`capacity` $capacity^)? (`capacity_factor` $capacity_factor^)?
    (`capacity_tau` $capacity_tau^)? (`rounding` $rounding^)?
    (`overflow` $overflow^)? (`order` $order^)? (`scale` $scale^)?
    (`granularity` $granularity^)? (`ties_high` $ties_high^)?
    (`layer` $layer^)? attr-dict `:` type($logits)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let builders = [
    // Sparse: ids and weights. Everything else by setters, but set
    // skip_cumulative (which adds a result) through the generic builder.
    OpBuilder<(ins "::moe::Score":$score, "::mlir::Value":$logits,
                   "::mlir::FlatSymbolRefAttr":$pool, "int64_t":$top_k,
                   CArg<"::moe::Norm", "::moe::Norm::None">:$norm)>,
    // Dense: weights of all columns.
    OpBuilder<(ins "::moe::Score":$score, "::mlir::Value":$logits,
                   "::mlir::FlatSymbolRefAttr":$pool)>
  ];
  let extraClassDeclaration = [{
    /// Ids `[T, top_k]`, or null for a dense gate.
    ::mlir::Value getIds() { return getDense() ? ::mlir::Value() : getResult(0); }
    /// Weights `[T, top_k]`, for a dense gate `[T, columns]`.
    ::mlir::Value getWeights() { return getResult(getDense() ? 0 : 1); }
    /// Storage variant of each slot, or null without `skip_cumulative`.
    ::mlir::Value getVariants() {
      return getNumResults() > 2 ? getResult(2) : ::mlir::Value();
    }
    /// Number of logit columns (kDynamic where unknown).
    int64_t getNumColumns();
    /// The entry of the pool that column `column` stands for.
    int64_t getEntryOfColumn(int64_t column) {
      return getSubset() ? (*getSubset())[column] : column;
    }
  }];
}

#endif // MOE_DIALECTS_MOE_MOEGATE_TD
