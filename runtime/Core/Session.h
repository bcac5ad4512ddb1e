// One user's runs of a model.
#ifndef MOE_RUNTIME_CORE_SESSION_H
#define MOE_RUNTIME_CORE_SESSION_H

#include "runtime/Core/Caches.h"
#include "runtime/Core/File.h"
#include "runtime/Core/Model.h"
#include "runtime/Core/Offload.h"
#include "runtime/Core/Run.h"
#include "runtime/Core/Status.h"

#include <memory>
#include <vector>

namespace moe::rt {

/// Holds inputs, outputs, memory and threads of a caller. Owns its outputs,
/// borrows its inputs and the model. One thread at a time; see moe_runtime.h
/// for what each call means.
class Session {
public:
  /// The descriptor must have passed checkDescriptor and outlive the session;
  /// weights must be in place where a device is to have them.
  static Result<std::unique_ptr<Session>>
  create(const moert_model &model, const moe_session_options &options);

  Status setInput(const char *name, const moe_tensor &tensor);
  Status feedBack(const char *output, const char *input);
  Status run();
  /// An output that lives in the caches is made dense on request, and one that
  /// is on the device copied.
  Result<moe_tensor> output(const char *name);
  /// `tokens` has room for as many as there are sequences.
  Status sample(const char *output, const moe_sampling &sampling,
                int64_t *tokens);
  void reset();

  RunContext &context() { return runContext; }
  /// What it runs on, and why.
  const char *deviceReason() const { return choice.reason.c_str(); }
  /// Most bytes of memory in use at once, over all runs.
  uint64_t peakMemory() const {
    return runContext.peakMemory() + caches.peak();
  }

private:
  struct Link {
    uint32_t output;
    uint32_t input;
  };

  Session(const moert_model &model, const moe_session_options &options);
  Status chooseDevice(const moe_session_options &options);
  /// Of the device; holds nothing where runs have none.
  std::unique_lock<std::mutex> takeTurn();
  /// Has an output lie in the arena, not in the caches.
  Status makeDense(uint32_t output);
  Status gatherInputs();
  Status checkOutputs();
  Status keepLinkedOutputs();
  Result<uint32_t> findOutput(const char *name) const;
  Result<moe_tensor> outputAt(uint32_t index);

  const moert_model &model;
  OffloadChoice choice;
  RunContext runContext;
  Caches caches;
  std::vector<moe_tensor> given; // by set_input; dtype 0 where missing
  std::vector<moe_tensor> inputs;
  std::vector<moe_tensor> outputs;
  std::vector<Buffer> dense; // of outputs that were asked for, else empty
  std::vector<Link> links;
  bool hasOutputs = false;
  bool hasFedBack = false;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_SESSION_H
