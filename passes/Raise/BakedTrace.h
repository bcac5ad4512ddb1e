#ifndef MOE_PASSES_RAISE_BAKEDTRACE_H
#define MOE_PASSES_RAISE_BAKEDTRACE_H

#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Support/LogicalResult.h"

namespace moe {
/// Fails with an error where a trace has fixed how many experts an input
/// reaches: a Split into a constant number of parts of what NonZero finds
/// among the choices of a router. Such a file computes its example and
/// nothing else.
mlir::LogicalResult refuseBakedTraces(mlir::FunctionOpInterface function);
} // namespace moe

#endif // MOE_PASSES_RAISE_BAKEDTRACE_H
