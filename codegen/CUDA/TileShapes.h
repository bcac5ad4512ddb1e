#ifndef MOE_CODEGEN_CUDA_TILESHAPES_H
#define MOE_CODEGEN_CUDA_TILESHAPES_H

#include <cstdint>

// Sizes of the tiles that kernels multiply, for those who write the kernels and
// for those who predict what they cost.

namespace moe::cuda {
/// Sorting: warps of its one block, whose counts of experts are in shared
/// memory, and groups of 32 slots that a warp reads before the first is used.
struct SortShape {
  static constexpr int64_t kAhead = 4;
  static constexpr int64_t warps(int64_t experts) {
    int64_t warps = 16;
    while (warps > 1 && 4 * warps * experts > 48 * 1024)
      warps /= 2;
    return warps;
  }
};

/// Inputs that a thread rounds at a time, in groups that lie apart. Rows are
/// padded to multiples of a group.
struct RoundShape {
  static constexpr int64_t kNumbers = 8, kAhead = 2;
};

/// Few tokens: rows of the matrix, and slots, of one product of a block, whose
/// warps divide the depth.
struct DecodeShape {
  static constexpr int64_t kRows = 16, kSlots = 8;
  /// Bytes of a row that a warp multiplies in a step, and steps that are read
  /// before the first is used.
  static constexpr int64_t kStepBytes = 64, kAhead = 4;
};

/// Many tokens: slots, and rows of the matrix, of a block.
struct GroupedShape {
  static constexpr int64_t kRows = 64, kColumns = 128, kStages = 3;
  /// Bytes of each row in a stage.
  static constexpr int64_t kRowBytes = 128;
  /// 16-row and 8-column tiles of a warp.
  static constexpr int64_t kTall = 2, kWide = 4;
};

/// sm_90a (HopperTile): slots and rows of the matrix of a tile, for experts
/// with many slots and for those with up to `kSomeSlots`; steps of 128 bytes of
/// each in a stage.
struct HopperShape {
  static constexpr int64_t kThreads = 384, kStages = 4;
  static constexpr int64_t kStageBytes = 192 << 10;  ///< of all stages
  static constexpr int64_t kSharedBytes = 227 << 10; ///< of a block, at most
  static constexpr int64_t kSlots = 128, kSteps = 1;
  static constexpr int64_t kSomeSlots = 64, kSomeRows = 128, kSomeSteps = 2;
  /// Of rows of bytes, whatever the slots: so is `LayerShape::hiddenBytes`.
  static constexpr int64_t kByteRows = 128;

  /// Rows of the matrix for many slots: few lie outside of it, and larger
  /// tiles read less.
  static int64_t rowsOf(int64_t matrixRows) {
    int64_t best = 0, least = 0;
    for (int64_t rows : {256, 192, 128, 64}) {
      // A tile costs its rows, and some more that all tiles cost.
      int64_t cost = (matrixRows + rows - 1) / rows * (rows + 16);
      if (!best || cost < least)
        best = rows, least = cost;
    }
    return best;
  }
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_TILESHAPES_H
