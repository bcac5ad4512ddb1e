#ifndef MOE_CODEGEN_CUDA_BYTESCALE_H
#define MOE_CODEGEN_CUDA_BYTESCALE_H

#include "codegen/CUDA/CudaBuilder.h"

namespace moe::cuda {
/// How f32 numbers become E4M3 numbers times a scale: the largest becomes 448,
/// which is the largest there is. A NaN stays one; where a number is infinite
/// it becomes NaN. Where all are below 2^-100 the scale is 1, so that they are
/// zeros.
struct ByteScale {
  /// Of numbers of which `largest` is that of the largest size.
  ByteScale(CudaBuilder &k, Num largest);

  /// The codes of numbers, four in each word.
  KernelBuilder::Nums codes(llvm::ArrayRef<Num> numbers) const;

  /// The largest size of the numbers of so many (2 to 32) neighbouring lanes;
  /// NaN is passed over.
  static Num largest(CudaBuilder &k, llvm::ArrayRef<Num> numbers,
                     int64_t lanes);

  CudaBuilder &k;
  Num scale, inverse;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_BYTESCALE_H
