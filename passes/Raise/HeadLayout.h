#ifndef MOE_PASSES_RAISE_HEADLAYOUT_H
#define MOE_PASSES_RAISE_HEADLAYOUT_H

#include "passes/Raise/Evaluate.h"
#include "passes/Raise/NodeSupport.h"

namespace moe {
/// How a tensor of heads lies in memory.
enum class HeadLayout {
  HeadsFirst, ///< [batch, heads, rows, features]
  RowsFirst,  ///< [batch, rows, heads, features]
};

/// An evaluated tensor of heads, read by head and row in either layout.
struct HeadView {
  const HostTensor &tensor;
  HeadLayout layout;
  int64_t batch, heads, rows, features;

  HeadView(const HostTensor &tensor, HeadLayout layout)
      : tensor(tensor), layout(layout), batch(tensor.shape[0]),
        heads(tensor.shape[layout == HeadLayout::HeadsFirst ? 1 : 2]),
        rows(tensor.shape[layout == HeadLayout::HeadsFirst ? 2 : 1]),
        features(tensor.shape[3]) {}

  double operator()(int64_t b, int64_t h, int64_t s, int64_t d) const {
    int64_t row = layout == HeadLayout::HeadsFirst ? (b * heads + h) * rows + s
                                                   : (b * rows + s) * heads + h;
    return tensor.data[row * features + d];
  }
};

/// `value`, of this layout, with rows first.
inline mlir::Value asRowsFirst(mlir::OpBuilder &builder, mlir::Location loc,
                               mlir::Value value, HeadLayout layout) {
  return layout == HeadLayout::RowsFirst
             ? value
             : transposed(builder, loc, value, {0, 2, 1, 3});
}

/// The sizes of a shape with these values of its symbols.
inline llvm::SmallVector<int64_t, 4> sizesOf(const SymbolicShape &shape,
                                             llvm::ArrayRef<int64_t> symbols) {
  llvm::SmallVector<int64_t, 4> sizes;
  for (const DimExpr &size : shape)
    sizes.push_back(size.evaluate(symbols));
  return sizes;
}
} // namespace moe

#endif // MOE_PASSES_RAISE_HEADLAYOUT_H
