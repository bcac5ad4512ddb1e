#ifndef MOE_DIALECTS_MOE_MOEPOOL_TD
#define MOE_DIALECTS_MOE_MOEPOOL_TD

include "dialects/MoE/MoEAttrs.td"
include "dialects/MoE/MoEEnums.td"
include "dialects/MoE/MoEInterfaces.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"

class MoE_Entry<string mnemonic, list<Trait> traits = []>
    : MoE_Op<mnemonic, !listconcat(traits, [
        HasParent<"::moe::PoolOp">,
        DeclareOpInterfaceMethods<SymbolUserOpInterface>])>;

def MoE_PoolOp : MoE_Op<"pool", [
    Symbol, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "The ordered set of experts of a layer";
  let description = [{
    One op per expert, in the order of the router's columns: entry `e` serves
    column `e`. Deleting an op removes the expert, replacing it merges or
    trims it, and every entry has its own width, activation and storage.

    Entry names are written like symbols but live in the pool alone (the pool
    is no symbol table), so that entries can refer to banks and functions of
    the module by plain symbols.

    Constraints:
    - (C1) every entry is an expert (`ExpertOpInterface`), and there is one at least.
    - (C2) the names of the entries differ.
    - (C3) an alias names an entry of the pool that is not an alias itself.

    Example:

    ```mlir
    moe.pool @ffn0 {
      moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
      moe.expert @e1 glu silu gate @gate_up[1, 0:128] up @gate_up[1, 128:256] down @down[1]
      moe.null_expert @zero zero
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       OptionalAttr<StrAttr>:$sym_visibility);
  let regions = (region AnyRegion:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name)>];
  let extraClassDeclaration = [{
    /// The entries in the order of the router's columns.
    ::llvm::SmallVector<::moe::ExpertOpInterface> getEntries();
    /// Number of entries, that is of router columns; null experts count.
    int64_t getNumEntries();
    /// Entry `e`, aliases as they stand.
    ::moe::ExpertOpInterface getEntry(int64_t e);
    /// The entry of that name, or null.
    ::moe::ExpertOpInterface getEntry(::llvm::StringRef name);
    /// Entry `e`, or what it stands for where it is an alias.
    ::moe::ExpertOpInterface getResolvedEntry(int64_t e);
    /// The experts, where all entries are `moe.expert`s of one shape: equal
    /// kind, activation, constants and set of biases, every matrix a slice,
    /// inner sizes equal. Empty otherwise.
    ::llvm::SmallVector<::moe::ExpertOp>
    getUniformExperts(::mlir::SymbolTableCollection &symbols);
    /// True where `getUniformExperts` finds gated experts.
    bool isUniformGlu(::mlir::SymbolTableCollection &symbols);
    /// The pool that `name` means at `from`, or null.
    static PoolOp lookup(::mlir::Operation *from, ::mlir::FlatSymbolRefAttr name,
                         ::mlir::SymbolTableCollection &symbols);
  }];
}

def MoE_ExpertOp : MoE_Entry<"expert", [
    DeclareOpInterfaceMethods<MoE_ExpertOpInterface,
                              ["getInputGroup", "needsDispatch"]>]> {
  let summary = "An expert given by slices of banks";
  let description = [{
    The matrices are `[out, in]` unless a slice is marked `transposed`; a
    matrix may be `factored` (low rank, row-sparse, LoRA). With a = activation:

    - `ffn`: `y = down a(up x + up_bias) + down_bias`
    - `glu`: `y = down (a(g) * (l + beta)) + down_bias`,
      `g = gate x + gate_bias`, `l = up x + up_bias`
    - `linear`: `y = up x + up_bias`
    - `scale`: `y = up * x`, elementwise, `up` a vector

    `alpha` is the factor in the sigmoid of silu (`a(g) = g sigmoid(alpha g)`).
    `limit` L > 0 clamps the argument of the activation to at most L, and in
    `glu` l to [-L, L]. All of y is multiplied by `output_scale`.

    `variants` lists other storages of the same matrices (storage 0 is the
    body itself), `n_of_m [n, m]` promises at most n non-zeros in m
    neighbouring inputs. `input` says which token operand of `moe.apply` the
    expert reads.

    Constraints:
    - (C1) the matrices are those of the kind.
    - (C2) a bias goes with its matrix.
    - (C3) `linear` and `scale` have no activation, only `glu` has a beta, and the limit is not negative.
    - (C4) `n_of_m` is two numbers, 0 < n < m.
    - (C5) variants store matrices that the expert has.
    - (C6) slices fit their banks; matrices have rank 2, vectors rank 1.
    - (C7) the sizes agree: gate, up `[hidden, in]`, down `[out, hidden]`, biases as long as their matrix has outputs.

    Example:

    ```mlir
    moe.expert @e0 glu silu gate @gate_up[0, 0:256:2] up @gate_up[0, 1:256:2] down @down[0]
        alpha 1.702 beta 1.0 limit 7.0
    ```
  }];
  let arguments = (ins SymbolNameAttr:$entry_name, MoE_ExpertKind:$kind,
      DefaultValuedAttr<MoE_Activation, "::moe::Activation::Identity">:$activation,
      OptionalAttr<MoE_MatrixAttr>:$gate, OptionalAttr<MoE_SliceAttr>:$gate_bias,
      MoE_MatrixAttr:$up, OptionalAttr<MoE_SliceAttr>:$up_bias,
      OptionalAttr<MoE_MatrixAttr>:$down, OptionalAttr<MoE_SliceAttr>:$down_bias,
      DefaultValuedAttr<F64Attr, "1.0">:$alpha,
      DefaultValuedAttr<F64Attr, "0.0">:$beta,
      DefaultValuedAttr<F64Attr, "0.0">:$limit,
      DefaultValuedAttr<F64Attr, "1.0">:$output_scale,
      OptionalAttr<DenseI64ArrayAttr>:$n_of_m,
      OptionalAttr<TypedArrayAttrBase<MoE_VariantAttr, "storage variants">>:$variants,
      DefaultValuedAttr<I64Attr, "0">:$input);
  let assemblyFormat = [{
    $entry_name $kind ($activation^)?
    (`gate` custom<Matrix>($gate)^)? (`gate_bias` custom<Slice>($gate_bias)^)?
    `up` custom<Matrix>($up) (`up_bias` custom<Slice>($up_bias)^)?
    (`down` custom<Matrix>($down)^)? (`down_bias` custom<Slice>($down_bias)^)?
    (`alpha` $alpha^)? (`beta` $beta^)? (`limit` $limit^)?
    (`output_scale` $output_scale^)? (`n_of_m` $n_of_m^)?
    (`variants` $variants^)? (`input` $input^)? attr-dict
  }];
  let hasVerifier = 1;
  let builders = [
    OpBuilder<(ins "::llvm::StringRef":$name, "::moe::ExpertKind":$kind,
                   "::moe::Activation":$activation, "::mlir::Attribute":$gate,
                   "::mlir::Attribute":$up, "::mlir::Attribute":$down)>
  ];
  let extraClassDeclaration = [{
    bool isGlu() { return getKind() == ExpertKind::Glu; }
    /// True where every matrix is a plain slice: no factors, no quantisation.
    bool isPlain();
    /// Inputs, hidden width and outputs; failure where a slice does not fit its
    /// bank or sizes disagree, said through `emitError` where it is given.
    ::mlir::FailureOr<ExpertShape> getShape(
        ::mlir::SymbolTableCollection &symbols,
        ::llvm::function_ref<::mlir::InFlightDiagnostic()> emitError = nullptr);
    /// The columns of a plain matrix or vector (`getUp()`, `getUpBias()`...),
    /// ready for a `#moe.panels` recipe; null where it is not plain.
    ColumnsAttr getColumns(::mlir::Attribute matrix,
                           ::mlir::SymbolTableCollection &symbols);
  }];
}

