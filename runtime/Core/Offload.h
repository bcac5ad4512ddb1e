// What runs on a device rather than the processor.
#ifndef MOE_RUNTIME_CORE_OFFLOAD_H
#define MOE_RUNTIME_CORE_OFFLOAD_H

#include "runtime/Core/DeviceRequest.h"
#include "runtime/Core/Progress.h"
#include "runtime/Core/Recorder.h"
#include "runtime/Core/Status.h"
#include "runtime/IRInterface.h"

#include <memory>
#include <mutex>

namespace moe::rt {

/// `blocks` pieces of `bytes`, which lie some way apart on both sides.
struct BlockCopy {
  void *to;
  const void *from;
  int64_t toStride, fromStride; // bytes
  int64_t blocks, bytes;
};

/// Rows of logits on a device, one for each sequence.
struct LogitRows {
  const void *data;                 // within what was allocated
  int32_t dtype;                    // a float
  int64_t width, stride, sequences; // numbers
};

/// See chooseToken.
struct TokenChoice {
  int64_t topK; // 1 to width
  float temperature;
  const float *uniform; // [sequences]
};

/// A model's weights and kernels on a device, and memory for runs. Many
/// sessions may share one, and take turns; calls are in order, and those of one
/// session see what it did before. See moert_device_alloc and the others for
/// what they do.
///
/// Where `trace` is not null, what is done becomes phases of it: the device is
/// waited for before and after each, so nothing overlaps. Their names live as
/// long as the object.
class Offload {
public:
  virtual ~Offload() = default;

  /// Held for a run, and for what a session asks for between runs, so that what
  /// a run launches follows one another.
  std::mutex turn;

  virtual Result<void *> allocate(int64_t bytes) = 0;
  /// Of `allocate`; never fails.
  virtual void release(void *memory) = 0;
  virtual Result<void *> constant(const void *data, int64_t bytes,
                                  Recorder *trace) = 0;
  virtual Status upload(void *to, const void *from, int64_t bytes,
                        Recorder *trace) = 0;
  virtual Status download(void *to, const void *from, int64_t bytes,
                          Recorder *trace) = 0;
  enum Direction { Up, Down, Within };
  /// On the device, to parts of memory of `allocate`.
  virtual Status copy(Direction direction, const BlockCopy &blocks,
                      Recorder *trace) = 0;
  virtual Status launch(int32_t kernel, void **arguments, Recorder *trace) = 0;

  /// The operands of moert_device_rows.
  struct Rows {
    const void *x, *ids, *weights, *residual;
    void *out;
  };
  virtual Status layer(int32_t number, int64_t count, const Rows &rows,
                       Recorder *trace) = 0;
  /// Returns when all that was asked for has ended.
  virtual Status wait() = 0;

  /// Whether `sample` knows logits of that type.
  virtual bool canSample(int32_t dtype) const = 0;
  /// Chooses a token for each row; -1 - i where logit i is NaN.
  virtual Status sample(const LogitRows &logits, const TokenChoice &choice,
                        int64_t *tokens, Recorder *trace) = 0;
};

struct OffloadRequest {
  DeviceRequest device;
  const char *driver = nullptr; // its library; null: the system's
  Progress progress;            // of weights, where they are not there yet
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
