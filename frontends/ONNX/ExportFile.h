#ifndef MOE_FRONTENDS_ONNX_EXPORTFILE_H
#define MOE_FRONTENDS_ONNX_EXPORTFILE_H

#include "frontends/ONNX/ExportWeights.h"
#include "frontends/ONNX/onnx.pb.h"

namespace moe::onnx {

/// Writes `model`, whose graph lacks the initializers `weights`, to `path`. The
/// weights' bytes go into the file, or into `<path>.data` beside it.
mlir::LogicalResult writeModel(const pb::Model &model,
                               llvm::ArrayRef<PlannedWeight> weights,
                               llvm::StringRef path, mlir::Location loc,
                               const ExportOptions &options);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_EXPORTFILE_H
