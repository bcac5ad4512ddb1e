#ifndef MOE_CODEGEN_CUDA_HOPPERTILE_H
#define MOE_CODEGEN_CUDA_HOPPERTILE_H

#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/LayerKernels.h"
#include "codegen/CUDA/TileShapes.h"

namespace moe::cuda {
/// The shape of a tile: slots of an expert by rows of its matrix. Of the
/// product of a warpgroup, 64 rows by up to 256 columns, either may be the
/// columns.
struct HopperForm {
  int64_t slots, rows;
  int64_t stages;
  bool slotsAreColumns;

  static constexpr int64_t kRowBytes = 128;

  /// 128 slots, 64 for a warpgroup, by up to 256 rows: few of these lie outside
  /// of the matrix, and larger tiles read less.
  static HopperForm many(const ExpertMatrix &matrix);
  /// 64 slots by 128 rows, 64 for a warpgroup: no more slots than there are.
  static HopperForm some() {
    return {HopperShape::kSomeSlots, HopperShape::kSomeRows,
            HopperShape::kSomeStages, true};
  }

  int64_t columns() const { return slotsAreColumns ? slots : rows; }
  int64_t stageBytes() const { return (slots + rows) * kRowBytes; }
  /// With `spare` bytes for the caller.
  int64_t sharedBytes(int64_t spare) const {
    return stages * (stageBytes() + 16) + spare;
  }
};

/// A tile of an expert, from a slot and a row of the matrix on.
struct HopperWork {
  Num expert, begin, count, firstSlot, firstRow;
};

/// Tiles by a block of three warpgroups: one brings slots and rows to shared
/// memory, in steps of 128 bytes of each and as many ahead as there are
/// stages; two multiply (wgmma), or leave the tensor core to the other where
/// there are no slots for them. Full stages and empty ones are told by barriers
/// that count. Rows of the matrix come by its tensor map, slots are gathered.
class HopperTile {
public:
  using Nums = KernelBuilder::Nums;
  static constexpr int32_t kThreads = HopperShape::kThreads;
  static constexpr int64_t kRowBytes = HopperForm::kRowBytes;
  static constexpr int64_t kStepDepth = kRowBytes / 2;
  /// Of a warpgroup.
  static constexpr int64_t kGroupRows = 64, kGroupThreads = 128;
  /// Rows of the matrix that come at once: the map's box.
  static constexpr int64_t kBoxRows = kHopperBoxRows;

  /// Whether there are kernels for the matrix.
  static bool isSupported(const ExpertMatrix &matrix) {
    return !matrix.coded && matrix.element != Element::F32;
  }

  HopperTile(CudaBuilder &k, const ExpertMatrix &matrix, const HopperForm &form,
             int64_t spare)
      : form(form), k(k), matrix(matrix), spare(spare), thread(k.thread()),
        group(k.warp() / 4) {}

  using RowOf = llvm::function_ref<Num(const HopperWork &, Num slot)>;
  using Put = llvm::function_ref<void(const HopperWork &, Num sums)>;
  /// The whole kernel: all tiles of all experts, divided among the blocks.
  /// `rowOf` is the row of `left` for a slot of the expert; `put` is called by
  /// the threads that multiply, with sums as `moegpu.wgmma` has them.
  void run(Num left, llvm::ArrayRef<Num> offsetsActiveCount, RowOf rowOf,
           Put put);

  /// The warpgroup's half of the caller's bytes.
  Num spareOf();
  /// All threads of the warpgroup that multiplies.
  void meet();
  /// The thread in its warpgroup, and the warpgroup's first row of the product.
  Num inGroup() { return thread % kGroupThreads; }
  Num groupRow() { return (group - k.integer(1)) * kGroupRows; }

  const HopperForm form;

private:
  int64_t steps() const { return (matrix.depth + kStepDepth - 1) / kStepDepth; }
  /// Slots lie first in a stage, then rows of the matrix.
  Num inStage(Num stage, int64_t at) {
    return k.at(k.b.getI8Type(), k.shared(at), stage * form.stageBytes());
  }
  Num full(Num stage) { return barrierOf(stage, 0); }
  Num empty(Num stage) { return barrierOf(stage, form.stages); }
  Num barrierOf(Num stage, int64_t first) {
    return k.at(k.i64(),
                k.shared(form.stages * form.stageBytes() + spare + first * 8),
                stage);
  }
  /// Of the n-th step of a block: its stage, and the parity of the phase in
  /// which that is filled.
  Num stageOf(Num n) { return n % form.stages; }
  Num parityOf(Num n) { return k.convert(n / form.stages % 2, k.i32()); }
  void waitFor(Num barrier, Num parity);
  /// Until the stage of step n may be filled.
  void waitForEmpty(Num n);

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
  Num thread, group;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_HOPPERTILE_H
