// The layers of experts of a model on a GPU.
#ifndef MOE_RUNTIME_DEVICE_EXPERTLAYERS_H
#define MOE_RUNTIME_DEVICE_EXPERTLAYERS_H

#include "runtime/Core/Offload.h"
#include "runtime/Device/Kernels.h"
#include "runtime/Device/TensorMap.h"

#include <mutex>

namespace moe::rt {

/// Weights, kernels and memory for one run at a time; sessions take turns.
class ExpertLayers : public Offload {
public:
  /// Loads the code and uploads the weights of all layers. `weights` are those
  /// of the model, packed for the processor.
  static Result<std::shared_ptr<ExpertLayers>>
  create(std::unique_ptr<Device> device, const moert_device_code &code,
         const char *weights);

  /// Whether an earlier failure is for good.
  bool isBroken();

  Status run(int32_t layer, int64_t tokens, const float *x, const int32_t *ids,
             const float *weights, const float *residual, float *out) override;

private:
  struct Layer {
    const moert_device_pool *pool;
    const std::vector<Kernel> *kernels;
    DeviceBuffer up, down, entries;
    TensorMap upMap, downMap; // where kernels take them
  };
  /// What kernels hand to each other; grows with the number of tokens.
  enum Space {
    X,
    Ids,
    Weights,
    Offsets,
    Order,
    Place,
    Active,
    ActiveCount,
    Rounded,
    Hidden,
    Rows,
    Out,
    NumSpaces
  };

  ExpertLayers(std::unique_ptr<Device> device, const moert_device_code &code)
      : device(std::move(device)), code(code) {}
  Status loadKernels();
  Status uploadLayers(const char *weights);
  Status uploadMatrices(const DeviceBuffer &to, const char *panels, bool isUp,
                        const moert_device_pool &pool);
  Status mapMatrices(Layer &layer);
  Status grow(const moert_device_pool &pool, int64_t tokens);
  Status launchAll(const Layer &layer, int64_t tokens);
  Status runSome(const Layer &layer, int64_t tokens, const float *x,
                 const int32_t *ids, const float *weights, float *out);

  std::mutex mutex;
  std::unique_ptr<Device> device; // outlives what lies on it
  const moert_device_code &code;
  Module module;
  std::vector<std::vector<Kernel>> kernels; // of each pool
  std::vector<Layer> layers;
  DeviceBuffer spaces[NumSpaces];
  std::vector<float> sums; // of layers with a residual
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_EXPERTLAYERS_H
