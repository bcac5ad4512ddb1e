#ifndef MOE_CODEGEN_LINK_PACKPANELS_H
#define MOE_CODEGEN_LINK_PACKPANELS_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace moe {

/// A run of columns of one matrix (`#moe.columns`, with the bytes at hand):
/// column n, input k is the element at `from + (n * strideN + k * strideK) *
/// elementBytes`.
struct ColumnRun {
  const char *from;
  int64_t count, strideN, strideK;
};

/// The shape of packed matrices (`#moe.panels`).
struct PanelShape {
  int64_t width, depth, interleave;
  unsigned elementBytes;

  int64_t bytes() const { return width * depth * elementBytes; }
};

/// Writes panels `first` to `first + count` of the matrix of `runs` to `to`,
/// `count * shape.bytes()` bytes; columns past the last are zero.
void packPanels(const PanelShape &shape, llvm::ArrayRef<ColumnRun> runs,
                int64_t first, int64_t count, char *to);

} // namespace moe

#endif // MOE_CODEGEN_LINK_PACKPANELS_H
