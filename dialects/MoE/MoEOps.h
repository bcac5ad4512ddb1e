#ifndef MOE_DIALECTS_MOE_MOEOPS_H
#define MOE_DIALECTS_MOE_MOEOPS_H

#include "dialects/MoE/MoEDialect.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include <optional>

namespace moe {
/// What an expert costs. Bytes are those of its first storage variant;
/// operations are per token, 2 per multiply-add, unknown for functions.
struct ExpertCost {
  int64_t params = 0;
  int64_t bytes = 0;
  int64_t variantBytes = 0; ///< of its other storage variants, together
  std::optional<int64_t> flopsPerToken = 0;
};

/// Features that go in, hidden width (0 where there is none), features out.
struct ExpertShape {
  int64_t in = 0;
  int64_t hidden = 0;
  int64_t out = 0;
  bool operator==(const ExpertShape &other) const {
    return in == other.in && hidden == other.hidden && out == other.out;
  }
};

/// Where a slice lies in its bank, all counted in elements of the bank.
struct SliceGeometry {
  int64_t offset = 0;
  llvm::SmallVector<int64_t, 2> shape;
  llvm::SmallVector<int64_t, 2> strides;
};

/// Ids of slots without an expert: nothing, and the token itself.
constexpr int32_t kEmptySlot = -1;
constexpr int32_t kPassSlot = -2;

class ExpertOp;
} // namespace moe

#include "dialects/MoE/MoEEnums.h.inc"
#include "dialects/MoE/MoEInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/MoE/MoEAttrs.h.inc"

namespace moe {
/// A slice as ops print it, `@bank[0, 0:8] transposed`.
mlir::ParseResult parseSliceBody(mlir::AsmParser &parser, SliceAttr &slice);
void printSliceBody(mlir::AsmPrinter &printer, SliceAttr slice);
} // namespace moe

#define GET_OP_CLASSES
#include "dialects/MoE/MoEOps.h.inc"

#endif // MOE_DIALECTS_MOE_MOEOPS_H
