#ifndef MOE_CODEGEN_CUDA_DECODETILE_H
#define MOE_CODEGEN_CUDA_DECODETILE_H

#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/TileShapes.h"
#include <memory>

namespace moe::cuda {
/// 16 rows of a matrix times up to 8 columns (the rows of another), the depth
/// divided among the warps of a block.
///
/// A lane has its bytes of row lane / 4 and of the row 8 below, and of column
/// lane / 4 the same numbers of the depth: which ones does not matter as long
/// as rows and columns agree.
class DecodeTile {
public:
  using Nums = KernelBuilder::Nums;

  static std::unique_ptr<DecodeTile> create(CudaBuilder &k,
                                            const ExpertMatrix &matrix);
  virtual ~DecodeTile() = default;

  /// Sums over all warps, the same in each: row lane / 4 at columns 2 (lane %
  /// 4) and the next, then the row 8 below. `tile` counts those of all experts,
  /// `column` is the lane's row of `columns`.
  Nums multiply(Num tile, Num column, Num columns);

  /// Shared memory that it needs.
  static int64_t sharedBytes() { return kLayerThreads * 16; }

protected:
  DecodeTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : k(k), matrix(matrix), lane(k.lane()), warp(k.warp()) {}

  virtual int64_t steps() const = 0;
  /// Steps that are read before the first is used, so that enough bytes are on
  /// their way.
  virtual int64_t ahead() const { return DecodeShape::kAhead; }
  /// What a lane reads before the loop, and the sums' beginning.
  virtual Nums begin() { return {k.zeros(k.vector(4, k.f32()))}; }
  /// What it reads for a step, and adds to the sums.
  virtual Nums read(Num step) = 0;
  virtual Nums add(Num step, llvm::ArrayRef<Num> read,
                   llvm::ArrayRef<Num> sums) = 0;
  /// The four numbers as `multiply` gives them, of one warp.
  virtual Num finish(llvm::ArrayRef<Num> sums) { return sums[0]; }

  /// 16 bytes, or 8, of a row of the columns from number `at` on; nothing
  /// beyond the end, which a step may reach where it is `ragged`.
  Num readColumn(Num row, Num at, bool ragged, int64_t bytes = 16);

  CudaBuilder &k;
  const ExpertMatrix &matrix;
  Num lane, warp;
  Num tile, column, columns;
};

/// Of a matrix of codes.
std::unique_ptr<DecodeTile> createCodedTile(CudaBuilder &k,
                                            const ExpertMatrix &matrix);
/// The same where columns are rows of E4M3 numbers.
std::unique_ptr<DecodeTile> createByteTile(CudaBuilder &k,
                                           const ExpertMatrix &matrix);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_DECODETILE_H
