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
  Run(rt::Device &device, const CaseFile &test, const rt::Module &module)
      : device(device), test(test), module(module) {}

  Status load() {
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
        rt::blocksFor(device.info().multiprocessors, launch.sharedBytes));
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
  const rt::Module &module;
  std::vector<DeviceBuffer> buffers;
};
} // namespace

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
  const Element element = comparison.element;
  const size_t size = sizeOf(element);
  size_t count = comparison.kind == Comparison::Near ? comparison.values.size()
                                                     : found.size() / size;
  for (size_t i = 0; i < count; ++i) {
    double have = numberAt(found, element, i),
           emulated = numberAt(comparison.emulated, element, i);
    ++to.numbers;
    to.sameBits +=
        found.compare(i * size, size, comparison.emulated, i * size, size) == 0;
    if (comparison.kind == Comparison::Kinds) {
      bool isSame = element == Element::I32
                        ? (have == 0) == (emulated == 0)
                        : std::isnan(have) == std::isnan(emulated);
      if (!isSame)
        wrong(rt::text("number ", i, " is ", rt::number(have),
                       ", the emulator's ", rt::number(emulated)));
      continue;
    }
    double value = comparison.values[i], allowed = comparison.allowed[i];
    double off = std::fabs(have - value);
    // What is no number, and infinities, have to be just that; NaN is not
    // below anything.
    bool isRight =
        std::isnan(value) ? std::isnan(have) : have == value || off <= allowed;
    if (!isRight)
      wrong(rt::text("number ", i, " is ", rt::number(have), ", should be ",
                     rt::number(value), " within ", rt::number(allowed, 2)));
    double share = have == value || std::isnan(value) ? 0 : off / allowed;
    to.worst = std::max(to.worst, std::isnan(share) ? INFINITY : share);
  }
}

Result<Outcome> moe::check::runCase(rt::Device &device, const CaseFile &test,
                                    const rt::Module &module) {
  Run run(device, test, module);
  Status status = run.load();
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
    // Which of several faults is noted may depend on it.
    if (comparison.kind == Comparison::Kinds &&
        comparison.element == Element::I32) {
      compare(comparison, (*other)[comparison.buffer], outcome);
    } else if ((*own)[comparison.buffer] != (*other)[comparison.buffer]) {
      outcome.right = false;
      if (outcome.note.empty())
        outcome.note = rt::text("buffer ", comparison.buffer,
                                " depends on the number of blocks");
    }
  }
  return outcome;
}
