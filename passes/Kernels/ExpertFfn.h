#ifndef MOE_PASSES_KERNELS_EXPERTFFN_H
#define MOE_PASSES_KERNELS_EXPERTFFN_H

#include "codegen/CPU/PanelProduct.h"
#include "passes/Kernels/Kernels.h"

namespace moe::kernels {

/// The experts of a layer: tokens are grouped by expert; each expert's rows go
/// through its first matrix into `hidden`, which lies in tiles; then every
/// range of output columns adds up what the experts say about it, in the order
/// of the experts, whoever computes it. Where a matrix comes in two factors,
/// what the first one makes lies in tiles as well.
class ExpertFfn {
public:
  ExpertFfn(KernelBuilder &k, moert::ExpertFfnOp op);
  llvm::SmallVector<Num> operands(KernelBuilder &k) const;
  std::string name() const;
  void write(KernelBuilder &k, llvm::ArrayRef<Num> arguments) const;

  using Matrix = moert::ExpertFfnOp::Matrix;
  /// How a weight is coded, as the product of panels wants to know it.
  static std::optional<CodedPanel> codedPanel(const Matrix &m);

private:
  /// The operands by name, wherever they were carried to.
  struct Operands {
    Num tokens, x, ids, weights;
    // Scales and zeros where they are coded; low ones where there are any.
    CodedPanel::Place up, down, upLow, downLow;
    Num y, upBias, downBias, residual;
    Num entries; // i32 table: matrix of a column
  };
  /// The optional ones, in the order in which they are carried.
  static llvm::SmallVector<Num *> optional(Operands &o) {
    return {&o.up.scales,     &o.up.zeros,       &o.down.scales,
            &o.down.zeros,    &o.upLow.values,   &o.upLow.scales,
            &o.upLow.zeros,   &o.downLow.values, &o.downLow.scales,
            &o.downLow.zeros, &o.upBias,         &o.downBias,
            &o.residual,      &o.entries};
  }
  /// Which of them there are.
  llvm::SmallVector<bool> present() const {
    return {bool(op.getUpScales()),
            bool(op.getUpZeros()),
            bool(op.getDownScales()),
            bool(op.getDownZeros()),
            bool(op.getUpLow()),
            bool(op.getUpLowScales()),
            bool(op.getUpLowZeros()),
            bool(op.getDownLow()),
            bool(op.getDownLowScales()),
            bool(op.getDownLowZeros()),
            bool(op.getUpBias()),
            bool(op.getDownBias()),
            op.getResidual() && !inPlace(),
            bool(op.getEntries())};
  }
  /// Whether the sum goes on in the destination.
  bool inPlace() const { return op.getResidual() == op.getOuts(); }
  Operands unpack(llvm::ArrayRef<Num> arguments) const;
  llvm::SmallVector<Num> pack(const Operands &o) const;

  /// How the tokens of a call are grouped.
  struct Groups {
    Num order;   ///< slots (token * k + choice), by expert
    Num table;   ///< (expert, first, rows) per block of rows, i64
    Num hidden;  ///< what comes out of the first matrix, in tiles
    Num upLow;   ///< what comes out of its first factor, in tiles
    Num downLow; ///< the same of the second matrix
    Num blocks;  ///< number of blocks
  };
  /// Rows of one expert, next to each other in `order`.
  struct Block {
    Num expert, first, rows;
  };
  static Block blockAt(KernelBuilder &k, const Groups &g, Num index);
  Groups group(KernelBuilder &k, const Operands &o, Num memory) const;
  void some(KernelBuilder &k, const Operands &o) const;
  void gather(KernelBuilder &k, const Operands &o, const Groups &g,
              const Block &block, Num tiles, Num table) const;
  void keepTiles(KernelBuilder &k, const Block &block, Num from, Num table,
                 Num tiles, int64_t depth, Num column, Num columns) const;
  /// What a range of panels of a matrix needs to work on a block.
  struct Item {
    Num memory, block, panel, lastPanel;
  };
  void upLowItem(KernelBuilder &k, const Operands &o, const Groups &g,
                 const Item &item) const;
  void upItem(KernelBuilder &k, const Operands &o, const Groups &g,
              const Item &item) const;
  void downLowItem(KernelBuilder &k, const Operands &o, const Groups &g,
                   const Item &item) const;
  void lowPanels(KernelBuilder &k, const Block &block, const Item &item,
                 const Matrix &low, int64_t rank,
                 const CodedPanel::Place &weights, Num from, Num to, Num out,
                 Num table) const;
  void downItem(KernelBuilder &k, const Operands &o, const Groups &g, Num out,
                Num panel, Num lastPanel) const;
  Num activate(KernelBuilder &k, Num x) const;
  Num hiddenOf(KernelBuilder &k, const Operands &o, Num out, Num expert,
               Num column, bool isVector) const;

  static PanelProduct productOf(const Matrix &m) {
    return {element(m.values), dim(m.values, 2), codedPanel(m)};
  }
  /// Numbers between the factors of a matrix; 0 where it has none.
  static int64_t rankOf(const Matrix &low, const Matrix &matrix) {
    return low.values ? dim(matrix.values, 2) : 0;
  }
  int64_t upRank() const {
    return rankOf(op.getUpLowMatrix(), op.getUpMatrix());
  }
  int64_t downRank() const {
    return rankOf(op.getDownLowMatrix(), op.getDownMatrix());
  }
  /// Rows of a group: as many as all products like.
  int64_t blockRows(const Isa &isa) const {
    int64_t rows = INT64_MAX;
    for (const Matrix &m : {op.getUpMatrix(), op.getDownMatrix(),
                            op.getUpLowMatrix(), op.getDownLowMatrix()})
      if (m.values)
        rows = std::min(rows, productOf(m).blockRows(isa));
    return rows;
  }

  mutable moert::ExpertFfnOp op; // a handle: its getters are not const
  int64_t experts, slots, features, inner, outputs;
  int64_t width, lanes;
};

} // namespace moe::kernels

#endif // MOE_PASSES_KERNELS_EXPERTFFN_H
