// How GPUs from compute capability 9.0 on see matrices that they copy in boxes.
#ifndef MOE_RUNTIME_DEVICE_TENSORMAP_H
#define MOE_RUNTIME_DEVICE_TENSORMAP_H

#include "runtime/Device/Device.h"

namespace moe::rt {

/// A kernel's argument, by value.
struct alignas(128) TensorMap {
  uint64_t bits[16] = {};
};

/// Matrices of one shape that lie behind each other, of numbers of 16 bits.
struct MatrixStack {
  uint64_t matrices, rows, depth; // depth: numbers of a row, a multiple of 8
};

/// A map of boxes of `boxRows` rows by 64 numbers of one matrix, which come to
/// shared memory with the 128-byte swizzle (codegen/CUDA/LayerKernels.h).
Result<TensorMap> encodeTensorMap(Device &device, const DeviceBuffer &from,
                                  const MatrixStack &stack, uint32_t boxRows);

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_TENSORMAP_H
