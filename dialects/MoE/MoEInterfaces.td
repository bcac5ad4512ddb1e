#ifndef MOE_DIALECTS_MOE_MOEINTERFACES_TD
#define MOE_DIALECTS_MOE_MOEINTERFACES_TD

include "mlir/IR/OpBase.td"

def MoE_ExpertOpInterface : OpInterface<"ExpertOpInterface"> {
  let cppNamespace = "::moe";
  let description = [{
    An entry of a `moe.pool`. An op of another dialect may be an entry too:
    implementing this interface is all that the pool asks for.
  }];
  let methods = [
    InterfaceMethod<"The entry's name, unique in its pool.",
        "::llvm::StringRef", "getEntryName">,
    InterfaceMethod<"Which of `moe.apply`'s token operands the entry reads.",
        "int64_t", "getInputGroup", (ins), [{}], [{ return 0; }]>,
    InterfaceMethod<[{
      True where the rows of a token must be brought to the entry; false where
      the combine computes it on the way (zero, copy, constant).
    }], "bool", "needsDispatch", (ins), [{}], [{ return true; }]>,
    InterfaceMethod<[{
      Parameters, bytes of the first storage variant, and floating-point
      operations per token (2 per multiply-add). An alias costs no parameters.
    }], "::moe::ExpertCost", "getCost",
        (ins "::mlir::SymbolTableCollection &":$symbols)>,
  ];
}

#endif // MOE_DIALECTS_MOE_MOEINTERFACES_TD
