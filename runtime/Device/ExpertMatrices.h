// The matrices of a layer's experts on a device.
#ifndef MOE_RUNTIME_DEVICE_EXPERTMATRICES_H
#define MOE_RUNTIME_DEVICE_EXPERTMATRICES_H

#include "runtime/Device/Device.h"
#include "runtime/Device/TensorMap.h"
#include "runtime/IRInterface.h"

namespace moe::rt {

/// First or second matrices of all experts of a layer, with their scales, zeros
/// and biases where they have some.
class ExpertMatrices {
public:
  /// Bytes that they take.
  static uint64_t bytes(const moert_device_pool &pool,
                        const moert_device_matrix &matrix);

  /// Packs those at `place` of `weights` for kernels; `name` is for messages.
  static Result<ExpertMatrices>
  upload(Device &device, const moert_device_pool &pool,
         const moert_device_matrix &matrix, const char *weights,
         const moert_device_place &place, const std::string &name,
         ProgressSum &progress);

  ExpertMatrices() = default;

  /// What kernels get that want a tensor map in boxes of `boxRows` rows.
  Status map(Device &device, const moert_device_pool &pool,
             const moert_device_matrix &matrix, uint32_t boxRows);

  /// The argument of kernels that take the address, or the tensor map.
  void *values(bool asMap) {
    return asMap ? static_cast<void *>(&tensorMap) : &parts[Values].address;
  }
  /// What kernels that multiply take at the end.
  void addArguments(std::vector<void *> &arguments);

private:
  enum { Values, Scales, Zeros, Bias, NumParts };
  struct Part {
    DeviceBuffer buffer;
    CuPointer address = 0;
  };
  Part parts[NumParts];
  TensorMap tensorMap;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_EXPERTMATRICES_H
