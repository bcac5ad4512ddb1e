#ifndef MOE_DIALECTS_MOE_MOEDIALECT_TD
#define MOE_DIALECTS_MOE_MOEDIALECT_TD

include "mlir/IR/OpBase.td"

def MoE_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::moe";
  let summary = "Mixture-of-Experts structure: weights, pools, routers, gates";
  let description = [{
    What upstream MLIR lacks to speak about Mixture-of-Experts models, with
    value semantics on tensors. Dense mathematics around the experts stays in
    linalg, arith, math and tensor.
  }];
  // Canonicalisation makes their ops.
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = "void registerAttributes();";
}

class MoE_Op<string mnemonic, list<Trait> traits = []>
    : Op<MoE_Dialect, mnemonic, traits>;

#endif // MOE_DIALECTS_MOE_MOEDIALECT_TD
