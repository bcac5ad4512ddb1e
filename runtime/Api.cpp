// The table of moe_runtime.h over the model that is linked into this binary.
#include "runtime/Core/Session.h"
#include "runtime/Core/Text.h"
#include "runtime/IRInterface.h"
#include "runtime/moe_runtime.h"

#include <algorithm>
#include <atomic>
#include <cstring>

// Provided by the object that moe-opt writes and by its linker. Weights are
// absent (null) when they come with set_weights.
extern "C" {
extern const moert_model moert_model_descriptor;
extern const char moert_weights_begin[] __attribute__((weak));
extern const char moert_weights_end[] __attribute__((weak));
}

struct moe_session {
  std::unique_ptr<moe::rt::Session> session;
};

namespace moe::rt {
namespace {

// Read through memory, never relative to the code: the weights may lie more
// than 2 GB away.
const char *volatile const embeddedBegin = moert_weights_begin;
const char *volatile const embeddedEnd = moert_weights_end;

std::atomic<const void *> weights{nullptr};

std::string &lastError() {
  static thread_local std::string message;
  return message;
}

moe_status report(const Status &status) {
  lastError() = status.message;
  return static_cast<moe_status>(status.code);
}

const moert_model &model() { return moert_model_descriptor; }

Status bindWeights(const void *data, uint64_t size) {
  if (size != model().weights_size)
    return {Code::InvalidFile, text("the model needs ", model().weights_size,
                                    " bytes of weights, but there are ", size)};
  if (reinterpret_cast<uintptr_t>(data) % 64)
    return {Code::InvalidArgument, "weights must be 64-byte aligned"};
  const void *expected = nullptr;
  if (!weights.compare_exchange_strong(expected, data)) {
    if (expected == data)
      return {};
    return {Code::InvalidArgument, "the model has its weights already"};
  }
  if (model().weights_slot)
    __atomic_store_n(model().weights_slot, static_cast<const char *>(data),
                     __ATOMIC_RELEASE);
  return {};
}

Status prepare() {
  Status status = checkDescriptor(model());
  if (!status.ok() || !model().weights_size || weights.load())
    return status;
  if (!embeddedBegin)
    return {Code::NotFound, text("the model's ", model().weights_size,
                                 " bytes of weights are not in this file; "
                                 "call set_weights first")};
  return bindWeights(embeddedBegin, embeddedEnd - embeddedBegin);
}

moe_status setWeights(const void *data, uint64_t size) {
  return report(bindWeights(data, size));
}

moe_status create(const moe_session_options *options, moe_session **session) {
  *session = nullptr;
  moe_session_options known = {};
  if (options)
    std::memcpy(&known, options,
                std::min<size_t>(options->size, sizeof(known)));
  Status status = prepare();
  if (!status.ok())
    return report(status);
  auto created = Session::create(model(), known);
  if (!created)
    return report(created.error());
  *session = new moe_session{std::move(*created)};
  return report({});
}

moe_status getOutput(moe_session *session, const char *name,
                     moe_tensor *tensor) {
  Result<moe_tensor> found = session->session->output(name);
  if (found)
    *tensor = *found;
  return report(found.error());
}

moe_status sample(moe_session *session, const char *output,
                  const moe_sampling *sampling, int64_t *tokens) {
  moe_sampling known = {};
  std::memcpy(&known, sampling,
              std::min<size_t>(sampling->size, sizeof(known)));
  return report(session->session->sample(output, known, tokens));
}

const moe_port *portAt(const moert_port *ports, uint32_t count, uint32_t i) {
  return i < count ? &asPort(ports[i]) : nullptr;
}

const moe_api api = {
    sizeof(moe_api),
    MOE_API_MAJOR,
    MOE_API_MINOR,
    0,
    [] { return model().name; },
    [] { return model().manifest; },
    [] { return model().num_inputs; },
    [] { return model().num_outputs; },
    [](uint32_t i) { return portAt(model().inputs, model().num_inputs, i); },
    [](uint32_t i) { return portAt(model().outputs, model().num_outputs, i); },
    [] { return model().weights_size; },
    setWeights,
    [] { return static_cast<const char *>(lastError().c_str()); },
    create,
    [](moe_session *session) { delete session; },
    [](moe_session *session, const char *name, const moe_tensor *tensor) {
      return report(session->session->setInput(name, *tensor));
    },
    [](moe_session *session, const char *output, const char *input) {
      return report(session->session->feedBack(output, input));
    },
    [](moe_session *session) { return report(session->session->run()); },
    getOutput,
    [](moe_session *session) { session->session->reset(); },
    [](moe_session *session) {
      return static_cast<int32_t>(session->session->context().threads());
    },
    [](moe_session *session, uint64_t *count) {
      const auto &all = session->session->context().recorder.expertCounts();
      *count = all.size();
      return all.data();
    },
    [](moe_session *session, uint64_t *count) {
      const auto &all = session->session->context().recorder.phases();
      *count = all.size();
      return all.data();
    },
    [](moe_session *session) { return session->session->peakMemory(); },
    [](moe_session *session, uint64_t *count) {
      const auto &all = session->session->context().recorder.measures();
      *count = all.size();
      return all.data();
    },
    [](moe_session *session) { return session->session->deviceReason(); },
    sample,
};

} // namespace
} // namespace moe::rt

extern "C" __attribute__((visibility("default"))) const moe_api *
moe_model_api(uint32_t major) {
  return major == MOE_API_MAJOR ? &moe::rt::api : nullptr;
}
