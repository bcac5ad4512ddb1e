// The functions of IRInterface.h that are about devices. Nothing here may own
// anything across moert_fail, which does not return.
#include "runtime/Core/Run.h"

#include <algorithm>

namespace moe::rt {
namespace {

RunContext &context() { return *RunContext::running(); }

Recorder *trace() { return context().recorder.ifPhases(); }

/// Ends the run where `call(offload)` fails.
template <typename Call>
void attempt(Call call) {
  RunContext &run = context();
  int32_t code;
  {
    Status status = call(*run.offload);
    code = static_cast<int32_t>(status.code);
    run.callError = std::move(status.message);
  }
  if (code != MOE_OK)
    moert_fail(code, "%s", run.callError.c_str(), 0);
}

} // namespace
} // namespace moe::rt

using namespace moe::rt;

int32_t moert_on_device(void) {
  RunContext &run = context();
  // What is recorded is seen by the processor alone.
  return run.offload && !run.recorder.recordExperts;
}

void *moert_device_alloc(int64_t bytes) {
  void *memory = nullptr;
  attempt([&](Offload &offload) {
    auto made = offload.allocate(bytes);
    if (made)
      context().deviceMemory.push_back(memory = *made);
    return made.error();
  });
  return memory;
}

void moert_device_free(void *memory) {
  std::vector<void *> &all = context().deviceMemory;
  auto place = std::find(all.begin(), all.end(), memory);
  if (place == all.end())
    return;
  all.erase(place);
  context().offload->release(memory);
}

void *moert_device_constant(const void *data, int64_t bytes) {
  void *copy = nullptr;
  attempt([&](Offload &offload) {
    auto made = offload.constant(data, bytes, trace());
    if (made)
      copy = *made;
    return made.error();
  });
  return copy;
}

void *moert_device_append(int32_t input, int32_t output, const void *past,
                          int64_t blocks, int64_t rows, int64_t fresh,
                          int64_t row_bytes, int64_t *capacity) {
  AppendRequest request = {past, blocks, rows, fresh, row_bytes};
  void *data = nullptr;
  if (Caches *caches = context().caches)
    attempt([&](Offload &) {
      auto place = caches->append(static_cast<uint32_t>(input),
                                  static_cast<uint32_t>(output),
                                  Caches::OnDevice, request, *capacity);
      if (place)
        data = *place;
      return place.error();
    });
  if (data)
    return data;
  if (__builtin_add_overflow(rows, fresh, capacity))
    *capacity = -1;
  data = moert_device_alloc(request.bytes(*capacity));
  attempt([&](Offload &offload) {
    return offload.copy(Offload::Up, request.toBlocks(data, *capacity),
                        trace());
  });
  return data;
}

void *moert_device_present(const void *memory, int64_t bytes) {
  RunContext &run = context();
  auto *device = const_cast<void *>(memory);
  if (run.caches && run.caches->keeps(device))
    return device;
  void *host = moert_alloc(bytes);
  std::vector<void *> &all = run.deviceMemory;
  auto place = std::find(all.begin(), all.end(), device);
  if (place == all.end() || !bytes) {
    moert_device_download(host, device, bytes);
    return host;
  }
  all.erase(place);
  run.deviceResults.push_back({host, device, bytes});
  return host;
}

void moert_device_upload(void *to, const void *from, int64_t bytes) {
  attempt([&](Offload &offload) {
    return offload.upload(to, from, bytes, trace());
  });
}

void moert_device_download(void *to, const void *from, int64_t bytes) {
  attempt([&](Offload &offload) {
    return offload.download(to, from, bytes, trace());
  });
}

void moert_device_launch(int32_t kernel, void **arguments) {
  attempt([&](Offload &offload) {
    return offload.launch(kernel, arguments, trace());
  });
}

void moert_device_rows(int32_t layer, int64_t rows, const void *x,
                       const void *ids, const void *weights,
                       const void *residual, void *out) {
  attempt([&](Offload &offload) {
    return offload.layer(layer, rows, {x, ids, weights, residual, out},
                         trace());
  });
}
