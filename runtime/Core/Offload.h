// Layers that something else than the processor computes.
#ifndef MOE_RUNTIME_CORE_OFFLOAD_H
#define MOE_RUNTIME_CORE_OFFLOAD_H

#include "runtime/Core/DeviceRequest.h"
#include "runtime/Core/Status.h"
#include "runtime/IRInterface.h"

#include <memory>

namespace moe::rt {

/// A model's weights and kernels on a device. Many sessions may share one.
class Offload {
public:
  virtual ~Offload() = default;

  /// What moert_offload says. Returns when the result is there.
  virtual Status run(int32_t layer, int64_t tokens, const float *x,
                     const int32_t *ids, const float *weights,
                     const float *residual, float *out) = 0;
};

struct OffloadRequest {
  DeviceRequest device;
  const char *driver = nullptr; // its library; null: the system's
};

struct OffloadChoice {
  std::shared_ptr<Offload> offload; // null: the processor
  std::string reason;               // of the choice, for people
};

} // namespace moe::rt

/// The part of the runtime that models with code for a device are linked with.
struct moert_device_runtime {
  /// `model` has device code, and its weights are in place.
  moe::rt::Result<moe::rt::OffloadChoice> (*open)(
      const moert_model &model, const moe::rt::OffloadRequest &request);
};

#endif // MOE_RUNTIME_CORE_OFFLOAD_H
