#include "tools/moe-bench/WholeRun.h"

#include "runtime/Core/Json.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Runner/Load.h"
#include "runtime/Runner/Random.h"
#include "runtime/Runner/Roles.h"
#include "tools/moe-bench/Limits.h"
#include "tools/moe-bench/Peer.h"
#include "tools/moe-bench/Timing.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

using namespace moe;
using namespace moe::bench;

static int fail(const std::string &why, int code = 1) {
  fprintf(stderr, "moe-bench: error: %s\n", why.c_str());
  return code;
}

static void printTimes(const std::string &name, const std::vector<double> &ms) {
  printf("%-28s %10.3f ms (%.3f .. %.3f)\n", name.c_str(), median(ms),
         quantile(ms, 0.25), quantile(ms, 0.75));
}

static void printRatio(const std::vector<double> &ours,
                       const std::vector<double> &theirs) {
  printf("%-28s %10.2f\n", "ratio (peer's time / ours)",
         median(theirs) / median(ours));
}

/// The machine in one line, so that times of two runs can be compared; returns
/// its GFLOP/s.
static double printMachine(int threads) {
  std::vector<double> fma, read;
  LargeMemory memory;
  for (int i = 0; i < 5; ++i) {
    fma.push_back(sampleFma(threads));
    read.push_back(memory.data ? sampleRead(memory.data, memory.size, threads)
                               : 0);
  }
  printf("%d thread%s; this machine: %.1f GFLOP/s (f32 multiply-add), "
         "%.1f GB/s (plain read)\n",
         threads, threads > 1 ? "s" : "", quantile(fma, 0.75),
         quantile(read, 0.75));
  return quantile(fma, 0.75);
}

/// What `ms` per run means as work: products with weights, which the compiler
/// counted per token (attention is not in it, so the rate is a lower bound).
static void printWork(rt::Program &program,
                      const std::vector<rt::Array> &inputs, double ms,
                      double peak) {
  auto manifest = rt::parseJson(program.api->manifest());
  const rt::Json *counted =
      manifest ? manifest->find("flops_per_token") : nullptr;
  double flops = counted ? std::strtod(counted->text.c_str(), nullptr) : 0;
  std::string tokens = rt::findRoles(program).tokens;
  for (const rt::Array &array : inputs) {
    auto count = rt::elementCount(array.tensor.shape, array.tensor.rank);
    if (array.name != tokens || !count || *count == 0 || flops <= 0)
      continue;
    double rate = flops * static_cast<double>(*count) / ms / 1e6;
    printf("%-28s %10.1f GFLOP/s, %.0f %% of the peak; %.0f tokens/s\n",
           "work with weights", rate, 100 * rate / peak,
           static_cast<double>(*count) * 1e3 / ms);
  }
}

/// Opens the model and a session of it; false after a message.
static bool open(const Options &options, rt::Program &program) {
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

static bool startPeer(const Options &options, Peer &peer) {
  std::string error;
  return peer.start({options.python, options.peer, options.onnx,
                     options.inputs.empty() ? "-" : options.inputs,
                     std::to_string(options.threads)},
                    error) ||
         (fail(error), false);
}

int moe::bench::runWhole(const Options &options) {
  rt::Program program;
  if (!open(options, program))
    return 1;
  program.options.inputArchives = {options.inputs};
  auto arrays = rt::loadInputs(program);
  if (!arrays)
    return fail(arrays.error().message);
  bool hasPeer = !options.peer.empty();
  Peer peer;
  if (hasPeer && !startPeer(options, peer))
    return 1;
  double peak = printMachine(options.threads);
  std::vector<double> ours, theirs;
  for (int round = 0; round < options.rounds; ++round) {
    for (int i = 0; i < 6; ++i) {
      double start = seconds();
      rt::Status status = program.run();
      if (!status.ok())
        return fail(status.message);
      if (i > 0) // the first run of a block warms the caches
        ours.push_back((seconds() - start) * 1e3);
    }
    if (!hasPeer)
      continue;
    std::vector<double> times = peer.request("6");
    if (times.size() != 6)
      return fail("the peer ended early");
    theirs.insert(theirs.end(), times.begin() + 1, times.end());
    usleep(20000); // its threads stop spinning
  }
  printTimes(program.api->name(), ours);
  printWork(program, *arrays, median(ours), peak);
  if (hasPeer) {
    printTimes(peer.name(), theirs);
    printRatio(ours, theirs);
  }
  return 0;
}

namespace {
/// A model that reads tokens behind those it has read.
class Decoder {
public:
  explicit Decoder(rt::Program &program)
      : program(program), roles(rt::findRoles(program)) {}

  rt::Status prepare();
  rt::Status reset();
  /// Appends tokens; returns milliseconds.
  rt::Result<double> feed(int64_t count);
  /// What the peer has to know.
  std::string request(int64_t prompt, int64_t steps) const;

private:
  rt::Status set(const std::string &name, std::vector<char> &bytes,
                 int64_t count, int64_t first, bool random);
  rt::Status empty(const std::string &past, const std::string &present,
                   moe_tensor &tensor) const;

  rt::Program &program;
  rt::Roles roles;
  rt::Random random{1};
  int64_t past = 0;
  std::vector<char> tokens, positions, mask;
};
} // namespace

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

int moe::bench::runDecode(const Options &options) {
  rt::Program program;
  if (!open(options, program))
    return 1;
  Decoder decoder(program);
  rt::Status status = decoder.prepare();
  if (!status.ok())
    return fail(status.message);
  bool hasPeer = !options.peer.empty();
  Peer peer;
  if (hasPeer && !startPeer(options, peer))
    return 1;
  printMachine(options.threads);
  std::vector<double> prompts, steps, theirPrompts, theirSteps;
  for (int round = 0; round < options.rounds + 1; ++round) {
    status = decoder.reset();
    if (!status.ok())
      return fail(status.message);
    bool warm = round > 0; // the first round is not counted
    for (int64_t i = 0; i <= options.steps; ++i) {
      rt::Result<double> ms = decoder.feed(i ? 1 : options.prompt);
      if (!ms)
        return fail(ms.error().message);
      if (warm)
        (i ? steps : prompts).push_back(*ms);
    }
    if (!hasPeer)
      continue;
    std::vector<double> times =
        peer.request(decoder.request(options.prompt, options.steps));
    if (times.size() != static_cast<size_t>(options.steps) + 1)
      return fail("the peer ended early");
    if (warm) {
      theirPrompts.push_back(times[0]);
      theirSteps.insert(theirSteps.end(), times.begin() + 1, times.end());
    }
    usleep(20000); // its threads stop spinning
  }
  auto label = [&](const std::string &name, bool prompt) {
    return name + (prompt ? ", prompt of " + std::to_string(options.prompt)
                          : ", a token");
  };
  printTimes(label(program.api->name(), true), prompts);
  if (hasPeer) {
    printTimes(label(peer.name(), true), theirPrompts);
    printRatio(prompts, theirPrompts);
  }
  printTimes(label(program.api->name(), false), steps);
  if (hasPeer) {
    printTimes(label(peer.name(), false), theirSteps);
    printRatio(steps, theirSteps);
  }
  printf("%-28s %10.0f after %lld .. %lld\n", "tokens/s", 1e3 / median(steps),
         static_cast<long long>(options.prompt),
         static_cast<long long>(options.prompt + options.steps - 1));
  return 0;
}
