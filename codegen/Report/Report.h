#ifndef MOE_CODEGEN_REPORT_REPORT_H
#define MOE_CODEGEN_REPORT_REPORT_H

#include "llvm/Support/JSON.h"
#include <string>

namespace moe {
/// One HTML file about a compiled model: no scripts, no network, every name
/// escaped. `facts` is what `collectModelFacts` says (missing members are left
/// out of the page), with what the driver knows of compression
/// (CompressionPlots.h); `runs` holds one object per measured run:
///
///   name             text the reader knows the run by ("prose")
///   bits_per_byte    number, optional
///   tokens_per_second number, optional
///   layers           [{"name": text, "counts": [n, ...]}, ...], optional, with
///                    more of what was measured (ProfileFacts.h)
///   phases           [{"name": text, "seconds": s}, ...], optional
std::string renderReport(const llvm::json::Object &facts,
                         const llvm::json::Array &runs);
} // namespace moe

#endif // MOE_CODEGEN_REPORT_REPORT_H
