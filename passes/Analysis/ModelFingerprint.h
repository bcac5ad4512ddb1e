#ifndef MOE_PASSES_ANALYSIS_MODELFINGERPRINT_H
#define MOE_PASSES_ANALYSIS_MODELFINGERPRINT_H

#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace moe {
class WeightSource;

/// Tells models apart, in hex: SHA-256 over the names, types and first 4 KiB of
/// all banks and over the pools, routers and gates, right after
/// `--moe-raise-experts`. It does not depend on files' names, on observers, on
/// the target or on how the model is optimised. Fails with a diagnostic where
/// weights cannot be read.
mlir::FailureOr<std::string> modelFingerprint(mlir::ModuleOp module,
                                              WeightSource &weights);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_MODELFINGERPRINT_H
