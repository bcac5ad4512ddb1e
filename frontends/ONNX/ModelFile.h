#ifndef MOE_FRONTENDS_ONNX_MODELFILE_H
#define MOE_FRONTENDS_ONNX_MODELFILE_H

#include "frontends/ONNX/onnx.pb.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>

namespace moe::onnx {

/// A parsed ONNX file, and where the raw bytes of its initializers lie in it.
struct ModelFile {
  struct Range {
    uint64_t offset, size;
  };

  pb::Model model;
  /// By initializer of the main graph: its raw_data in the file.
  llvm::StringMap<Range> rawRanges;

  /// Parses `buffer`. Fails with one message through `emitError` when it is
  /// not an ONNX file, damaged, or of a version that we do not know.
  static std::unique_ptr<ModelFile>
  parse(llvm::StringRef buffer,
        llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
};

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_MODELFILE_H
