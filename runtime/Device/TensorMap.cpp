#include "runtime/Device/TensorMap.h"

#include "runtime/Core/Text.h"

namespace moe::rt {

Result<TensorMap> encodeTensorMap(Device &device, const DeviceBuffer &from,
                                  const MatrixStack &stack, uint32_t boxRows) {
  const Driver &driver = device.driver();
  if (!driver.tensorMapEncodeTiled)
    return {Code::Unsupported,
            "the NVIDIA driver is too old: it lacks cuTensorMapEncodeTiled"};
  const uint64_t sizes[] = {stack.depth, stack.rows, stack.matrices};
  const uint64_t strides[] = {2 * stack.depth, 2 * stack.depth * stack.rows};
  const uint32_t box[] = {64, boxRows, 1}, steps[] = {1, 1, 1};
  Device::Scope scope(device);
  TensorMap map;
  // Zero outside of a matrix, also of one inside of another's rows.
  CuResult result = driver.tensorMapEncodeTiled(
      map.bits, CuTensorMapUint16, 3, from.pointer(), sizes, strides, box,
      steps, /*interleave=*/0, CuTensorMapSwizzle128, CuTensorMapPromote256,
      /*fill=*/0);
  if (result)
    return device.explain(result, "encode a tensor map");
  return map;
}

} // namespace moe::rt
