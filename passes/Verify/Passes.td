#ifndef MOE_PASSES_VERIFY_PASSES_TD
#define MOE_PASSES_VERIFY_PASSES_TD

include "mlir/Pass/PassBase.td"

def VerifyPhasePass : Pass<"moe-verify-phase"> {
  let summary = "Check that only the ops of a phase are left";
  let description = [{
    `--moe-verify-phase=raised` fails with one error, at the first op that may
    not occur in that phase of a compilation:

    | phase | ops | values |
    | --- | --- | --- |
    | `imported` | onnx, func, `moe.bank`, `moe.weight` | no memrefs |
    | `raised`, `optimized` | moe, moert, linalg, tensor, arith, math, scf, func, ub, `cf.assert` | no memrefs |
    | `bufferized` | moert, linalg, memref, scf, cf, affine, func, math, vector, x86vector, arith, ub, gpu, moegpu, `moe.bank`, `moe.weight` | no tensors |
    | `llvm` | llvm, `gpu.binary` | |

    Modules may occur in any. Every pipeline ends its phases with this pass.
  }];
  let options = [
    Option<"phase", "phase", "std::string", /*default=*/"",
           "imported, raised, optimized, bufferized or llvm; `phase=` may be left out">
  ];
}

#endif // MOE_PASSES_VERIFY_PASSES_TD
