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

#endif // MOE_DIALECTS_MOERT_MOERTOPS_H
