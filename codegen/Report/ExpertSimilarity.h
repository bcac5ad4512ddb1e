#ifndef MOE_CODEGEN_REPORT_EXPERTSIMILARITY_H
#define MOE_CODEGEN_REPORT_EXPERTSIMILARITY_H

#include "llvm/Support/JSON.h"

namespace mlir {
class ModuleOp;
} // namespace mlir

namespace moe {
class WeightSource;
namespace rt {
struct Profile;
} // namespace rt

/// How alike the experts of each layer are (arXiv 2406.18219), for the report;
/// `module` is in phase `raised` or `optimized`, `profile` is one of its model.
/// One object per layer; matrices are `[E * E]` numbers, row by row:
///
///   layer     text
///   experts   E
///   note      why there is nothing more, else absent
///   weights   cosines of the experts' flattened matrices
///   router    cosines of the router's rows, where it is linear
///   fits      [{matrix, mean, r2}]: the mean of the cosines of one matrix,
///             and R^2 of the linear fit of them to those of router rows
///   outputs   mean cosines of the experts' outputs on the profile's sample
///   rows      how many rows of the sample were used, at most 256
///   ranks     counts: the expert with the i-th largest weight of the router
///             has the j-th largest norm of its output; their sum is rows * E
llvm::json::Array expertSimilarity(mlir::ModuleOp module, WeightSource &weights,
                                   const rt::Profile &profile);

} // namespace moe

#endif // MOE_CODEGEN_REPORT_EXPERTSIMILARITY_H
