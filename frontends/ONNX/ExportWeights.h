#ifndef MOE_FRONTENDS_ONNX_EXPORTWEIGHTS_H
#define MOE_FRONTENDS_ONNX_EXPORTWEIGHTS_H

#include "dialects/MoE/MoEOps.h"
#include "frontends/ONNX/Export.h"
#include "llvm/ADT/StringMap.h"

namespace moe::onnx {

/// A view of a bank: element i is `offset + sum i[d] * strides[d]`, counted in
/// elements of the bank.
struct BankView {
  BankOp bank;
  int64_t offset = 0;
  llvm::SmallVector<int64_t, 3> shape, strides;

  static BankView whole(BankOp bank);
  /// The view that `slice` means, in the order of the bank's dimensions.
  static mlir::FailureOr<BankView>
  of(SliceAttr slice, mlir::SymbolTable &symbols, mlir::Operation *user);
  mlir::Type elementType() const {
    return BankOp(bank).getTensorType().getElementType();
  }
  int64_t size() const;
};

/// A run of an initializer: the elements of one view, or the rows of two by
/// turns.
struct WeightPiece {
  BankView view;
  std::optional<BankView> second;
};

/// An initializer made of banks. Its bytes exist only while they are written.
struct PlannedWeight {
  std::string name;
  mlir::RankedTensorType type; // as ONNX sees it
  llvm::SmallVector<WeightPiece, 1> pieces;
  /// Bits to turn in every byte: between numbers around zero and unsigned ones
  /// around their middle it is the highest bit of each.
  uint8_t flip = 0;
  /// Numbers of four bits, one to a byte in the bank, are put two to a byte.
  bool pack = false;

  uint64_t bytes() const;
  /// Equal keys are equal bytes under equal types.
  std::string key() const;
};

/// Takes bytes as they come.
using ByteSink = llvm::function_ref<void(llvm::StringRef)>;

/// Reads weights from their banks, one or two banks at a time. Weights of one
/// bank should come one after the other: a derived bank is made when it is
/// opened, and forgotten when others take its place.
class WeightReader {
public:
  explicit WeightReader(const ExportOptions &options) : options(options) {}
  ~WeightReader();

  /// Gives all bytes of `weight` to `sink`, in runs of moderate size.
  mlir::LogicalResult read(const PlannedWeight &weight, ByteSink sink);

private:
  mlir::FailureOr<llvm::StringRef> open(BankOp bank, BankOp other);
  void letGo(const BankView &view, llvm::StringRef bytes);

  const ExportOptions &options;
  llvm::SmallVector<std::pair<BankOp, llvm::StringRef>, 2> banks;
};

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_EXPORTWEIGHTS_H
