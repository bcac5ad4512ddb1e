#ifndef MOE_CODEGEN_CUDA_HOPPERTILE_H
#define MOE_CODEGEN_CUDA_HOPPERTILE_H

#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/LayerKernels.h"
#include "codegen/CUDA/TileShapes.h"

namespace moe::cuda {
/// The shape of a tile: slots of an expert by rows of its matrix, and steps of
/// depth in a stage. Of the product of a warpgroup, 64 rows by up to 256
/// columns, either may be the columns.
struct HopperForm {
  int64_t slots, rows;
  int64_t steps;
  bool slotsAreColumns;
  /// Of a row of the matrix in a step: as of a slot, or of codes.
  int64_t matrixBytes = kRowBytes;

  static constexpr int64_t kRowBytes = 128; ///< of a slot in a step

  /// 128 slots, 64 for a warpgroup, by up to 256 rows: few of these lie outside
  /// of the matrix, and larger tiles read less.
  static HopperForm many(const ExpertMatrix &matrix);
  /// 64 slots by 128 rows, 64 for a warpgroup: no more slots than there are.
  static HopperForm some(const ExpertMatrix &matrix);

  int64_t columns() const { return slotsAreColumns ? slots : rows; }
  int64_t stepBytes() const { return slots * kRowBytes + rows * matrixBytes; }
  int64_t stageBytes() const { return steps * stepBytes(); }
};

/// A tile of an expert, from a slot and a row of the matrix on.
struct HopperWork {
  const HopperForm &form;
  Num expert, begin, count, firstSlot, firstRow;
};

/// Tiles by a block of three warpgroups: one brings slots and rows to shared
/// memory, as many steps ahead as there are stages for; two multiply (wgmma),
/// or leave the tensor core to the other where there are no slots for them.
/// Full stages and empty ones are told by barriers that count. Rows of the
/// matrix come by its tensor map, slots are gathered.
///
/// Rows of a quantised matrix come as codes, which are copied like slots, and
/// become the left side in registers; slots are always columns then
/// (CodedHopperTile.cpp).
///
/// Each expert has tiles of the form that suits its own number of slots; the
/// same stages and barriers serve both.
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
    return matrix.element != Element::F32 &&
           !(matrix.coded && matrix.coded->coding == rt::RowCoding::F8ByF8);
  }

  /// Experts with up to `mostSome` slots, at most `kSomeSlots`, have tiles for
  /// some. The caller has `spare` bytes.
  HopperTile(CudaBuilder &k, const ExpertMatrix &matrix, int64_t mostSome,
             int64_t spare)
      : k(k), matrix(matrix), some(HopperForm::some(matrix)),
        many(HopperForm::many(matrix)), mostSome(mostSome), spare(spare),
        thread(k.thread()), group(k.warp() / 4) {}
  static int64_t sharedBytes(const ExpertMatrix &matrix, int64_t spare) {
    return stagesFor(matrix) * (stageBytes(matrix) + 16) + spare;
  }

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

private:
  /// As many as there is room for: those of codes are smaller.
  static int64_t stagesFor(const ExpertMatrix &matrix) {
    return matrix.coded ? HopperShape::kStageBytes / stageBytes(matrix)
                        : HopperShape::kStages;
  }
  int64_t stages() const { return stagesFor(matrix); }
  static int64_t stageBytes(const ExpertMatrix &matrix) {
    return std::max(HopperForm::some(matrix).stageBytes(),
                    HopperForm::many(matrix).stageBytes());
  }
  bool hasOneForm() const { return matrix.coded.has_value(); }
  int64_t allStages() const { return stages() * stageBytes(matrix); }
  /// Stages that the depth fills.
  int64_t stagesOf(const HopperForm &form) const {
    int64_t depth = form.steps * kStepDepth;
    return (matrix.depth + depth - 1) / depth;
  }
  /// Step by step, slots lie first, then rows of the matrix.
  Num inStage(Num stage, int64_t at) {
    return k.at(k.b.getI8Type(), k.shared(at), stage * stageBytes(matrix));
  }
  Num full(Num stage) { return barrierOf(stage, 0); }
  Num empty(Num stage) { return barrierOf(stage, stages()); }
  Num barrierOf(Num stage, int64_t first) {
    return k.at(k.i64(), k.shared(allStages() + spare + first * 8), stage);
  }
  /// Of the n-th filling of a block: its stage, and the parity of the phase in
  /// which that is filled. Numbers of fillings have 32 bits.
  Num stageOf(Num n) { return k.convert(n % stages(), k.i64()); }
  Num parityOf(Num n) { return n / stages() % 2; }
  void waitFor(Num barrier, Num parity);
  /// Until the stage of filling n may be filled.
  void waitForEmpty(Num n);

  void makeBarriers();
  /// `body(work, n)` for the block's tiles, once for each form; `n` stages have
  /// been filled before.
  Num forTiles(llvm::ArrayRef<Num> offsetsActiveCount,
               llvm::function_ref<void(const HopperWork &, Num)> body);
  void bring(const HopperWork &work, Num n, Num left, RowOf rowOf);
  /// Where the thread's codes of a tile begin.
  Nums firstCodes(const HopperWork &work);
  /// Step `step` of the `filling`-th stage of a tile, to stage `stage`.
  void bringCodes(const HopperForm &form, llvm::ArrayRef<Num> first,
                  Num filling, int64_t step, Num stage);
  Num multiply(const HopperForm &form, Num n);
  Num multiplyCodes(const HopperWork &work, Num n);
  /// Tile `number` of 16 rows from the work's first row on, in the matrices of
  /// all experts. Beyond the last: the last; nobody looks at the sums.
  Num tileAt(const HopperWork &work, Num number);
  void skip(const HopperForm &form, Num n);
  void release(Num n);

  CudaBuilder &k;
  const ExpertMatrix &matrix;
  const HopperForm some, many;
  int64_t mostSome, spare;
  Num thread, group;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_HOPPERTILE_H
