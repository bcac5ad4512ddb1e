#include "tools/moe-cuda-check/RunCase.h"

#include "runtime/Core/Text.h"
#include "runtime/Device/KernelChoice.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>

using namespace moe;
using namespace moe::check;
using rt::CuPointer, rt::DeviceBuffer, rt::Result, rt::Status;

namespace {
class Run {
public:
  Run(rt::Device &device, const CaseFile &test) : device(device), test(test) {}

  Status load(const std::string &ptx) {
    auto loaded = rt::Module::load(device, test.name, ptx);
    if (!loaded)
      return loaded.error();
    module = std::move(*loaded);
    for (const std::string &bytes : test.buffers) {
      auto made = device.allocate(bytes.size(), "buffer of a case");
      if (!made)
        return made.error();
      buffers.push_back(std::move(*made));
    }
    return {};
  }

  /// Every buffer of the case as it is afterwards, with the case's own grid or
  /// with that of the runtime.
  Result<std::vector<std::string>> go(bool isOwnGrid) {
    Status status;
    for (size_t i = 0; i < buffers.size() && status.ok(); ++i)
      status = device.upload(buffers[i], 0, test.buffers[i].data(),
                             test.buffers[i].size());
    for (const Launch &launch : test.launches)
      if (status.ok())
        status = start(launch, isOwnGrid);
    std::vector<std::string> after = test.buffers;
    for (size_t i = 0; i < buffers.size() && status.ok(); ++i)
      status = device.download(after[i].data(), buffers[i], 0, after[i].size());
    if (!status.ok())
      return status;
    return after;
  }

private:
  /// Of as many blocks as the runtime takes; but a kernel of one block needs
  /// all that it has in that.
  uint32_t blocksOfRuntime(const Launch &launch) const {
    if (launch.blocks <= 1)
      return launch.blocks;
    return static_cast<uint32_t>(
        rt::blocksFor(device.info().multiprocessors, launch.hasMap()));
  }

  Status start(const Launch &launch, bool isOwnGrid) {
    auto kernel =
        module.kernel(launch.kernel, launch.threads, launch.sharedBytes);
    if (!kernel)
      return kernel.error();
    // Buffers, numbers and maps alike, by address.
    std::deque<uint64_t> values;
    std::deque<rt::TensorMap> maps;
    std::vector<void *> arguments;
    for (const Launch::Argument &argument : launch.arguments) {
      if (argument.kind == Launch::Argument::Map) {
        auto map = rt::encodeTensorMap(device, buffers[argument.value],
                                       argument.stack, argument.boxRows);
        if (!map)
          return map.error();
        maps.push_back(*map);
        arguments.push_back(&maps.back());
        continue;
      }
      values.push_back(argument.kind == Launch::Argument::Buffer
                           ? buffers[argument.value].pointer()
                           : argument.value);
      arguments.push_back(&values.back());
    }
    return rt::launch(*kernel,
                      isOwnGrid ? launch.blocks : blocksOfRuntime(launch),
                      arguments.data());
  }

  rt::Device &device;
  const CaseFile &test;
  rt::Module module;
  std::vector<DeviceBuffer> buffers;
};
} // namespace

static float numberAt(const std::string &bytes, size_t i) {
  float value;
  std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
  return value;
}

static void compare(const Comparison &comparison, const std::string &found,
                    Outcome &to) {
  auto wrong = [&](const std::string &why) {
    to.right = false;
    if (to.note.empty())
      to.note = why;
  };
  if (comparison.kind == Comparison::Exact) {
    if (found == comparison.emulated)
      return;
    size_t at =
        std::mismatch(found.begin(), found.end(), comparison.emulated.begin())
            .first -
        found.begin();
    return wrong(rt::text("buffer ", comparison.buffer,
                          " is not the emulator's from byte ", at, " of ",
                          found.size(), " on"));
  }
  size_t count = comparison.kind == Comparison::Near
                     ? comparison.values.size()
                     : found.size() / sizeof(float);
  for (size_t i = 0; i < count; ++i) {
    float have = numberAt(found, i),
          emulated = numberAt(comparison.emulated, i);
    ++to.numbers;
    to.sameBits += std::memcmp(&have, &emulated, sizeof have) == 0;
    if (comparison.kind == Comparison::Kinds) {
      if (std::isnan(have) != std::isnan(emulated))
        wrong(rt::text("number ", i, " is ", rt::number(have),
                       ", the emulator's ", rt::number(emulated)));
      continue;
    }
    double share = std::fabs(double(have) - double(comparison.values[i])) /
                   double(comparison.allowed[i]);
    // NaN is not below.
    if (!(share <= 1))
      wrong(rt::text("number ", i, " is ", rt::number(have), ", should be ",
                     rt::number(comparison.values[i]), " within ",
                     rt::number(comparison.allowed[i], 2)));
    to.worst = std::max(to.worst, std::isnan(share) ? INFINITY : share);
  }
}

Result<Outcome> moe::check::runCase(rt::Device &device, const CaseFile &test,
                                    const std::string &ptx) {
  Run run(device, test);
  Status status = run.load(ptx);
  if (!status.ok())
    return status;
  auto own = run.go(/*isOwnGrid=*/true);
  if (!own)
    return own.error();
  auto other = run.go(/*isOwnGrid=*/false);
  if (!other)
    return other.error();
  Outcome outcome;
  for (const Comparison &comparison : test.comparisons) {
    compare(comparison, (*own)[comparison.buffer], outcome);
    if ((*own)[comparison.buffer] != (*other)[comparison.buffer]) {
      outcome.right = false;
      if (outcome.note.empty())
        outcome.note = rt::text("buffer ", comparison.buffer,
                                " depends on the number of blocks");
    }
  }
  return outcome;
}
