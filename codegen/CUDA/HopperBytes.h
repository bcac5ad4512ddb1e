#ifndef MOE_CODEGEN_CUDA_HOPPERBYTES_H
#define MOE_CODEGEN_CUDA_HOPPERBYTES_H

#include "codegen/CUDA/HopperTile.h"

namespace moe::cuda {
/// Which of a tile's sums a thread has (`moegpu.wgmma`): rows `row` and `row` +
/// 8 of the product, at columns 8i + `pair` and the next.
struct OwnSums {
  OwnSums(CudaBuilder &k, HopperTile &tile)
      : row(tile.inGroup() / 32 * 16 + k.lane() / 4), pair(k.lane() % 4 * 2) {}
  static int64_t number(int64_t eight, int64_t half, int64_t column) {
    return eight * 4 + half * 2 + column;
  }
  Num row, pair;
};

/// What the first product's sums become in a thread, where slots are columns.
struct OwnHidden {
  CudaBuilder &k;
  const ExpertMatrix &up;
  const LayerShape &shape;
  Num order;

  /// The weight of a slot of the work, if slots have any. Those of slots beyond
  /// the last are not kept.
  Num weightOf(const HopperWork &work, Num slot) const;
  /// Hidden values of slot `column` of the thread's two of group `eight`: one
  /// of gate and linear value, which are 8 rows apart, or those of both rows.
  /// `bias`: of the rows, if there are any.
  KernelBuilder::Nums values(Num sums, int64_t eight, int64_t column,
                             Num weight, llvm::ArrayRef<Num> bias) const;
};

/// Hidden values of a tile whose slots are columns, rounded to E4M3 with a
/// scale for those of a slot (`LayerShape::hiddenBytes`): the tile has all
/// numbers of a block, each warp a few of them. They meet in shared memory, 64
/// slots at a time, and become bytes where threads have 16 of a slot.
class HiddenBytes {
public:
  static constexpr int64_t kSlots = 64;
  /// Of shared memory.
  static int64_t bytes(const LayerShape &shape) {
    return kSlots * shape.hiddenBytes()->block * 4;
  }

  HiddenBytes(CudaBuilder &k, HopperTile &tile, const ExpertMatrix &up,
              const LayerShape &shape, Num order, Num hidden)
      : k(k), tile(tile), up(up), shape(shape), rows(*shape.hiddenBytes()),
        hidden(hidden), own(k, tile), toHidden{k, up, shape, order} {}

  void put(const HopperWork &work, Num sums);

private:
  static constexpr int64_t kNumbers = 16; ///< of a thread that rounds
  Num place(Num slot, Num chunk);
  void compute(const HopperWork &work, Num sums, int64_t first);
  void write(const HopperWork &work, int64_t first);

  CudaBuilder &k;
  HopperTile &tile;
  const ExpertMatrix &up;
  const LayerShape &shape;
  ByteRows rows;
  Num hidden;
  OwnSums own;
  OwnHidden toHidden;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_HOPPERBYTES_H
