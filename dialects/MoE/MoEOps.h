#ifndef MOE_DIALECTS_MOE_MOEOPS_H
#define MOE_DIALECTS_MOE_MOEOPS_H

#include "dialects/MoE/MoEDialect.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/MoE/MoEEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/MoE/MoEAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/MoE/MoEOps.h.inc"

#endif // MOE_DIALECTS_MOE_MOEOPS_H
