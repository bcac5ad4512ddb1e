#ifndef MOE_CODEGEN_CUDA_GROUPEDBYTES_H
#define MOE_CODEGEN_CUDA_GROUPEDBYTES_H

#include "codegen/CUDA/GroupedTile.h"

namespace moe::cuda {
/// Shared memory of `putBytes`; 0 where hidden values are `element`s.
int64_t hiddenBytesShared(const LayerShape &shape);

/// Hidden values of a tile of the first product from its sums, rounded to E4M3
/// with a scale for those of a slot (`LayerShape::hiddenBytes`). All threads of
/// the block call it; `shared` is where its shared memory begins. Rows of
/// `hidden` are in sorted order.
void putBytes(CudaBuilder &k, const LayerShape &shape, const ExpertMatrix &up,
              const GroupedTile::Work &work, GroupedTile &tile,
              llvm::ArrayRef<Num> sums, int64_t shared, Num order, Num hidden);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_GROUPEDBYTES_H
