#ifndef MOE_CODEGEN_REPORT_EXPERTPLOTS_H
#define MOE_CODEGEN_REPORT_EXPERTPLOTS_H

#include "llvm/Support/JSON.h"

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace moe {
/// A bar per expert and layer: choices over all runs, as shares.
void plotCounts(llvm::raw_ostream &os, const llvm::json::Array &runs);

/// A line per run and layer of what profiles measured besides counts.
void tabulateMeasures(llvm::raw_ostream &os, const llvm::json::Array &runs);

/// Matrices of `expertSimilarity`, as images inside the page.
void plotSimilarity(llvm::raw_ostream &os, const llvm::json::Object &facts);
} // namespace moe

#endif // MOE_CODEGEN_REPORT_EXPERTPLOTS_H