def MoE_NullExpertOp : MoE_Entry<"null_expert", [
    DeclareOpInterfaceMethods<MoE_ExpertOpInterface,
                              ["getInputGroup", "needsDispatch"]>]> {
  let summary = "An expert that needs no matrix product";
  let description = [{
    - `zero`: `y = 0` (AdaMoE's null, MoE++'s zero, NULL pruning)
    - `copy`: `y = x`
    - `constant`: `y = a1 x + a2 value`, `(a1, a2) = softmax(mix x)`, with `mix`
      `[2, in]`; without `mix`, `y = value`.

    Rows are never dispatched to it: the combine computes it.

    Constraints:
    - (C1) `value` goes with `constant`, and so does `mix`.
    - (C2) slices fit their banks; `value` has rank 1, `mix` rank 2 and two outputs.

    Example:

    ```mlir
    moe.null_expert @c0 constant value @v[0] mix @wc[0]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$entry_name, MoE_NullKind:$kind,
                       OptionalAttr<MoE_SliceAttr>:$value,
                       OptionalAttr<MoE_SliceAttr>:$mix,
                       DefaultValuedAttr<I64Attr, "0">:$input);
  let assemblyFormat = [{
    $entry_name $kind (`value` custom<Slice>($value)^)?
    (`mix` custom<Slice>($mix)^)? (`input` $input^)? attr-dict
  }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::moe::NullKind":$kind)>];
}

def MoE_AliasOp : MoE_Op<"alias", [
    HasParent<"::moe::PoolOp">,
    DeclareOpInterfaceMethods<MoE_ExpertOpInterface,
                              ["getInputGroup", "needsDispatch"]>]> {
  let summary = "A router column that another entry serves";
  let description = [{
    The router keeps its column, the expert has gone into `target` (M-SMoE).
    Two selected columns of one target add up.

    Example:

    ```mlir
    moe.alias @e3 of @e0
    ```
  }];
  let arguments = (ins SymbolNameAttr:$entry_name, SymbolNameAttr:$target);
  let assemblyFormat = "$entry_name `of` $target attr-dict";
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::llvm::StringRef":$target)>];
}

def MoE_ExpertFnOp : MoE_Entry<"expert_fn", [
    DeclareOpInterfaceMethods<MoE_ExpertOpInterface, ["getInputGroup"]>]> {
  let summary = "An expert that is a function";
  let description = [{
    Anything: attention, a graph network, an MLP with batch norm, a layer with
    residual and norm, a whole model. The function takes the rows it serves,
    then all `extras` of the `moe.apply`, then the states listed in `states`
    (positions among the apply's states); it returns its rows, then those
    states, new. `lazy` experts are loaded at first use.

    Constraints:
    - (C1) `callee` is a function that takes rows at least, and returns rows and its states.

    Example:

    ```mlir
    moe.expert_fn @code calls @attention_code states [0, 1]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$entry_name, FlatSymbolRefAttr:$callee,
                       OptionalAttr<DenseI64ArrayAttr>:$states,
                       UnitAttr:$lazy,
                       DefaultValuedAttr<I64Attr, "0">:$input);
  let assemblyFormat = [{
    $entry_name `calls` $callee (`states` $states^)? (`lazy` $lazy^)?
    (`input` $input^)? attr-dict
  }];
}

#endif // MOE_DIALECTS_MOE_MOEPOOL_TD
