#ifndef MOE_DIALECTS_MOE_MOEBANK_TD
#define MOE_DIALECTS_MOE_MOEBANK_TD

include "dialects/MoE/MoEAttrs.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def MoE_BankOp : MoE_Op<"bank", [Symbol]> {
  let summary = "Name the weights that lie in an archive, or that a recipe makes";
  let description = [{
    A weight tensor as a symbol. Its bytes never enter the IR: they lie in the
    archive with the logical name `archive` (the module's `moe.archives`
    lists them), either under `key` (archives with an index: safetensors, our
    own banks) or `length` bytes from byte `offset` on (ONNX files and their
    external data). A *derived* bank has a `recipe` over other banks instead;
    it is executed, streaming, when the artefact is written. The simplest
    recipe is an elements attribute: the numbers themselves (small tensors of
    a model that has no archive for them).

    Constraints:
    - (C1) exactly one of `key`, `offset`, `recipe`.
    - (C2) `archive` goes with `key` or `offset`, not with `recipe`.
    - (C3) the type is static, of at most 2^48 elements.
    - (C4) with `offset`, `length` equals the bytes of the type.
    - (C5) a recipe that is an elements attribute has the bank's type.

    Example:

    ```mlir
    moe.bank @up in "model.onnx.data" at 4096 length 294912 : tensor<2x192x384xbf16>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       OptionalAttr<StrAttr>:$archive,
                       OptionalAttr<StrAttr>:$key,
                       OptionalAttr<I64Attr>:$offset,
                       OptionalAttr<I64Attr>:$length,
                       OptionalAttr<AnyAttr>:$recipe,
                       TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = [{
    $sym_name (`in` $archive^)? (`key` $key^)?
    (`at` $offset^ `length` $length)? (`recipe` `(` $recipe^ `)`)?
    `:` $type attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() {
      return ::mlir::cast<::mlir::RankedTensorType>(getType());
    }
  }];
}

def MoE_WeightOp : MoE_Op<"weight", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The tensor that a bank holds";
  let description = [{
    Constraints:
    - (C1) `bank` names a `moe.bank` of the result's type.

    Example:

    ```mlir
    %w = moe.weight @up : tensor<2x192x384xbf16>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$bank);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "$bank attr-dict `:` type($result)";
}

#endif // MOE_DIALECTS_MOE_MOEBANK_TD
