#ifndef MOE_DIALECTS_MOE_MOEUTILS_H
#define MOE_DIALECTS_MOE_MOEUTILS_H

// Small helpers of the verifiers; nothing for users of the dialect.

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"

namespace moe {
inline mlir::RankedTensorType tensorType(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}

/// True where both sizes are known and unequal.
inline bool differ(int64_t a, int64_t b) {
  return !mlir::ShapedType::isDynamic(a) && !mlir::ShapedType::isDynamic(b) &&
         a != b;
}

/// True where ranks or known sizes are unequal.
inline bool differ(mlir::RankedTensorType a, mlir::RankedTensorType b) {
  if (a.getRank() != b.getRank())
    return true;
  for (int64_t i = 0; i < a.getRank(); ++i)
    if (differ(a.getDimSize(i), b.getDimSize(i)))
      return true;
  return false;
}
} // namespace moe

#endif // MOE_DIALECTS_MOE_MOEUTILS_H
