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
  int64_t slotScales = 0; ///< of a slot of bytes in a stage

  static constexpr int64_t kRowBytes = 128;    ///< of a slot in a step
  static constexpr int64_t kScaleBytes = 1024; ///< of all slots in a stage

  /// 128 slots, 64 for a warpgroup, by up to 256 rows: few of these lie outside
  /// of the matrix, and larger tiles read less. Where both sides are bytes, 128
  /// slots by 128 rows, 64 of these for a warpgroup.
  static HopperForm many(const ExpertMatrix &matrix);
  /// 64 slots by 128 rows, 64 for a warpgroup: no more slots than there are.
  static HopperForm some(const ExpertMatrix &matrix);

  int64_t columns() const { return slotsAreColumns ? slots : rows; }
  int64_t stepBytes() const { return slots * kRowBytes + rows * matrixBytes; }
  /// Stages begin at multiples of 1024.
  int64_t stageBytes() const {
    return steps * stepBytes() + (slotScales ? kScaleBytes : 0);
  }
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
/// (CodedHopperTile.cpp). E4M3 codes are the left side as they are where slots
/// are bytes, too (ByteHopperTile.cpp).
///
/// Each expert has tiles of the form that suits its own number of slots (of
/// bytes: the slots that each tile has); the same stages and barriers serve
/// both.
class HopperTile {
public:
  using Nums = KernelBuilder::Nums;
  static constexpr int32_t kThreads = HopperShape::kThreads;
  static constexpr int64_t kRowBytes = HopperForm::kRowBytes;
  /// Of a warpgroup.
  static constexpr int64_t kGroupRows = 64, kGroupThreads = 128;
  /// Rows of the matrix that come at once: the map's box.
  static constexpr int64_t kBoxRows = kHopperBoxRows;

  /// Whether there are kernels for the matrix.
  static bool isSupported(const ExpertMatrix &matrix) {
    return matrix.element != Element::F32;
  }

  /// Experts with up to `mostSome` slots, at most `kSomeSlots`, have tiles for
  /// some. The caller has `spare` bytes.
  HopperTile(CudaBuilder &k, const ExpertMatrix &matrix, int64_t mostSome,
             int64_t spare)
      : k(k), matrix(matrix), some(HopperForm::some(matrix)),
        many(HopperForm::many(matrix)), mostSome(mostSome), spare(spare),
        thread(k.thread()), group(k.warp() / 4) {}
  static int64_t sharedBytes(const ExpertMatrix &matrix, int64_t spare) {
    return stagesFor(matrix, spare) * (stageBytes(matrix) + 16) + spare;
  }

  using RowOf = llvm::function_ref<Num(const HopperWork &, Num slot)>;
  using Put = llvm::function_ref<void(const HopperWork &, Num sums)>;
  /// The whole kernel: all tiles of all experts, divided among the blocks.
  /// `rowOf` is the row of `left` for a slot of the expert; `put` is called by
  /// the threads that multiply, with sums as `moegpu.wgmma` has them.
  void run(Num left, llvm::ArrayRef<Num> offsetsActiveCount, RowOf rowOf,
           Put put);

  /// The caller's bytes, and the warpgroup's half of them.
  Num allSpare() { return k.shared(allStages()); }
  Num spareOf();
  /// All threads of the warpgroup that multiplies; of both.
  void meet();
  void meetBoth();
  /// The thread in its warpgroup, and the warpgroup's first row of the product.
  Num inGroup() { return thread % kGroupThreads; }
  Num inBoth() { return thread - kGroupThreads; }
  Num groupRow() { return (group - k.integer(1)) * kGroupRows; }

private:
  /// As many as there is room for: those of codes are smaller.
  static int64_t stagesFor(const ExpertMatrix &matrix, int64_t spare);
  int64_t stages() const { return stagesFor(matrix, spare); }
  static int64_t stageBytes(const ExpertMatrix &matrix) {
    return std::max(HopperForm::some(matrix).stageBytes(),
                    HopperForm::many(matrix).stageBytes());
  }
  bool hasOneForm() const { return matrix.coded && many.slots == some.slots; }
  /// Whether each tile has the form that suits its slots: both have the same
  /// rows and stages.
  bool hasFormOfTile() const { return matrix.bytes.has_value(); }
  int64_t allStages() const { return stages() * stageBytes(matrix); }
  /// Numbers of a row in a step, and all of a row in units of 16 bytes.
  int64_t stepDepth() const { return matrix.bytes ? kRowBytes : kRowBytes / 2; }
  int64_t rowUnits() const {
    return matrix.bytes ? matrix.bytes->codes() / 16 : matrix.depth / 8;
  }
  /// Stages that the depth fills.
  int64_t stagesOf(const HopperForm &form) const {
    int64_t units = form.steps * kRowBytes / 16;
    return (rowUnits() + units - 1) / units;
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
  /// Where the thread's codes of a tile begin, in units of 16 bytes, and the
  /// tiles of 16 rows behind that of the first.
  struct Codes {
    Num unit, behind;
  };
  Codes firstCodes(const HopperWork &work);
  /// Step `step` of the `filling`-th stage of a tile, to stage `stage`.
  void bringCodes(const HopperForm &form, const Codes &codes, Num filling,
                  int64_t step, Num stage);
  /// Where the scales of the slot that the thread brings begin, in units of 16
  /// bytes, negative where there is no slot; those of a stage.
  Num firstScale(const HopperWork &work, RowOf rowOf);
  void bringScales(const HopperForm &form, Num left, Num unit, Num filling,
                   Num stage);
  Num multiply(const HopperForm &form, Num n);
  Num multiplyCodes(const HopperWork &work, Num n);
  Num multiplyBytes(const HopperWork &work, Num n);
  /// Tile `number` of 16 rows from the work's first row on, in the matrices of
  /// all experts. Beyond the last: the last; nobody looks at the sums.
  Num tileAt(const HopperWork &work, Num number);
  /// Of the warp, in the tile; and a lane's 16 bytes of a piece of it.
  Num ownTile() { return (group - k.integer(1)) * 4 + inGroup() / 32; }
  Num codesAt(const HopperForm &form, Num stage, int64_t step, int64_t piece);
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
