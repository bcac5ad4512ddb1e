#ifndef MOE_DIALECTS_MOE_MOEAPPLY_TD
#define MOE_DIALECTS_MOE_MOEAPPLY_TD

include "dialects/MoE/MoEAttrs.td"
include "dialects/MoE/MoEEnums.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def MoE_ApplyOp : MoE_Op<"apply", [
    AttrSizedOperandSegments, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "Run the chosen experts of each token and combine their outputs";
  let description = [{
    For the tokens x `[T, in]`, ids and weights `[T, k]` of a gate:
    `y[t] = sum_j weights[t, j] * entry(ids[t, j])(prescale * x[t])`. Id -1
    adds nothing, id -2 adds `weights[t, j] * x[t]`; a token without an expert gives
    zero. Without ids (a dense gate) weights are `[T, entries]` and every
    entry runs on every token. Without weights they are 1 (a `table` router).

    `variants`, where a gate gives them, say which storage of its expert each slot uses
    (0: its body, i: `variants[i - 1]`); an expert without it uses its body.

    Several gates may share one run over the pool: as many results as gates,
    each from its `ids` and `weights`. `subsets`, one list per gate, says which
    entries the columns of a dense gate stand for; entries in no list do not run.

    `tokens` has one operand per input group of the entries (`input`);
    routing is per row of all of them. Sequences of tokens are one row of routing: with
    ids of `[B, k]` a whole `x[b]` goes to the entry. `extras` go to every
    `expert_fn`, `states` to those that list them; their new values are the
    last results.

    `combine`: `add` (the sum above); `replace`, the output of the one chosen
    expert, unscaled without weights, times its weight with; `probability`: entries give
    log-probabilities, the result is `log sum_j w_j exp(y_j)`, computed
    stably. With `scale_input` the weight multiplies x instead of the output
    (Llama 4). f32 or wider inside.

    Constraints:
    - (C1) every gate gives ids, or none does; weights likewise; one of both at least.
    - (C2) ids and variants are i32, weights floats, all of rank 2, with the same shape per gate; variants go with ids.
    - (C3) `subsets` goes with dense weights, one list per gate, one entry per column.
    - (C4) one result per gate, then one per state, of its type.
    - (C5) `replace` has one slot per token; `scale_input` goes with `add` and weights.
    - (C6) `pool` names a `moe.pool`; subsets, dense columns and input groups fit it.
    - (C7) rows agree: the experts' inputs are the tokens' features, their outputs the result's.

    Example:

    ```mlir
    %y = moe.apply @ffn0 %x ids %ids weights %weights
        : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$pool,
      Variadic<AnyRankedTensor>:$tokens, Variadic<AnyRankedTensor>:$ids,
      Variadic<AnyRankedTensor>:$weights, Variadic<AnyRankedTensor>:$variants,
      Variadic<AnyType>:$extras,
      Variadic<AnyRankedTensor>:$states,
      DefaultValuedAttr<MoE_Combine, "::moe::Combine::Add">:$combine,
      UnitAttr:$scale_input, DefaultValuedAttr<F64Attr, "1.0">:$prescale,
      OptionalAttr<TypedArrayAttrBase<DenseI64ArrayAttr, "lists of entries">>:$subsets,
      OptionalAttr<StrAttr>:$layer);
  let results = (outs Variadic<AnyRankedTensor>:$outs);
  let assemblyFormat = [{
    $pool $tokens (`ids` $ids^)? (`weights` $weights^)? (`variants` $variants^)?
    (`extras` $extras^)? (`states` $states^)? (`combine` $combine^)? (`scale_input` $scale_input^)?
    (`prescale` $prescale^)? (`subsets` $subsets^)? (`layer` $layer^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let builders = [
    // One gate; null ids for a dense one.
    OpBuilder<(ins "::mlir::Type":$result, "::mlir::FlatSymbolRefAttr":$pool,
                   "::mlir::Value":$tokens, "::mlir::Value":$ids,
                   "::mlir::Value":$weights)>
  ];
  let extraClassDeclaration = [{
    bool isDense() { return getIds().empty(); }
    int64_t getNumGates() {
      return static_cast<int64_t>(getIds().empty() ? getWeights().size() : getIds().size());
    }
    /// The outputs of the gates, without the new states.
    ::mlir::ResultRange getGateResults() {
      return getResults().take_front(getNumGates());
    }
    /// The new states.
    ::mlir::ResultRange getStateResults() {
      return getResults().drop_front(getNumGates());
    }
  }];
}

#endif // MOE_DIALECTS_MOE_MOEAPPLY_TD
