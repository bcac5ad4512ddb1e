#ifndef MOE_CODEGEN_CUDA_GROUPEDTILE_H
#define MOE_CODEGEN_CUDA_GROUPEDTILE_H

#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/TileShapes.h"
#include <memory>

namespace moe::cuda {
/// 64 rows (slots) times 128 columns (rows of the matrix) by the 8 warps of a
/// block, 32 x 32 each. What a step needs, 128 bytes of each row, travels to
/// shared memory while earlier steps are multiplied.
class GroupedTile : public GroupedShape {
public:
  using Nums = KernelBuilder::Nums;

  /// A tile of the slots of one expert, of which it has `count` from `begin`
  /// on.
  struct Work {
    Num expert, begin, count, firstSlot, firstColumn;
  };

  static std::unique_ptr<GroupedTile> create(CudaBuilder &k,
                                             const ExpertMatrix &matrix);
  virtual ~GroupedTile() = default;

  /// Rows of a block that a thread copies.
  static constexpr int64_t kCopied = kRows / (kLayerThreads / 8);
  /// The i-th of them.
  Num copiedRow(int64_t i) {
    return thread / 8 + k.integer(i * (kLayerThreads / 8));
  }
  /// First slot and column of the warp's, in the block's.
  Num firstRow() { return warp / 4 * (kTall * 16); }
  Num firstColumn() { return warp % 4 * (kWide * 8); }

  /// Sums of the warp: tile (i, j) is number i * kWide + j, 4 numbers each, as
  /// `moegpu.mma` has them. `rows` are the rows of `left` that the thread
  /// copies, negative where there is none; columns begin with row `column` of
  /// the expert's matrix.
  Nums multiply(llvm::ArrayRef<Num> rows, Num left, Num expert, Num column);

  static int64_t sharedBytes(const ExpertMatrix &matrix);

  CudaBuilder &k;
  const ExpertMatrix &matrix;
  Num thread, lane, warp;

protected:
  GroupedTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : k(k), matrix(matrix), thread(k.thread()), lane(k.lane()),
        warp(k.warp()) {}

  /// Numbers of a row in a stage.
  int64_t stepDepth() const {
    return matrix.bytes ? kRowBytes : kRowBytes / sizeOf(matrix.element);
  }
  int64_t steps() const {
    int64_t depth = matrix.bytes ? matrix.bytes->codes() : matrix.depth;
    return (depth + stepDepth() - 1) / stepDepth();
  }
  /// The address of byte `at` of a stage.
  Num inStage(Num stage, Num at) {
    return k.at(k.b.getI8Type(), k.shared(0), stage * stageBytes(matrix) + at);
  }
  static int64_t stageBytes(const ExpertMatrix &matrix);
  /// Where 16 bytes `chunk` of a row of a stage lie: threads that read together
  /// find them in different banks.
  virtual Num place(Num stage, Num row, Num chunk);
  /// Starts to copy `from[row * depth + at]`, zero where it lies outside.
  void copyRow(Num from, Num row, Num step, Num stage, Num to);

  /// Of the block's tiles of 16 rows, in the expert's matrices. Beyond the
  /// last: the last; nobody looks at the sums.
  Num tileAt(Num number) {
    return expert * matrix.tiles() +
           k.min(column / 16 + number, k.integer(matrix.tiles() - 1));
  }

  /// The rows' part of a stage: a thread's bytes of row `row` of `left`.
  virtual void copyLeft(Num left, Num row, Num step, Num stage, Num to) {
    copyRow(left, row, step, stage, to);
  }
  /// The columns' part of a stage.
  virtual void startColumns() = 0;
  virtual void copyColumns(Num step, Num stage) = 0;
  /// What is read before the stage arrives, and carried to it.
  virtual Nums readAhead(Num step) { return {}; }
  virtual Nums add(Num step, Num stage, llvm::ArrayRef<Num> ahead,
                   llvm::ArrayRef<Num> sums) = 0;

  Num expert, column;
};

/// Of a matrix of codes.
std::unique_ptr<GroupedTile> createCodedGroupedTile(CudaBuilder &k,
                                                    const ExpertMatrix &matrix);
/// The same where rows are E4M3 numbers.
std::unique_ptr<GroupedTile> createByteGroupedTile(CudaBuilder &k,
                                                   const ExpertMatrix &matrix);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_GROUPEDTILE_H
