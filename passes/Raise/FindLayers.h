#ifndef MOE_PASSES_RAISE_FINDLAYERS_H
#define MOE_PASSES_RAISE_FINDLAYERS_H

#include "mlir/Interfaces/FunctionInterfaces.h"
#include "passes/Raise/MoELayerMatch.h"

namespace moe {
/// Replaces DequantizeLinear of constants: small ones by the numbers, weights
/// by derived banks that are made when the artefact is written.
void foldDequantize(mlir::FunctionOpInterface function, BankNames &banks);

/// The same for weights of other codes (`#moe.quant`: fp4, nf4, 8-bit floats),
/// which graphs decode by tables and casts.
void foldCodes(mlir::FunctionOpInterface function, BankNames &banks);

/// Finds and explains the layers of plain operators, in the order of the
/// function. Remarks say why a candidate is none; fails with an error where a
/// layer has lost experts.
mlir::LogicalResult findLayers(mlir::FunctionOpInterface function,
                               BankNames &banks,
                               std::vector<MoELayerMatch> &matches);
} // namespace moe

#endif // MOE_PASSES_RAISE_FINDLAYERS_H
