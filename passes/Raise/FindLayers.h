#ifndef MOE_PASSES_RAISE_FINDLAYERS_H
#define MOE_PASSES_RAISE_FINDLAYERS_H

#include "mlir/Interfaces/FunctionInterfaces.h"
#include "passes/Raise/MoELayerMatch.h"

namespace moe {
/// Replaces DequantizeLinear of small constants by the numbers.
void foldDequantize(mlir::FunctionOpInterface function);

/// Finds and explains the layers of plain operators, in the order of the
/// function. Remarks say why a candidate is none; fails with an error where a
/// layer has lost experts.
mlir::LogicalResult findLayers(mlir::FunctionOpInterface function,
                               BankNames &banks,
                               std::vector<MoELayerMatch> &matches);
} // namespace moe

#endif // MOE_PASSES_RAISE_FINDLAYERS_H
