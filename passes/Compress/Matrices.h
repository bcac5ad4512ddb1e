#ifndef MOE_PASSES_COMPRESS_MATRICES_H
#define MOE_PASSES_COMPRESS_MATRICES_H

#include "passes/Compress/Calibration.h"
#include <map>

namespace moe {
class CompressInputs;

/// The names of an expert's matrices that are there, of `gate`, `up`, `down`.
llvm::SmallVector<llvm::StringRef> matrixNames(ExpertOp expert);

/// The sizes of a matrix or vector that is a slice (`shapeOf`). Fails with an
/// error, also where it has been factored.
mlir::FailureOr<llvm::SmallVector<int64_t, 2>>
shapeOf(const MoELayer &layer, ExpertOp expert, llvm::StringRef matrix,
        const mlir::SymbolTable &symbols);

/// The element type that the numbers of a slice have when they are plain: the
/// bank's, or f32 where it is quantised.
mlir::FloatType plainType(SliceAttr slice, const mlir::SymbolTable &symbols);

/// Replaces a matrix or vector of the expert by what `recipe` makes of shape
/// `shape`, stored like the old one.
void replaceMatrix(const MoELayer &layer, ExpertOp expert,
                   llvm::StringRef matrix, mlir::Attribute recipe,
                   llvm::ArrayRef<int64_t> shape, mlir::SymbolTable &symbols);

/// Gives the expert the hidden units `order` of those that it has, in this
/// order: rows of gate, up and their biases, columns of down.
mlir::LogicalResult takeHiddenUnits(const MoELayer &layer, ExpertOp expert,
                                    llvm::ArrayRef<int64_t> order,
                                    mlir::SymbolTable &symbols);

/// Mean squares of what the matrices of an expert read: of the layer's inputs
/// (those routed to the expert, where the profile knows them) for `gate` and
/// `up`, of its hidden numbers on the sample for `down`.
struct Moments {
  std::vector<double> input, hidden;
};

/// Moments by layer, entry and rows looked at. They hold as long as steps start
/// from experts and gates that are the same; then it is cleared.
class MomentsMemo {
public:
  using Key = std::tuple<std::string, int64_t, int64_t>;
  const Moments *find(const Key &key) const {
    auto found = moments.find(key);
    return found == moments.end() ? nullptr : &found->second;
  }
  void insert(const Key &key, const Moments &own) { moments[key] = own; }
  void clear() { moments.clear(); }

private:
  std::map<Key, Moments> moments;
};

/// The same as banks, for recipes; null where nobody wants them.
struct MomentSlices {
  SliceAttr input, hidden;
  SliceAttr of(llvm::StringRef matrix) const {
    return matrix == "down" ? hidden : input;
  }
};

/// The moments of a layer's experts, on at most `rows` rows of the sample.
class LayerMoments {
public:
  /// Without `wanted` nothing is read, and slices are null. Fails with an error
  /// that says what is missing, also where the layer scales what experts read.
  static mlir::FailureOr<LayerMoments> of(const MoELayer &layer,
                                          const CompressInputs &inputs,
                                          int64_t rows, bool wanted = true);

  const Calibration &getCalibration() const { return *calibration; }
  /// Of the expert that is entry `e`.
  mlir::FailureOr<Moments> get(int64_t e, ExpertOp expert) const;
  /// The moments, raised to `power`.
  mlir::FailureOr<MomentSlices> addBanks(int64_t e, ExpertOp expert,
                                         mlir::SymbolTable &symbols,
                                         double power = 1) const;

private:
  MoELayer layer;
  std::optional<Calibration> calibration;
  WeightSource *weights = nullptr;
  MomentsMemo *memo = nullptr;
  int64_t rows = 0;
  /// Of the profile: sums of squares `[experts, in]`, and selections.
  std::optional<Numbers> sums, counts;
};

/// A bank of f32 numbers, for recipes.
BankOp addNumbers(const MoELayer &layer, mlir::SymbolTable &symbols,
                  const llvm::Twine &name, llvm::ArrayRef<double> numbers);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_MATRICES_H
