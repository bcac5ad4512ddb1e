#ifndef MOE_DIALECTS_ONNX_INDEXING_H
#define MOE_DIALECTS_ONNX_INDEXING_H

#include <algorithm>
#include <cstdint>

namespace moe::onnx {

/// A start or an end within a dimension of `size` elements, as Shape-15 and
/// Slice (step 1) read it: counted from the end where it is negative, then
/// moved inside [0, size].
inline int64_t clampIndex(int64_t at, int64_t size) {
  return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
}

} // namespace moe::onnx

#endif // MOE_DIALECTS_ONNX_INDEXING_H
