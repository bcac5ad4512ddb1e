// A model on a GPU.
#ifndef MOE_RUNTIME_DEVICE_DEVICEMODEL_H
#define MOE_RUNTIME_DEVICE_DEVICEMODEL_H

#include "runtime/Core/Offload.h"
#include "runtime/Device/DeviceMemory.h"
#include "runtime/Device/ExpertMatrices.h"
#include "runtime/Device/Kernels.h"

#include <mutex>

namespace moe::rt {

/// Weights, kernels and memory, which sessions share; each call is whole.
class DeviceModel : public Offload {
public:
  /// Loads the code and uploads the weights of all layers, and constants.
  /// `weights` are those of the model, packed for the processor.
  static Result<std::shared_ptr<DeviceModel>>
  create(std::unique_ptr<Device> device, const moert_device_code &code,
         const char *weights, const Progress &progress = {});

  /// Whether an earlier failure is for good.
  bool isBroken();
  const LaunchQueue &launches() const { return queue; }

  Result<void *> allocate(int64_t bytes) override;
  void release(void *memory) override;
  Result<void *> constant(const void *data, int64_t bytes,
                          Recorder *trace = nullptr) override;
  Status upload(void *to, const void *from, int64_t bytes,
                Recorder *trace = nullptr) override;
  Status download(void *to, const void *from, int64_t bytes,
                  Recorder *trace = nullptr) override;
  Status copy(Direction direction, const BlockCopy &blocks,
              Recorder *trace = nullptr) override;
  Status launch(int32_t kernel, void **arguments,
                Recorder *trace = nullptr) override;
  Status layer(int32_t number, int64_t count, const Rows &rows,
               Recorder *trace = nullptr) override;
  Status wait() override;
  bool canSample(int32_t dtype) const override;
  Status sample(const LogitRows &logits, const TokenChoice &choice,
                int64_t *tokens, Recorder *trace = nullptr) override;

private:
  struct Layer {
    std::string name;
    const moert_device_pool *pool;
    const std::vector<Kernel> *kernels; // some without a kernel
    ExpertMatrices up, down, upLow, downLow;
    DeviceBuffer entries;
  };
  /// What the kernels of a layer hand to each other; grows with the number of
  /// tokens.
  enum Space {
    Offsets,
    Order,
    Place,
    Active,
    ActiveCount,
    Rounded,
    Low, // what the product with a low factor gives
    Hidden,
    Sums,
    NumSpaces
  };

  DeviceModel(std::unique_ptr<Device> device, const moert_device_code &code)
      : device(std::move(device)), code(code), queue(*this->device),
        memory(*this->device, queue) {}
  /// Within what was allocated.
  Status copyBytes(Direction direction, void *to, const void *from,
                   uint64_t bytes);
  Status loadCode();
  Status loadKernels();
  /// Of all weights and constants that are uploaded at the start.
  uint64_t weightBytes() const;
  Status checkMemory() const;
  Status uploadWeights(const char *weights, const Progress &progress);
  Status uploadLayer(uint32_t number, const char *weights, ProgressSum &sum);
  Result<CuPointer> keep(const void *data, uint64_t bytes,
                         const Progress &progress = {});
  /// `needsSums`: not where the second product goes to its destination.
  Status grow(const moert_device_pool &pool, int64_t tokens, bool needsSums);
  Status launchExperts(Layer &layer, int64_t tokens, const Rows &rows,
                       Recorder *trace);
  Status launchMatrix(Layer &layer, int64_t count, const Rows &rows,
                      Recorder *trace);
  struct SampleKernels {
    const Kernel *parts, *choose; // null where there are none
  };
  SampleKernels sampleKernels(int32_t dtype) const;
  Status launchSample(const SampleKernels &own, const LogitRows &logits,
                      const TokenChoice &choice, CuPointer scratch,
                      CuPointer slots);

  std::mutex mutex;
  std::unique_ptr<Device> device; // outlives what lies on it
  const moert_device_code code;
  Module module;
  std::vector<std::vector<Kernel>> poolKernels;
  std::vector<Kernel> kernels;
  std::vector<Layer> layers;
  LaunchQueue queue;
  DeviceMemory memory;
  std::map<std::pair<const void *, uint64_t>, DeviceBuffer> constants;
  DeviceBuffer spaces[NumSpaces];
  /// For one matrix: offsets {0, rows}, the expert 0, and that there is one.
  DeviceBuffer alone;
  int64_t aloneRows = -1;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_DEVICEMODEL_H
