// Tokens from logits that lie on the device.
#include "runtime/Core/Text.h"
#include "runtime/Device/DeviceModel.h"
#include "runtime/Device/KernelChoice.h"
#include "runtime/Device/Span.h"

#include <algorithm>
#include <cstring>

namespace moe::rt {

static const char *typeOfLogits(int32_t dtype) {
  return dtype == MOE_F32    ? "f32"
         : dtype == MOE_BF16 ? "bf16"
         : dtype == MOE_F16  ? "f16"
                             : "";
}

DeviceModel::SampleKernels DeviceModel::sampleKernels(int32_t dtype) const {
  auto find = [&](const char *which) -> const Kernel * {
    std::string name = text("moe_sample_", which, "_", typeOfLogits(dtype));
    for (const Kernel &kernel : kernels)
      if (kernel.name == name)
        return &kernel;
    return nullptr;
  };
  return {find("parts"), find("choose")};
}

bool DeviceModel::canSample(int32_t dtype) const {
  SampleKernels own = sampleKernels(dtype);
  return own.parts && own.choose;
}

Status DeviceModel::launchSample(const SampleKernels &own,
                                 const LogitRows &logits,
                                 const TokenChoice &choice, CuPointer scratch,
                                 CuPointer slots) {
  LogitRows rows = logits;
  int64_t topK = choice.topK;
  // Eight bytes each, as all arguments have.
  uint64_t inverse = 0;
  float number = std::max(1 / choice.temperature, __FLT_MIN__);
  std::memcpy(&inverse, &number, sizeof number);
  void *arguments[] = {&rows.data, &rows.stride, &rows.width, &rows.sequences,
                       &scratch,   &topK,        &inverse,    &slots};
  uint64_t most = blocksFor(device->info().multiprocessors, 0);
  Status status = queue.add(*own.parts, most, arguments);
  if (!status.ok())
    return status;
  return queue.add(*own.choose,
                   std::min(most, static_cast<uint64_t>(rows.sequences)),
                   arguments);
}

Status DeviceModel::sample(const LogitRows &logits, const TokenChoice &choice,
                           int64_t *tokens, Recorder *trace) {
  std::lock_guard<std::mutex> lock(mutex);
  SampleKernels own = sampleKernels(logits.dtype);
  if (!own.parts || !own.choose)
    return {Code::Internal, "the model cannot choose tokens on the device"};
  auto sequences = static_cast<uint64_t>(logits.sequences);
  uint64_t parts =
      (static_cast<uint64_t>(logits.width) + kSamplePart - 1) / kSamplePart;
  auto scratch = memory.take(sequences * parts * 4 * kSampleWords,
                             "what is known of parts of logits");
  if (!scratch)
    return scratch.error();
  Span span(queue, trace, "choose tokens");
  auto slots = memory.take(sequences * 8, "tokens");
  Status status = slots.error();
  if (status.ok()) {
    // Numbers go where tokens come from.
    for (uint64_t s = 0; s < sequences; ++s) {
      tokens[s] = 0;
      std::memcpy(&tokens[s], &choice.uniform[s], sizeof(float));
    }
    auto at = [](CuPointer place) { return reinterpret_cast<void *>(place); };
    status = copyBytes(Up, at(*slots), tokens, sequences * 8);
    if (status.ok())
      status = launchSample(own, logits, choice, *scratch, *slots);
    if (status.ok())
      status = copyBytes(Down, tokens, at(*slots), sequences * 8);
    memory.give(*slots);
  }
  memory.give(*scratch);
  return span.end(status);
}

} // namespace moe::rt
