// What cuTensorMapEncodeTiled makes for the emulator.
#ifndef MOE_RUNTIME_EMULATOR_TENSORMAP_H
#define MOE_RUNTIME_EMULATOR_TENSORMAP_H

#include "runtime/Core/Status.h"

#include <cstdint>

namespace moe::emu {

/// Matrices of one shape, and the box of them that is copied at once. In place
/// of the hardware's 128 bytes.
struct TensorMap {
  static constexpr uint64_t expectedMagic = 0x70614D656F4D7545;

  uint64_t magic = 0;
  const uint8_t *begin = nullptr;
  uint64_t sizes[3] = {};   // numbers of a row, rows, matrices
  uint64_t strides[2] = {}; // bytes from row to row, from matrix to matrix
  uint32_t box[3] = {};
  uint32_t elementBytes = 0;
  uint64_t reserved[7] = {};

  uint32_t boxBytes() const { return box[0] * box[1] * box[2] * elementBytes; }
  uint32_t rowBytes() const { return box[0] * elementBytes; }
};
static_assert(sizeof(TensorMap) == 128, "as large as the hardware's");

/// A map of three dimensions, with the 128-byte swizzle. Fails where the driver
/// would, and says why.
rt::Result<TensorMap> encodeTensorMap(const void *begin, uint32_t elementBytes,
                                      const uint64_t sizes[3],
                                      const uint64_t strides[2],
                                      const uint32_t box[3]);

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_TENSORMAP_H
