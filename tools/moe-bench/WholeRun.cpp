#include "tools/moe-bench/WholeRun.h"

#include "runtime/Core/Json.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Runner/Roles.h"
#include "tools/moe-bench/Decoder.h"
#include "tools/moe-bench/Limits.h"
#include "tools/moe-bench/Peer.h"
#include "tools/moe-bench/Timing.h"

#include <cstdio>
#include <cstdlib>
#include <unistd.h>

using namespace moe;
using namespace moe::bench;

static void printTimes(const std::string &name, const std::vector<double> &ms) {
  printf("%-28s %10.3f ms (%.3f .. %.3f)\n", name.c_str(), median(ms),
         quantile(ms, 0.25), quantile(ms, 0.75));
}

static void printRatio(const std::vector<double> &ours,
                       const std::vector<double> &theirs) {
  printf("%-28s %10.2f\n", "ratio (peer's time / ours)",
         median(theirs) / median(ours));
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

static bool startPeer(const Options &options, Peer &peer) {
  std::string error;
  return peer.start({options.python, options.peer, options.onnx,
                     options.inputs.empty() ? "-" : options.inputs,
                     std::to_string(options.threads)},
                    error) ||
         (fail("'" + options.python + "' " + error), false);
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
      rt::Status status = program.runForOutputs();
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
