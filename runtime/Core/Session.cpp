#include "runtime/Core/Session.h"

#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <cstring>

namespace moe::rt {

Result<std::unique_ptr<Session>>
Session::create(const moert_model &model, const moe_session_options &options) {
  if (options.threads < 0 || options.threads > 1024)
    return {Code::InvalidArgument,
            text("a session has 1 to 1024 threads, not ", options.threads)};
  std::unique_ptr<Session> session(new Session(model, options));
  Status status = session->chooseDevice(options);
  if (!status.ok())
    return status;
  return session;
}

Status Session::chooseDevice(const moe_session_options &options) {
  OffloadRequest request;
  request.driver = options.cuda_driver;
  request.progress = {options.progress, options.progress_user};
  if (options.device) {
    Result<DeviceRequest> parsed = parseDevice(options.device);
    if (!parsed)
      return parsed.error();
    request.device = *parsed;
  }
  const moert_device_code *code = model.abi_minor >= 6 ? model.device : nullptr;
  if (code) {
    Result<OffloadChoice> made = code->runtime->open(model, request);
    if (!made)
      return made.error();
    choice = std::move(*made);
    runContext.offload = choice.offload.get();
    caches.use(choice.offload.get(), runContext.recorder.ifPhases());
    return {};
  }
  bool isOld = model.abi_minor >= 3 && model.abi_minor < 6 && model.device;
  if (request.device.kind == DeviceRequest::Cuda)
    return {Code::Unsupported,
            text("device ", quote(options.device), ": the model has code for ",
                 isOld ? "a GPU as an older compiler made it; compile it again"
                       : "the processor alone; compile it",
                 " with --target=cpu,cuda:sm_80")};
  choice.reason = isOld ? "CPU: its code for a GPU is an older compiler's"
                        : "CPU: there is code for it alone";
  return {};
}

std::unique_lock<std::mutex> Session::takeTurn() {
  // What is recorded of experts, the processor records.
  if (!choice.offload || runContext.recorder.recordExperts)
    return {};
  return std::unique_lock<std::mutex>(choice.offload->turn);
}

Session::Session(const moert_model &model, const moe_session_options &options)
    : model(model), runContext(options.threads, options.memory_limit),
      caches(options.memory_limit), given(model.num_inputs),
      inputs(model.num_inputs), outputs(model.num_outputs),
      dense(model.num_outputs) {
  runContext.caches = &caches;
  runContext.recorder.recordExperts = options.record_experts;
  runContext.recorder.sampleSeed = options.sample_seed;
  runContext.recorder.recordPhases = options.record_phases;
}

Status Session::setInput(const char *name, const moe_tensor &tensor) {
  Result<uint32_t> index =
      findPort(model.inputs, model.num_inputs, "input", name);
  if (!index)
    return index.error();
  Status status = checkTensor(asPort(model.inputs[*index]), "input", tensor);
  if (status.ok())
    given[*index] = tensor;
  return status;
}

Status Session::feedBack(const char *output, const char *input) {
  Result<uint32_t> from =
      findPort(model.outputs, model.num_outputs, "output", output);
  if (!from)
    return from.error();
  Result<uint32_t> to =
      findPort(model.inputs, model.num_inputs, "input", input);
  if (!to)
    return to.error();
  const moert_port &source = model.outputs[*from];
  const moert_port &target = model.inputs[*to];
  if (source.dtype != target.dtype || source.rank != target.rank)
    return {Code::InvalidArgument,
            text("output ", quote(output), " is ", portText(asPort(source)),
                 ", it cannot become input ", quote(input), ", which is ",
                 portText(asPort(target)))};
  for (const Link &link : links)
    if (link.input == *to)
      return {Code::InvalidArgument,
              text("input ", quote(input), " is fed back already")};
  // The new reader may want it dense, and on the processor's side.
  std::unique_lock<std::mutex> turn;
  if (caches.holds(*from))
    turn = takeTurn();
  if (Status status = makeDense(*from); !status.ok())
    return status;
  links.push_back({*from, *to});
  caches.link(*from, *to);
  return {};
}

Status Session::makeDense(uint32_t output) {
  if (!caches.holds(output))
    return {};
  moe_tensor &tensor = outputs[output];
  void *copy = runContext.arena().allocate(*byteSize(tensor));
  if (!copy)
    return {Code::OutOfMemory,
            text("cannot allocate ", *byteSize(tensor), " bytes")};
  Status status = caches.copyDense(output, static_cast<char *>(copy));
  if (!status.ok())
    return status;
  tensor.data = copy;
  caches.drop(output);
  return {};
}

Status Session::gatherInputs() {
  inputs = given;
  if (hasFedBack)
    for (const Link &link : links) {
      Status status = runContext.fetch(outputs[link.output].data);
      if (!status.ok())
        return status;
      inputs[link.input] = outputs[link.output];
    }
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    const moe_port &port = asPort(model.inputs[i]);
    if (!inputs[i].dtype)
      return {Code::InvalidArgument, text("input ", quote(port.name),
                                          " is missing: ", portText(port))};
    Status status = checkTensor(port, "input", inputs[i]);
    if (!status.ok())
      return status;
  }
  return checkSymbols(model, inputs.data());
}

