#ifndef MOE_CODEGEN_BUNDLE_WRITEBUNDLE_H
#define MOE_CODEGEN_BUNDLE_WRITEBUNDLE_H

#include "codegen/Link/WeightWriter.h"
#include "llvm/Support/JSON.h"
#include <string>

namespace moe {

/// What a bundle says of its model.
struct BundleText {
  std::string name;
  std::string target;      // "cpu:znver4"
  std::string cpuFeatures; // as in moert_model
  uint64_t weightsSize = 0;
};

/// Writes a bundle (runtime/Bundle/README.md) to `path`: the model library at
/// `image`, linked without weights, and the placed weights that `weights`
/// writes.
mlir::LogicalResult writeBundle(mlir::MLIRContext *context,
                                WeightWriter &weights, llvm::StringRef path,
                                llvm::StringRef image, const BundleText &text,
                                WeightProgress progress,
                                llvm::json::Object &facts);

} // namespace moe

#endif // MOE_CODEGEN_BUNDLE_WRITEBUNDLE_H
