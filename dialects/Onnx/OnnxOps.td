#ifndef MOE_DIALECTS_ONNX_ONNXOPS_TD
#define MOE_DIALECTS_ONNX_ONNXOPS_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Onnx_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::moe::onnx";
  let summary = "ONNX graphs, one to one";
  let description = [{
    The edge dialect: one generic op mirrors a node of an ONNX graph, so that
    an import can be tested as text. It is gone after raising and conversion.
  }];
}

class Onnx_Op<string mnemonic, list<Trait> traits = []>
    : Op<Onnx_Dialect, mnemonic, traits>;

def Onnx_Value : AnyTypeOf<[AnyTensor, NoneType]>;

def Onnx_NodeOp : Onnx_Op<"node", [Pure]> {
  let summary = "A node of an ONNX graph";
  let description = [{
    `op_type`, `domain` ("" is the default domain) and the node's attributes
    are kept as they stand in the file; `version` is the version of the
    operator (its since-version for the model's opset import). An absent
    optional input is an `onnx.none`; absent optional outputs have type
    `none`. Subgraphs (If, Loop) are regions in the order of the operator's
    definition (If: then, else; Loop: body), ending in `onnx.yield`; they use
    values of the enclosing scope directly. The body of a Loop has an argument
    for the iteration, the condition and each carried value; sizes of carried
    values that differ between iterations are dynamic. Unknown shapes are dynamic
    dimensions, unknown ranks unranked tensors. Signed integers are signless
    in MLIR, unsigned ones `ui8` and so on, booleans `i1`.

    Example:

    ```mlir
    %y = onnx.node "Gemm" v 13 (%a, %b) {transB = 1 : i64}
        : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op_type, DefaultValuedStrAttr<StrAttr, "">:$domain,
                       I64Attr:$version, Variadic<Onnx_Value>:$inputs,
                       OptionalAttr<DictionaryAttr>:$onnx_attributes);
  let results = (outs Variadic<Onnx_Value>:$outputs);
  let regions = (region VariadicRegion<SizedRegion<1>>:$bodies);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// The ONNX attribute `name`, or null.
    ::mlir::Attribute attribute(::llvm::StringRef name) {
      return getOnnxAttributes() ? getOnnxAttributes()->get(name) : ::mlir::Attribute();
    }
    /// True for operator `name` of the default domain.
    bool is(::llvm::StringRef name) {
      return getDomain().empty() && getOpType() == name;
    }
    bool is(::llvm::StringRef domain, ::llvm::StringRef name) {
      return getDomain() == domain && getOpType() == name;
    }
    /// Input `i`, or null where the node has fewer inputs or it is absent.
    ::mlir::Value input(unsigned i) {
      if (i >= getInputs().size() ||
          ::mlir::isa<::mlir::NoneType>(getInputs()[i].getType()))
        return {};
      return getInputs()[i];
    }
    int64_t intAttribute(::llvm::StringRef name, int64_t otherwise);
    double floatAttribute(::llvm::StringRef name, double otherwise);
    ::llvm::StringRef stringAttribute(::llvm::StringRef name,
                                      ::llvm::StringRef otherwise);
    /// An ints attribute, or empty where the node does not have it.
    ::llvm::SmallVector<int64_t> intsAttribute(::llvm::StringRef name);
  }];
}

def Onnx_ConstantOp : Onnx_Op<"constant", [
    Pure, ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "A small constant tensor";
  let description = [{
    Constants of a graph that are small enough to be read in the text;
    weights are `moe.bank` symbols.

    Example:

    ```mlir
    %axes = onnx.constant dense<[0, 1]> : tensor<2xi64>
    ```
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "$value attr-dict";
  let hasFolder = 1;
}

def Onnx_NoneOp : Onnx_Op<"none", [Pure, ConstantLike]> {
  let summary = "An absent optional input";
  let description = [{
    Example:

    ```mlir
    %none = onnx.none
    ```
  }];
  let arguments = (ins);
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict";
  let hasFolder = 1;
}

def Onnx_YieldOp : Onnx_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "End a subgraph";
  let description = [{
    Example:

    ```mlir
    onnx.yield %y : tensor<?xf32>
    ```
  }];
  let arguments = (ins Variadic<Onnx_Value>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif // MOE_DIALECTS_ONNX_ONNXOPS_TD
