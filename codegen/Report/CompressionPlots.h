#ifndef MOE_CODEGEN_REPORT_COMPRESSIONPLOTS_H
#define MOE_CODEGEN_REPORT_COMPRESSIONPLOTS_H

#include "llvm/Support/JSON.h"

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace moe {
/// "compression" of the facts: bytes after each step as bars, beside them what
/// it cost in output error and bits per byte, and a table of all figures.
void plotCompression(llvm::raw_ostream &os, const llvm::json::Object &facts);

/// "front" of the facts: the recipes that `--compress=auto` tried, share of
/// bytes against loss. Those that were run are filled, those of which the error
/// is only predicted hollow.
void plotFront(llvm::raw_ostream &os, const llvm::json::Object &facts);
} // namespace moe

#endif // MOE_CODEGEN_REPORT_COMPRESSIONPLOTS_H
