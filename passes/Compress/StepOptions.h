#ifndef MOE_PASSES_COMPRESS_STEPOPTIONS_H
#define MOE_PASSES_COMPRESS_STEPOPTIONS_H

#include "passes/Compress/Compress.h"

namespace moe {

/// Fails where the pass of a step, which must be registered, has no option of
/// such a name, or where a value is not of the option's kind. LLVM's own
/// parser says less, and to standard error.
llvm::Error checkOptions(const CompressStep &step);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_STEPOPTIONS_H
