#ifndef MOE_DIALECTS_MOE_MOEDISPATCH_TD
#define MOE_DIALECTS_MOE_MOEDISPATCH_TD

include "dialects/MoE/MoEAttrs.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class MoE_PoolUser<string mnemonic, list<Trait> traits = []>
    : MoE_Op<mnemonic, !listconcat(traits, [
        Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>])>;

def MoE_DispatchOp : MoE_PoolUser<"dispatch"> {
  let summary = "Gather the rows of each expert next to one another";
  let description = [{
    The first third of what `moe.apply` expands to. Slot `s = t * k + j` of
    `ids [T, k]` becomes a row, `rows[r] = prescale * tokens[t]` (times `weights[t, j]`
    where they are given: Llama 4), if its entry needs rows. Rows are
    ordered by entry, then by slot; entry e owns rows `offsets[e]` to
    `offsets[e + 1] - 1` and `slots[r]` is the slot that row r came from.
    Empty and passing slots and null experts get no rows; an alias has none
    of its own, they go to its target.

    Constraints:
    - (C1) tokens, ids and rows have rank 2, ids are i32, weights have their shape.
    - (C2) rows are as wide as tokens.
    - (C3) `pool` names a `moe.pool`, and there are entries + 1 offsets.

    Example:

    ```mlir
    %rows, %offsets, %slots = moe.dispatch @ffn0 %x by %ids
        : (tensor<?x64xf32>, tensor<?x2xi32>) -> (tensor<?x64xf32>, tensor<9xi32>, tensor<?xi32>)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$pool, AnyRankedTensor:$tokens,
      AnyRankedTensor:$ids, Optional<AnyRankedTensor>:$weights,
      DefaultValuedAttr<F64Attr, "1.0">:$prescale);
  let results = (outs AnyRankedTensor:$rows, 1DTensorOf<[I32]>:$offsets,
                      1DTensorOf<[I32]>:$slots);
  let assemblyFormat = [{
    $pool $tokens `by` $ids (`weights` $weights^)? (`prescale` $prescale^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MoE_ExpertFfnOp : MoE_PoolUser<"expert_ffn"> {
  let summary = "Run every expert on its own rows";
  let description = [{
    The second third of what `moe.apply` expands to: rows `offsets[e]` to
    `offsets[e + 1] - 1` go through entry e.

    Constraints:
    - (C1) rows and results have rank 2.
    - (C2) `pool` names a `moe.pool` without functions, and there are entries + 1 offsets.
    - (C3) rows are as wide as the experts take and results as they give.

    Example:

    ```mlir
    %out = moe.expert_ffn @ffn0 %rows offsets %offsets
        : (tensor<?x64xf32>, tensor<9xi32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$pool, AnyRankedTensor:$rows,
                       1DTensorOf<[I32]>:$offsets);
  let results = (outs AnyRankedTensor:$out);
  let assemblyFormat = [{
    $pool $rows `offsets` $offsets attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MoE_CombineOp : MoE_PoolUser<"combine"> {
  let summary = "Bring the experts' rows back to their tokens";
  let description = [{
    The last third of what `moe.apply` expands to: `y[t] = sum_j weights[t, j] *
    rows[r]` over the rows r whose slot is `t * k + j`, plus what slots without
    rows give: null experts, from `prescale * tokens[t]`, and passing slots. In the order of
    j, so that the sum does not depend on the dispatch. Without weights they
    are 1; with `scale_input` they have already gone into the rows, and null
    experts see the weighted token.

    Constraints:
    - (C1) rows, ids, tokens and the result have rank 2, ids are i32, weights have their shape.
    - (C2) the result is as wide as the rows.
    - (C3) `pool` names a `moe.pool`.

    Example:

    ```mlir
    %y = moe.combine @ffn0 %out slots %slots ids %ids tokens %x weights %weights
        : (tensor<?x64xf32>, tensor<?xi32>, tensor<?x2xi32>, tensor<?x64xf32>, tensor<?x2xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$pool, AnyRankedTensor:$rows,
      1DTensorOf<[I32]>:$slots, AnyRankedTensor:$ids, AnyRankedTensor:$tokens,
      Optional<AnyRankedTensor>:$weights, UnitAttr:$scale_input,
      DefaultValuedAttr<F64Attr, "1.0">:$prescale);
  let results = (outs AnyRankedTensor:$out);
  let assemblyFormat = [{
    $pool $rows `slots` $slots `ids` $ids `tokens` $tokens (`weights` $weights^)?
    (`scale_input` $scale_input^)? (`prescale` $prescale^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECTS_MOE_MOEDISPATCH_TD
