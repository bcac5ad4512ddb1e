#ifndef MOE_CODEGEN_LINK_PACKQUANTPANELS_H
#define MOE_CODEGEN_LINK_PACKQUANTPANELS_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace moe {

/// A run of columns of one quantised matrix: column n, input k is value
/// `first + n * strideN + k * strideK` of those that `from` holds.
struct ValueRun {
  const char *from;
  int64_t first, count, strideN, strideK;
};

/// The shape of packed values (`#moe.quant_panels`).
struct QuantPanelShape {
  int64_t bits, stored, flip, width, depth, interleave;

  int64_t rowBytes() const { return width * bits / 8; }
  int64_t bytes() const { return rowBytes() * depth; }
};

/// Writes panels `first` to `first + count` of the matrix of `runs` to `to`,
/// `count * shape.bytes()` bytes; columns past the last are zeros, flipped.
void packQuantPanels(const QuantPanelShape &shape,
                     llvm::ArrayRef<ValueRun> runs, int64_t first,
                     int64_t count, char *to);

} // namespace moe

#endif // MOE_CODEGEN_LINK_PACKQUANTPANELS_H
