#ifndef MOE_FRONTENDS_HUGGINGFACE_WRITEFOLDER_H
#define MOE_FRONTENDS_HUGGINGFACE_WRITEFOLDER_H

#include "dialects/MoE/MoEOps.h"
#include "frontends/HuggingFace/Export.h"

namespace moe::hf {

/// A tensor of the result. Its bytes exist only while they are written.
struct PlannedTensor {
  std::string name, dtype; // the format's spelling
  llvm::SmallVector<int64_t, 2> shape;
  /// A view of a bank, in elements of the bank, row by row...
  BankOp bank;
  SliceGeometry view;
  /// ... or the bytes themselves.
  std::string inlined;

  uint64_t size() const;
};

/// Writes tensors, `config` (to which it adds the hashes of files) and what
/// else lies in the folder of `source`.
mlir::LogicalResult writeFolder(std::vector<PlannedTensor> tensors,
                                rt::Json config, const rt::Checkpoint &source,
                                llvm::StringRef folder, mlir::Location loc,
                                const ExportOptions &options);

} // namespace moe::hf

#endif // MOE_FRONTENDS_HUGGINGFACE_WRITEFOLDER_H
