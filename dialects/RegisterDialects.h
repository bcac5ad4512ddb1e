#ifndef MOE_DIALECTS_REGISTERDIALECTS_H
#define MOE_DIALECTS_REGISTERDIALECTS_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace moe {
/// Adds our dialects and the upstream ones that appear in any phase.
/// Interface implementations that only passes need (bufferization, LLVM
/// conversion) are registered by the libraries that run those passes.
void registerAllDialects(mlir::DialectRegistry &registry);
} // namespace moe

#endif // MOE_DIALECTS_REGISTERDIALECTS_H
