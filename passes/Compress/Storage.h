#ifndef MOE_PASSES_COMPRESS_STORAGE_H
#define MOE_PASSES_COMPRESS_STORAGE_H

#include "passes/Compress/Layers.h"
#include <optional>

namespace moe {

/// How a type stores a matrix.
struct Storage {
  llvm::StringRef name;
  int64_t bits = 0;
  llvm::StringRef code = "int"; ///< empty: plain numbers of `plain`
  mlir::FloatType plain;
  int64_t block = 32; ///< inputs that share a scale; 0: a row
  bool asymmetric = false;

  /// Bytes of a number with its part of the scale.
  double bytes() const;
};

/// The storage that `--compress` calls `name`; nothing where there is none
/// (`knownStorages` lists them).
std::optional<Storage> storageOf(mlir::MLIRContext *context,
                                 llvm::StringRef name, int64_t block,
                                 bool asymmetric);
inline constexpr llvm::StringLiteral knownStorages =
    "int8, int4, mxfp4, nf4, fp8, bf16 or f16";

/// Is there such a storage? Otherwise tells `emitError` why not.
mlir::LogicalResult
checkStorage(const Storage &storage,
             llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// What codes are chosen by, each null where it is not.
struct CodeChoice {
  mlir::Attribute moments, gram;
};

/// A slice of new banks that store matrix `matrix` of the expert, which is
/// `slice` now.
mlir::FailureOr<SliceAttr> addStored(const MoELayer &layer, ExpertOp expert,
                                     llvm::StringRef matrix, SliceAttr slice,
                                     const Storage &storage,
                                     const CodeChoice &choice,
                                     mlir::SymbolTable &symbols);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_STORAGE_H
