#ifndef MOE_FRONTENDS_ONNX_EXTERNALDATA_H
#define MOE_FRONTENDS_ONNX_EXTERNALDATA_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/StringMap.h"
#include <string>

namespace moe::onnx {

/// The files that hold a model's external data. A location is a relative path
/// below the model's folder; links are followed only while they stay inside.
class ExternalFiles {
public:
  struct File {
    std::string path;
    uint64_t size;
  };

  explicit ExternalFiles(std::string folder) : folder(std::move(folder)) {}

  /// The file at `location`, or null after a message through `emitError`.
  const File *find(llvm::StringRef location,
                   llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

  /// All files found so far, by location.
  const llvm::StringMap<File> &files() const { return known; }

private:
  std::string folder;
  llvm::StringMap<File> known;
};

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_EXTERNALDATA_H
