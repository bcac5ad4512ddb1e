#ifndef MOE_CODEGEN_REPORT_MODELFACTS_H
#define MOE_CODEGEN_REPORT_MODELFACTS_H

#include "llvm/Support/JSON.h"

namespace mlir {
class ModuleOp;
} // namespace mlir

namespace moe {
/// What a module in phase `raised` or `optimized` says about its model, for the
/// report and the binary's manifest:
///
///   producer                            text
///   parameters, active_parameters       elements of all weights; those that
///                                       one token meets
///   weight_bytes                        as stored in the archives
///   flops_per_token                     2 per multiply-add of matrix products
///                                       with weights
///   layers   [{layer, experts, null_experts, top_k, router, expert, hidden,
///              inner, parameters, bytes, flops_per_token, encoding}]
///   ops      [{op, count, what}]        operations of ours, most frequent
///   first
llvm::json::Object collectModelFacts(mlir::ModuleOp module);
} // namespace moe

#endif // MOE_CODEGEN_REPORT_MODELFACTS_H
