#ifndef MOE_PASSES_COMPRESS_PROFILE_H
#define MOE_PASSES_COMPRESS_PROFILE_H

#include "passes/Analysis/Numbers.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>
#include <optional>

namespace moe {

/// What runs of a model with observers have written down (`--profile`), as
/// `runtime/README.md` says: sums per layer and expert, and a sample of the
/// rows that experts read.
class Profile {
public:
  /// Reads the file at `path`; fails where it is no profile.
  static llvm::Expected<std::unique_ptr<Profile>> load(llvm::StringRef path);

  llvm::StringRef getPath() const { return path; }
  llvm::StringRef getFingerprint() const { return fingerprint; }
  bool hasLayer(llvm::StringRef layer) const { return layers.contains(layer); }

  /// A tensor of a layer (`counts`, `score_sum`, `sample`...), vectors as
  /// columns; nothing where it was not measured.
  std::optional<Numbers> get(llvm::StringRef layer, llvm::StringRef name) const;

private:
  struct Tensor {
    std::string dtype;
    llvm::SmallVector<int64_t, 2> shape;
    uint64_t offset;
  };

  std::string path, fingerprint;
  std::unique_ptr<llvm::MemoryBuffer> bytes;
  llvm::StringMap<int64_t> layers; ///< numbers by name
  llvm::StringMap<Tensor> tensors;
};

} // namespace moe

#endif // MOE_PASSES_COMPRESS_PROFILE_H
