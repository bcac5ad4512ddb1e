#ifndef MOE_TOOLS_MOEOPT_DRIVER_H
#define MOE_TOOLS_MOEOPT_DRIVER_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace moe {
/// True when the command line asks for a product (an executable, a phase, a
/// report...) rather than for passes over MLIR text.
bool wantsProduct(int argc, char **argv);

/// The product driver: ONNX or MLIR in, an artefact out. Returns the exit code
/// (0 done, 1 cannot be met, 2 wrong usage).
int runProductDriver(int argc, char **argv, mlir::DialectRegistry &registry);
} // namespace moe

#endif // MOE_TOOLS_MOEOPT_DRIVER_H
