#ifndef MOE_CODEGEN_CPU_MICROKERNEL_H
#define MOE_CODEGEN_CPU_MICROKERNEL_H

#include "codegen/CPU/KernelBuilder.h"

namespace moe {

/// Which microkernels: a tile of up to `isa.maxRows` rows times a panel of
/// `isa.width()` columns, summed in f32.
struct Microkernel {
  mlir::Type weights;  ///< f32, bf16 or f16
  int64_t panelStride; ///< elements from one row of the panel to the next
  int64_t outStride;   ///< f32 numbers from one row of the result to the next

  /// Emits a call: `out[r, c] = sum_k tile[r, k] * panel[k, c]`, k < depth,
  /// r < rows <= isa.maxRows. `rows` must be the same as when the tile was
  /// filled. One of `share` calls that read the same panel, it also fetches
  /// its share of the panel behind this one.
  void call(KernelBuilder &k, Num rows, int64_t depth, Num tile, Num panel,
            Num out, Num index, Num share) const;
  /// The same without fetching ahead, any depth.
  void call(KernelBuilder &k, Num rows, Num depth, Num tile, Num panel,
            Num out) const;

private:
  mlir::func::FuncOp build(KernelBuilder &k) const;
};

/// Where tiles keep their rows: pieces of 512 numbers at a distance that is no
/// power of two, so that the rows of a tile never fall into the same cache
/// sets: `[piece][row][kTileStride]`.
constexpr int64_t kTilePiece = 512, kTileStride = 528;

/// f32 numbers that one row of `depth` numbers takes in a tile.
int64_t tileRowSize(int64_t depth);
/// The index of number `column` of row `row` in a tile of `rows` rows.
Num tileIndex(Num rows, Num row, Num column);
/// Copies `depth` f32 numbers from `source` into row `row` of a tile.
void fillTileRow(KernelBuilder &k, Num tile, Num rows, Num row, Num source,
                 int64_t depth);

} // namespace moe

#endif // MOE_CODEGEN_CPU_MICROKERNEL_H
