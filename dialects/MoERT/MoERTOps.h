#ifndef MOE_DIALECTS_MOERT_MOERTOPS_H
#define MOE_DIALECTS_MOERT_MOERTOPS_H

#include "dialects/MoERT/MoERTDialect.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/MoERT/MoERTEnums.h.inc"
#define GET_OP_CLASSES
#include "dialects/MoERT/MoERTOps.h.inc"

namespace moe::moert {
/// The message (see CheckOp) of a route whose count is not from 1 to `most`.
std::string badRouteCount(int64_t most);
/// What the 16 codes of `Fp4` or `Nf4` mean.
llvm::ArrayRef<float> codeTable(Coding coding);
} // namespace moe::moert

#endif // MOE_DIALECTS_MOERT_MOERTOPS_H
