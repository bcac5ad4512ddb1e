#ifndef MOE_PASSES_COMPRESS_GRAMS_H
#define MOE_PASSES_COMPRESS_GRAMS_H

#include "passes/Compress/Calibration.h"

namespace moe {
class CompressInputs;

/// Sums of products of what the matrices of a layer's experts read, as
/// recipes: numbers are made when a matrix is, so that no more than one of each
/// is in memory. Inputs have those of all the layer's tokens, from the profile;
/// hidden units those of the sampled rows routed to the expert, where there are
/// four to a unit, else of all.
class LayerGrams {
public:
  /// On at most `rows` rows of the sample. Fails with an error that says what
  /// is missing.
  static mlir::FailureOr<LayerGrams> of(const MoELayer &layer,
                                        const CompressInputs &inputs,
                                        int64_t rows,
                                        mlir::SymbolTable &symbols);

  /// Of what a matrix of the expert that is entry `e` reads.
  mlir::FailureOr<mlir::Attribute> of(int64_t e, ExpertOp expert,
                                      llvm::StringRef matrix,
                                      const mlir::SymbolTable &symbols) const;

private:
  MoELayer layer;
  std::optional<Calibration> calibration;
  SliceAttr inputs, sample;
};

} // namespace moe

#endif // MOE_PASSES_COMPRESS_GRAMS_H
