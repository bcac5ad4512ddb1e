#ifndef MOE_PASSES_ANALYSIS_CODEDMATRIX_H
#define MOE_PASSES_ANALYSIS_CODEDMATRIX_H

#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include <optional>

namespace moe {

/// A quantised matrix as kernels for packed, coded weights read it.
struct CodedMatrix {
  /// Values, of which each takes `stored` bits in its bank; XORed with `flip`
  /// they are what moert.expert_ffn wants.
  struct Values {
    ColumnsAttr columns; ///< counts values
    int64_t stored, flip;
  };
  moert::Coding coding;
  int64_t block; ///< 0: all of a row
  int64_t depth;
  Values values;
  ColumnsAttr scales;
  mlir::Type scaleType;
  std::optional<Values> zeros;

  int64_t bits() const { return moert::ExpertFfnOp::getBits(coding); }
  int64_t blocks() const { return block ? (depth + block - 1) / block : 1; }
  /// What matrices that are packed together share, in words.
  std::string kind() const;
};

/// The matrix, where kernels with panels of `width` columns can multiply it;
/// empty where it is plain, or quantised in some other way.
std::optional<CodedMatrix> readCoded(mlir::Operation *from,
                                     mlir::Attribute matrix, int64_t width,
                                     mlir::SymbolTableCollection &symbols);

/// A matrix as kernels multiply by it: `matrix`, or `matrix * low`.
struct MatrixFactors {
  mlir::Attribute matrix;
  SliceAttr low; ///< `[rank, in]`, null where there is one matrix
};

/// The factors of a product of two slices and nothing else; any other matrix
/// comes back as it is.
MatrixFactors splitFactors(mlir::Attribute matrix);

/// Whether kernels can read `matrices` of the expert (gate and up, or one) as
/// they are stored, in the same panels: plain or coded in one way, and behind
/// the same low factor where they have one.
bool areReadable(ExpertOp expert, llvm::ArrayRef<mlir::Attribute> matrices,
                 int64_t width, mlir::SymbolTableCollection &symbols);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_CODEDMATRIX_H