Status Session::checkOutputs() {
  for (uint32_t i = 0; i < model.num_outputs; ++i) {
    Status status = checkTensor(asPort(model.outputs[i]), "output", outputs[i]);
    if (!status.ok())
      return {Code::Internal, "the model broke its promise: " + status.message};
  }
  return {};
}

/// Outputs that alias an input may lie in the older arena, which the next run
/// recycles.
Status Session::keepLinkedOutputs() {
  for (const Link &link : links) {
    moe_tensor &tensor = outputs[link.output];
    int64_t bytes = *byteSize(tensor);
    if (!bytes || caches.holds(link.output) ||
        runContext.arena().owns(tensor.data))
      continue;
    void *copy = runContext.arena().allocate(bytes);
    if (!copy)
      return {Code::OutOfMemory, text("cannot allocate ", bytes, " bytes")};
    std::memcpy(copy, tensor.data, bytes);
    tensor.data = copy;
  }
  return {};
}

Status Session::run() {
  std::unique_lock<std::mutex> turn = takeTurn();
  Status status = gatherInputs();
  if (!status.ok())
    return status;
  bool keepLatest = false;
  for (const Link &link : links)
    keepLatest |= hasFedBack && !caches.holds(link.output);
  runContext.nextArena(keepLatest);
  caches.beginRun();
  for (uint32_t i = 0; i < model.num_outputs; ++i) {
    outputs[i] = {};
    outputs[i].dtype = model.outputs[i].dtype;
    outputs[i].rank = model.outputs[i].rank;
  }
  for (Buffer &buffer : dense)
    buffer = {};
  hasOutputs = hasFedBack = false;
  status = runContext.execute(
      [](void *argument) {
        Session &self = *static_cast<Session *>(argument);
        self.model.run(
            reinterpret_cast<const moert_tensor *>(self.inputs.data()),
            reinterpret_cast<moert_tensor *>(self.outputs.data()));
      },
      this);
  if (status.ok())
    status = checkOutputs();
  caches.endRun(status.ok());
  if (status.ok())
    status = keepLinkedOutputs();
  hasOutputs = status.ok();
  hasFedBack = hasOutputs && !links.empty();
  return status;
}

Result<uint32_t> Session::findOutput(const char *name) const {
  Result<uint32_t> index =
      findPort(model.outputs, model.num_outputs, "output", name);
  if (index && !hasOutputs)
    return {Code::InvalidArgument,
            text("there is no output ", quote(name), " before a run")};
  return index;
}

Result<moe_tensor> Session::output(const char *name) {
  Result<uint32_t> index = findOutput(name);
  if (!index)
    return index.error();
  return outputAt(*index);
}

Result<moe_tensor> Session::outputAt(uint32_t index) {
  moe_tensor tensor = outputs[index];
  // What is here waits for nobody.
  std::unique_lock<std::mutex> turn;
  if (!caches.holds(index)) {
    if (!runContext.onDevice(tensor.data))
      return tensor;
    turn = takeTurn();
    if (Status status = runContext.fetch(tensor.data); !status.ok())
      return status;
    return tensor;
  }
  if (!dense[index].size()) {
    turn = takeTurn();
    Result<Buffer> buffer = Buffer::create(*byteSize(tensor));
    if (!buffer)
      return buffer.error();
    Status status = caches.copyDense(index, buffer->data());
    if (!status.ok())
      return status;
    dense[index] = std::move(*buffer);
  }
  tensor.data = dense[index].data();
  return tensor;
}

void Session::reset() {
  hasOutputs = hasFedBack = false;
  caches.endRun(false);
  runContext.dropDeviceResults();
}

} // namespace moe::rt
