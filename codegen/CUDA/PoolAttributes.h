#ifndef MOE_CODEGEN_CUDA_POOLATTRIBUTES_H
#define MOE_CODEGEN_CUDA_POOLATTRIBUTES_H

#include "codegen/CUDA/LayerShape.h"
#include "mlir/IR/BuiltinAttributes.h"
#include <optional>

namespace moe::cuda {
/// A pool of experts whose kernels are wanted, or a matrix alone: an element
/// of `moe.device_pools`.
struct Pool {
  LayerShape shape;
  int64_t entries;    ///< ids are below it
  int64_t panelWidth; ///< of the weights as the processor has them
  /// Element types of biases (runtime/IRInterface.h); 0: none.
  int64_t upBias, downBias;
  /// Of plain weights as the processor has them; rows are `shape.element`s.
  int64_t element;
  /// The second matrix of an expert is all there is.
  bool isMatrix;
};

mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context, const Pool &pool);
/// Nothing where the attribute is not one of `toAttribute`.
std::optional<Pool> fromAttribute(mlir::Attribute attribute);

/// Names of the module's attributes.
constexpr const char *kDevicePools = "moe.device_pools";
constexpr const char *kDeviceLayers = "moe.device_layers";
/// Of each of these, where the model says what it is called; else empty.
constexpr const char *kDeviceLayerNames = "moe.device_layer_names";
/// Kernels of other ops, in a module beside the functions, and their names in
/// the order of their numbers.
constexpr const char *kDeviceModule = "moe_device_kernels";
constexpr const char *kDeviceKernels = "moe.device_kernels";
/// Of a layer that stays on the processor: why.
constexpr const char *kNotOffloaded = "moe.not_offloaded";
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_POOLATTRIBUTES_H
