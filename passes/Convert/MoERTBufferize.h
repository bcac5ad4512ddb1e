#ifndef MOE_PASSES_CONVERT_MOERTBUFFERIZE_H
#define MOE_PASSES_CONVERT_MOERTBUFFERIZE_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace moe {
/// Lets one-shot bufferization turn `moert` ops on tensors into their memref
/// form and `moe.weight` into `moert.weight_ref`.
void registerBufferizableOpInterfaceExternalModels(
    mlir::DialectRegistry &registry);
} // namespace moe

#endif // MOE_PASSES_CONVERT_MOERTBUFFERIZE_H
