#ifndef MOE_DIALECTS_MOE_MOESTRUCTURE_TD
#define MOE_DIALECTS_MOE_MOESTRUCTURE_TD

include "dialects/MoE/MoEAttrs.td"
include "dialects/MoE/MoEEnums.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def MoE_StateOp : MoE_Op<"state", [
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "Read or write a tensor that outlives a step";
  let description = [{
    A state has a name, belongs to the session and survives from one call of
    the model to the next: a cache of keys and values, a posterior over
    models. With a result the op reads, with `= %value` it writes. At the start
    a state is `init`, or zeros with its dynamic dimensions 0.

    Constraints:
    - (C1) a result or a value, not both.
    - (C2) `init` goes with reading and has the result's shape, where that is static.

    Example:

    ```mlir
    %prior = moe.state "posterior" init dense<0.5> : tensor<2xf32> -> tensor<2xf32>
    moe.state "posterior" = %new : tensor<2xf32>
    ```
  }];
  let arguments = (ins StrAttr:$name, Optional<AnyRankedTensor>:$value,
                       OptionalAttr<ElementsAttr>:$init);
  let results = (outs Optional<AnyRankedTensor>:$current);
  let assemblyFormat = [{
    $name (`=` $value^ `:` type($value))? (`init` $init^)?
    (`->` type($current)^)? attr-dict
  }];
  let hasVerifier = 1;
}

def MoE_LayerKind : MoE_Enum<"LayerKind", "what a layer region is", [
    I32EnumAttrCase<"Block", 0, "block">,
    I32EnumAttrCase<"Attention", 1, "attention">,
    I32EnumAttrCase<"Ffn", 2, "ffn">,
    I32EnumAttrCase<"Moe", 3, "moe">]>;

def MoE_LayerOp : MoE_Op<"layer", [
    SingleBlockImplicitTerminator<"::moe::YieldOp">, NoRegionArguments,
    RecursiveMemoryEffects,
    DeclareOpInterfaceMethods<RegionBranchOpInterface,
                              ["getEntrySuccessorRegions"]>]> {
  let summary = "Name a block or a sub-layer, so that it can be dropped";
  let description = [{
    Runs its region. What enters the region is used directly; what leaves it
    are the results. Dropping the layer replaces the first results by the values of
    `bypass`, for a sub-layer of a residual network the value before its norm;
    further results (keys and values for a cache) vanish with it.

    Constraints:
    - (C1) the region yields the results.
    - (C2) the values of `bypass` have the types of the first results.

    Example:

    ```mlir
    %y = moe.layer moe "layers.3.moe" bypass(%h : tensor<?x64xf32>) -> tensor<?x64xf32> {
      %sum = arith.addf %h, %h : tensor<?x64xf32>
      moe.yield %sum : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins MoE_LayerKind:$kind, StrAttr:$name,
                       Variadic<AnyType>:$bypass);
  let results = (outs Variadic<AnyType>:$outs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $kind $name (`bypass` `(` $bypass^ `:` type($bypass) `)`)?
    (`->` type($outs)^)? $body attr-dict
  }];
  let hasRegionVerifier = 1;
}

def MoE_YieldOp : MoE_Op<"yield", [
    Pure, Terminator, ReturnLike, HasParent<"::moe::LayerOp">]> {
  let summary = "End a layer";
  let description = [{
    Example:

    ```mlir
    moe.yield %sum : tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let builders = [OpBuilder<(ins), [{ }]>];
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif // MOE_DIALECTS_MOE_MOESTRUCTURE_TD
