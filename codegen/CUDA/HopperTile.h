#ifndef MOE_CODEGEN_CUDA_HOPPERTILE_H
#define MOE_CODEGEN_CUDA_HOPPERTILE_H

#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/LayerKernels.h"

namespace moe::cuda {
/// A tile of the rows of one expert.
struct HopperWork {
  Num expert, begin, count, firstSlot, firstColumn;
};

/// 128 rows (slots) times up to 256 columns (rows of the matrix) by a block of
/// three warpgroups: one brings rows to shared memory, in steps of 128 bytes
/// of each and four steps ahead, two multiply 64 rows each (wgmma), or
/// leave the tensor core to the other where there are none. Full
/// stages and empty ones are told by barriers that count. Columns come by the
/// tensor map of the matrix, rows are gathered.
class HopperTile {
public:
  using Nums = KernelBuilder::Nums;
  static constexpr int32_t kThreads = 384;
  static constexpr int64_t kRows = 128, kStages = 4, kRowBytes = 128;
  static constexpr int64_t kStepDepth = kRowBytes / 2;
  /// Of a warpgroup.
  static constexpr int64_t kGroupRows = 64, kGroupThreads = 128;
  /// Rows of the matrix that come at once: the map's box.
  static constexpr int64_t kBoxRows = kHopperBoxRows;

  /// Whether there are kernels for the matrix.
  static bool isSupported(const ExpertMatrix &matrix) {
    return !matrix.coded && matrix.element != Element::F32;
  }
  /// Columns of a tile: few of them lie outside of the matrix, and larger tiles
  /// read less.
  static int64_t columnsFor(const ExpertMatrix &matrix);

  /// `spare` bytes of shared memory are the caller's; see `spareOf`.
  HopperTile(CudaBuilder &k, const ExpertMatrix &matrix, int64_t spare);
  static int64_t sharedBytes(const ExpertMatrix &matrix, int64_t spare);

  using RowOf = llvm::function_ref<Num(const HopperWork &, Num slot)>;
  using Put = llvm::function_ref<void(const HopperWork &, Num sums)>;
  /// The whole kernel: all tiles of all experts, divided among the blocks.
  /// `rowOf` is the row of `left` for a slot of the expert; `put` is called by
  /// the threads that multiply, with sums as `moegpu.wgmma` has them.
  void run(Num left, llvm::ArrayRef<Num> offsetsActiveCount, RowOf rowOf,
           Put put);

  /// The warpgroup's bytes of the caller's.
  Num spareOf();
  /// All threads of the warpgroup that multiplies.
  void meet();
  /// The thread in its warpgroup, and the warpgroup's first row.
  Num inGroup() { return thread % kGroupThreads; }
  Num groupRow() { return (group - k.integer(1)) * kGroupRows; }

  const int64_t columns;

private:
  int64_t steps() const { return (matrix.depth + kStepDepth - 1) / kStepDepth; }
  int64_t stageBytes() const { return (kRows + columns) * kRowBytes; }
  Num inStage(Num stage, int64_t at) {
    return k.at(k.b.getI8Type(), k.shared(at), stage * stageBytes());
  }
  Num full(Num stage) { return barrierOf(stage, 0); }
  Num empty(Num stage) { return barrierOf(stage, kStages); }
  Num barrierOf(Num stage, int64_t first) {
    return k.at(k.i64(), k.shared(kStages * stageBytes() + spare + first * 8),
                stage);
  }
  /// Of the n-th step of a block: its stage, and the parity of the phase in
  /// which that is filled.
  Num stageOf(Num n) { return n % kStages; }
  Num parityOf(Num n) { return k.convert(n / kStages % 2, k.i32()); }
  void waitFor(Num barrier, Num parity);

  void makeBarriers();
  /// `body(work, n)` for the block's tiles; `n` steps have been before.
  Num forTiles(llvm::ArrayRef<Num> offsetsActiveCount,
               llvm::function_ref<void(const HopperWork &, Num)> body);
  void bring(const HopperWork &work, Num n, Num left, RowOf rowOf);
  Num multiply(Num n);
  void skip(Num n);
  void release(Num n);

  CudaBuilder &k;
  const ExpertMatrix &matrix;
  int64_t spare;
  Num thread, warp, group;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_HOPPERTILE_H
