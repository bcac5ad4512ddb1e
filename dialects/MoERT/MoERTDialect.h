#ifndef MOE_DIALECTS_MOERT_MOERTDIALECT_H
#define MOE_DIALECTS_MOERT_MOERTDIALECT_H

#include "mlir/IR/Dialect.h"

#include "dialects/MoERT/MoERTDialect.h.inc"

#endif // MOE_DIALECTS_MOERT_MOERTDIALECT_H
