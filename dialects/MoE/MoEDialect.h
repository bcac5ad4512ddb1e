#ifndef MOE_DIALECTS_MOE_MOEDIALECT_H
#define MOE_DIALECTS_MOE_MOEDIALECT_H

// The dialect class and nothing else, so that including it stays cheap.

#include "mlir/IR/Dialect.h"

#include "dialects/MoE/MoEDialect.h.inc"

#endif // MOE_DIALECTS_MOE_MOEDIALECT_H
