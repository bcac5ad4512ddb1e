#ifndef MOE_PASSES_ANALYSIS_ROUTERHASH_H
#define MOE_PASSES_ANALYSIS_ROUTERHASH_H

#include "mlir/IR/BuiltinOps.h"
#include <string>
#include <vector>

namespace moe {
class WeightSource;

struct RouterHash {
  std::string layer;
  std::string digest; ///< SHA-256, 32 bytes
};

/// Hashes of the weights of all linear routers, as little-endian f32
/// `[experts, features]`, under the names that their gates have in profiles.
/// They tell layers apart wherever the weights came from: an ONNX file and a
/// checkpoint of one model have the same. Fails with a diagnostic where
/// weights cannot be read.
mlir::FailureOr<std::vector<RouterHash>> routerHashes(mlir::ModuleOp module,
                                                      WeightSource &weights);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_ROUTERHASH_H
