#ifndef MOE_PASSES_COMPRESS_SHARES_H
#define MOE_PASSES_COMPRESS_SHARES_H

#include "passes/Compress/Layers.h"

namespace moe {

/// How many of its experts each layer keeps: `keep`, or what is left without
/// the share `ratio` (rounded half up). One of them is given, the other
/// negative. Fails with an error that names pass and layer.
mlir::FailureOr<std::vector<int64_t>>
keptCounts(llvm::StringRef pass, llvm::ArrayRef<MoELayer> layers, int64_t keep,
           double ratio);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_SHARES_H
