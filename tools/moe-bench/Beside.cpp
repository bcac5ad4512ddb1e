#include "tools/moe-bench/Beside.h"

#include "tools/moe-bench/Decoder.h"
#include "tools/moe-bench/Limits.h"
#include "tools/moe-bench/Peer.h"
#include "tools/moe-bench/Timing.h"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace moe;
using namespace moe::bench;

static constexpr int kRunsPerRound = 5;

static double fileBytes(const std::string &path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 ? static_cast<double>(info.st_size) : 0;
}

int moe::bench::runServe(const Options &options) {
  rt::Program program;
  if (!open(options, program))
    return 1;
  Decoder decoder(program);
  rt::Result<std::vector<rt::Array>> arrays = std::vector<rt::Array>();
  rt::Status status;
  if (options.steps)
    status = decoder.prepare();
  else {
    program.options.inputArchives = {options.inputs};
    arrays = rt::loadInputs(program);
    if (!arrays)
      status = arrays.error();
  }
  if (!status.ok())
    return fail(status.message);
  printf("ready %s\n", program.api->name());
  fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "size") {
      rusage usage = {};
      getrusage(RUSAGE_SELF, &usage); // in KiB
      printf("%.0f %.0f\n", fileBytes(options.model),
             1024.0 * static_cast<double>(usage.ru_maxrss));
      fflush(stdout);
      continue;
    }
    int64_t count = options.steps ? options.steps + 1 : kRunsPerRound + 1;
    if (options.steps)
      status = decoder.reset();
    for (int64_t i = 0; i < count && status.ok(); ++i) {
      double start = seconds(), ms = 0;
      if (options.steps) {
        rt::Result<double> fed = decoder.feed(i ? 1 : options.prompt);
        ms = fed ? *fed : 0;
        if (!fed)
          status = fed.error();
      } else {
        status = program.run();
        ms = (seconds() - start) * 1e3;
      }
      // The first run of a block warms the caches.
      if (options.steps || i > 0)
        printf("%.6f ", ms);
    }
    if (!status.ok())
      return fail(status.message);
    printf("\n");
    fflush(stdout);
  }
  return 0;
}

namespace {
struct Contender {
  std::string path;
  Peer peer;
  std::vector<double> prompts, steps; ///< ms; runs on inputs are `prompts`
  double file = 0, memory = 0;
};
} // namespace

static void
printContenders(const Options &options,
                const std::vector<std::unique_ptr<Contender>> &contenders) {
  bool decodes = options.steps > 0;
  std::string first =
      decodes ? "prompt of " + std::to_string(options.prompt) : "a run";
  printf("%-28s %10s %10s %14s", "", "file, MB", "memory, MB", first.c_str());
  if (decodes)
    printf(" %10s %14s %10s", "tokens/s", "a token", "tokens/s");
  printf("\n");
  for (const auto &c : contenders) {
    double prompt = median(c->prompts), step = median(c->steps);
    printf("%-28s %10.2f %10.2f %11.3f ms",
           c->path.substr(c->path.rfind('/') + 1).c_str(), c->file / 1e6,
           c->memory / 1e6, prompt);
    if (decodes)
      printf(" %10.0f %11.3f ms %10.0f",
             1e3 * static_cast<double>(options.prompt) / prompt, step,
             1e3 / step);
    printf("\n");
  }
  const Contender &base = *contenders.front();
  for (size_t i = 1; i < contenders.size(); ++i) {
    const Contender &c = *contenders[i];
    printf("%-28s %10.2f %10.2f %14.2f",
           (c.path.substr(c.path.rfind('/') + 1) + ", ratio").c_str(),
           c.file / base.file, c.memory / base.memory,
           median(base.prompts) / median(c.prompts));
    if (decodes)
      printf(" %10s %14.2f", "", median(base.steps) / median(c.steps));
    printf(" times as fast\n");
  }
}

int moe::bench::runBeside(const Options &options) {
  std::vector<std::unique_ptr<Contender>> contenders;
  std::vector<std::string> paths{options.model};
  paths.insert(paths.end(), options.beside.begin(), options.beside.end());
  for (const std::string &path : paths) {
    auto c = std::make_unique<Contender>();
    c->path = path;
    std::vector<std::string> command{"/proc/self/exe", path, "--serve",
                                     "--threads",
                                     std::to_string(options.threads)};
    if (options.steps)
      command.insert(command.end(),
                     {"--decode", std::to_string(options.steps), "--prompt",
                      std::to_string(options.prompt)});
    else
      command.insert(command.end(), {"--inputs", options.inputs});
    for (const auto &[port, role] : options.roles)
      command.insert(command.end(), {"--role", port + "=" + role});
    std::string error;
    if (!c->peer.start(command, error))
      return fail("'" + path + "' " + error);
    contenders.push_back(std::move(c));
  }
  printMachine(options.threads);
  for (int round = 0; round < options.rounds + 1; ++round)
    for (auto &c : contenders) {
      std::vector<double> times = c->peer.request("round");
      size_t expected = options.steps ? options.steps + 1 : kRunsPerRound;
      if (times.size() != expected)
        return fail("'" + c->path + "' ended early");
      if (round == 0) // the first round is not counted
        continue;
      auto split = times.begin() + (options.steps ? 1 : kRunsPerRound);
      c->prompts.insert(c->prompts.end(), times.begin(), split);
      c->steps.insert(c->steps.end(), split, times.end());
    }
  for (auto &c : contenders) {
    std::vector<double> sizes = c->peer.request("size");
    if (sizes.size() != 2)
      return fail("'" + c->path + "' ended early");
    c->file = sizes[0], c->memory = sizes[1];
  }
  printContenders(options, contenders);
  return 0;
}
