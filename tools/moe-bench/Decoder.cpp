#include "tools/moe-bench/Decoder.h"

#include "runtime/Core/Json.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Runner/Load.h"
#include "tools/moe-bench/Timing.h"

#include <cstdio>

using namespace moe;
using namespace moe::bench;

int moe::bench::fail(const std::string &why, int code) {
  fprintf(stderr, "moe-bench: error: %s\n", why.c_str());
  return code;
}

bool moe::bench::open(const Options &options, rt::Program &program) {
  auto api = rt::loadModel(options.model);
  if (!api)
    return fail(api.error().message), false;
  program.api = *api;
  program.options.model = options.model;
  for (const auto &[port, role] : options.roles)
    program.options.roles.push_back({port, role});
  moe_session_options session = {};
  session.size = sizeof session;
  session.threads = options.threads;
  if (program.api->session_create(&session, &program.session) != MOE_OK)
    return fail(program.api->error()), false;
  return true;
}

/// A cache of one sequence that holds nothing yet.
rt::Status Decoder::empty(const std::string &pastName,
                          const std::string &present,
                          moe_tensor &tensor) const {
  const moe_port &port = *program.findInput(pastName);
  const moe_port *tokensPort = program.findInput(roles.tokens);
  int32_t growing =
      rt::growingAxis(port, *program.findOutput(present), tokensPort);
  tensor = {};
  tensor.dtype = port.dtype;
  tensor.rank = port.rank;
  for (int32_t i = 0; i < port.rank; ++i) {
    if (port.dims[i] >= 0)
      tensor.shape[i] = port.dims[i];
    else if (rt::isBatchAxis(port, i, tokensPort))
      tensor.shape[i] = 1;
    else if (i != growing)
      return {rt::Code::Unsupported,
              "input '" + pastName +
                  "' has a free size that is neither the "
                  "batch nor the length: " +
                  rt::portText(port)};
  }
  return {};
}

rt::Status Decoder::prepare() {
  rt::Status status = rt::checkRoles(program);
  if (!status.ok())
    return status;
  if (roles.tokens.empty() || roles.caches.empty())
    return {rt::Code::InvalidArgument,
            "--decode needs a model with an input for tokens and with caches "
            "(inputs that come back as outputs, longer); --role names them"};
  if (!roles.others.empty())
    return {rt::Code::InvalidArgument,
            "cannot tell what input '" + roles.others[0] + "' is for"};
  for (const auto &[from, to] : roles.caches) {
    status = program.check(
        program.api->feed_back(program.session, to.c_str(), from.c_str()));
    if (!status.ok())
      return status;
  }
  return reset();
}

rt::Status Decoder::reset() {
  past = 0;
  program.api->reset(program.session);
  for (const auto &[from, to] : roles.caches) {
    moe_tensor tensor;
    rt::Status status = empty(from, to, tensor);
    if (status.ok())
      status = program.setInput(from, tensor);
    if (!status.ok())
      return status;
  }
  return {};
}

/// Fills an integer input with random tokens, or with numbers from `first`;
/// a mask with ones.
rt::Status Decoder::set(const std::string &name, std::vector<char> &bytes,
                        int64_t count, int64_t first, bool isTokens) {
  if (name.empty())
    return {};
  const moe_port &port = *program.findInput(name);
  moe_tensor tensor = {};
  tensor.dtype = port.dtype;
  tensor.rank = port.rank;
  tensor.shape[0] = port.rank == 1 ? count : 1;
  tensor.shape[1] = count;
  bytes.resize(count * rt::elementSize(port.dtype));
  tensor.data = bytes.data();
  uint64_t vocabulary = roles.vocabulary > 0 ? roles.vocabulary : 256;
  for (int64_t i = 0; i < count; ++i)
    rt::setElement(bytes.data(), port.dtype, i,
                   name == roles.mask ? 1.0
                   : isTokens ? static_cast<double>(random.below(vocabulary))
                              : static_cast<double>(first + i));
  return program.setInput(name, tensor);
}

rt::Result<double> Decoder::feed(int64_t count) {
  rt::Status status = set(roles.tokens, tokens, count, 0, true);
  if (status.ok())
    status = set(roles.positions, positions, count, past, false);
  if (status.ok())
    status = set(roles.mask, mask, past + count, 0, false);
  double start = seconds();
  if (status.ok())
    status = program.run();
  double ms = (seconds() - start) * 1e3;
  if (!status.ok())
    return status;
  past += count;
  return ms;
}

std::string Decoder::request(int64_t prompt, int64_t steps) const {
  std::string out =
      "{\"prompt\": " + std::to_string(prompt) +
      ", \"steps\": " + std::to_string(steps) + ", \"vocabulary\": " +
      std::to_string(roles.vocabulary > 0 ? roles.vocabulary : 256) +
      ", \"tokens\": " + rt::jsonString(roles.tokens) +
      ", \"positions\": " + rt::jsonString(roles.positions) +
      ", \"mask\": " + rt::jsonString(roles.mask) + ", \"caches\": [";
  for (const auto &[from, to] : roles.caches) {
    moe_tensor tensor;
    (void)empty(from, to, tensor);
    out += (out.back() == '[' ? "[" : ", [") + rt::jsonString(from) + ", " +
           rt::jsonString(to) + ", " +
           rt::shapeText(tensor.shape, tensor.rank) + "]";
  }
  return out + "]}";
}
