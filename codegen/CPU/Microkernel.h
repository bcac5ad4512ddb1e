#ifndef MOE_CODEGEN_CPU_MICROKERNEL_H
#define MOE_CODEGEN_CPU_MICROKERNEL_H

#include "codegen/CPU/KernelBuilder.h"

namespace moe {

/// How a tile of rows lies in memory.
enum class TileOrder {
  Packed, ///< [depth][rows]: what one step needs is one place
  ByRow,  ///< [row][kTileStride]: as other kernels leave it
};

/// Which microkernels: a tile of up to `isa.maxRows` rows times a panel of
/// `isa.width()` columns, summed in f32.
struct Microkernel {
  mlir::Type weights;  ///< f32, bf16 or f16
  int64_t panelStride; ///< elements from one row of the panel to the next
  int64_t outStride;   ///< f32 numbers from one row of the result to the next
  TileOrder order = TileOrder::Packed;

  /// Emits a call: `out[r, c] = sum_k tile[r, k] * panel[k, c]`, k < depth,
  /// r < rows <= isa.maxRows. Adds to what `out` holds unless `before` is 0.
  /// Fetches `aheadStep` bytes from `ahead` on per step.
  void call(KernelBuilder &k, Num rows, Num depth, Num tile, Num panel, Num out,
            Num before, Num ahead, Num aheadStep) const;
  /// The same without adding and fetching.
  void call(KernelBuilder &k, Num rows, Num depth, Num tile, Num panel,
            Num out) const;

private:
  mlir::func::FuncOp build(KernelBuilder &k) const;
};

/// f32 numbers from one row of a tile by rows to the next: no power of two, so
/// that rows never fall into the same cache sets.
constexpr int64_t kTileStride = 528;

} // namespace moe

#endif // MOE_CODEGEN_CPU_MICROKERNEL_H
