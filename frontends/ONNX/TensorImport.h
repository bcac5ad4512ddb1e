#ifndef MOE_FRONTENDS_ONNX_TENSORIMPORT_H
#define MOE_FRONTENDS_ONNX_TENSORIMPORT_H

#include "frontends/ONNX/ExternalData.h"
#include "frontends/ONNX/ModelFile.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace moe::onnx {

/// A tensor of the file: small ones as an attribute, the others as a place.
struct ImportedTensor {
  mlir::RankedTensorType type;
  mlir::DenseElementsAttr value; // null where it is a place
  std::string archive;
  uint64_t offset = 0, length = 0;
};

/// Tensors of this many bytes and less become constants in the IR.
constexpr uint64_t kLargestConstant = 4096;

/// Decodes `tensor`. `raw` is where its raw_data lies in the model file
/// `archive`, or null where that is unknown (attributes, subgraphs): then the
/// value is copied. Sizes are checked before anything is allocated.
mlir::FailureOr<ImportedTensor>
importTensor(const pb::Tensor &tensor, mlir::MLIRContext *context,
             llvm::StringRef archive, const ModelFile::Range *raw,
             ExternalFiles &files,
             llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_TENSORIMPORT_H
