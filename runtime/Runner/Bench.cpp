// --bench: repeated runs, timed.
#include "runtime/Core/Recorder.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/Program.h"
#include "runtime/Runner/Random.h"
#include "runtime/Runner/Roles.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace moe::rt {
namespace {

constexpr int64_t warmupRuns = 2;
constexpr int64_t fillNs = 2000000000;
constexpr int64_t leastRuns = 10;
constexpr int64_t mostRuns = 10000;

/// Size of an axis: fixed, or --dim, or 1.
int64_t plainSize(const Program &program, const moe_port &port, int32_t axis) {
  if (port.dims[axis] >= 0)
    return port.dims[axis];
  int64_t size = program.options.sizeOf(port.dim_names[axis]);
  return size >= 0 ? size : 1;
}

/// How many tokens the made-up caches hold.
int64_t pastLength(const Program &program, const Roles &roles) {
  if (roles.caches.empty())
    return 0;
  const auto &[past, present] = roles.caches.front();
  const moe_port &port = *program.findInput(past);
  int32_t axis = growingAxis(port, *program.findOutput(present),
                             program.findInput(roles.tokens));
  return axis < 0 ? 0 : plainSize(program, port, axis);
}

/// Like plainSize, but a mask is as long as past and tokens together.
int64_t chosenSize(const Program &program, const Roles &roles,
                   const moe_port &port, int32_t axis) {
  const moe_port *tokens = program.findInput(roles.tokens);
  bool given =
      port.dims[axis] >= 0 || program.options.sizeOf(port.dim_names[axis]) >= 0;
  if (given || port.name != roles.mask || axis != 1 || !tokens)
    return plainSize(program, port, axis);
  return plainSize(program, *tokens, tokens->rank - 1) +
         pastLength(program, roles);
}

/// An input nobody gave: floats in [-1, 1), positions counting up, a mask of
/// ones, tokens at random within the vocabulary, other integers zero.
Result<Array> makeUp(const moe_port &port, const Program &program,
                     const Roles &roles, Random &random) {
  Array array;
  array.name = port.name;
  array.tensor.dtype = port.dtype;
  array.tensor.rank = port.rank;
  for (int32_t i = 0; i < port.rank; ++i)
    array.tensor.shape[i] = chosenSize(program, roles, port, i);
  std::optional<int64_t> bytes = byteSize(array.tensor);
  if (!bytes)
    return {Code::InvalidArgument,
            "input " + quote(port.name) + " would be too large"};
  auto storage = Buffer::create(static_cast<uint64_t>(*bytes));
  if (!storage)
    return storage.error();
  array.storage = std::move(*storage);
  array.tensor.data = array.storage.data();
  int64_t count = *elementCount(array.tensor.shape, array.tensor.rank);
  int64_t row = port.rank ? array.tensor.shape[port.rank - 1] : 1;
  for (int64_t i = 0; i < count; ++i) {
    double value = 0;
    if (array.name == roles.positions)
      value = static_cast<double>(pastLength(program, roles) + i % row);
    else if (array.name == roles.mask)
      value = 1;
    else if (array.name == roles.tokens)
      value = static_cast<double>(random.below(
          static_cast<uint64_t>(std::max<int64_t>(roles.vocabulary, 1))));
    else if (isFloat(port.dtype))
      value = 2 * random.unit() - 1;
    setElement(array.tensor.data, port.dtype, i, value);
  }
  return array;
}

/// "12.3 us", "4.567 ms", "7.891 s"
std::string durationText(double ms) {
  return ms < 1      ? number(ms * 1e3, 3) + " us"
         : ms < 1000 ? number(ms, 4) + " ms"
                     : number(ms / 1e3, 4) + " s";
}

double quantile(const std::vector<double> &sorted, double q) {
  double at = q * static_cast<double>(sorted.size() - 1);
  size_t below = static_cast<size_t>(at);
  size_t above = std::min(below + 1, sorted.size() - 1);
  double part = at - static_cast<double>(below);
  return sorted[below] * (1 - part) + sorted[above] * part;
}

/// Time by phase over all runs, the longest first. Phases inside others are
/// indented and count in both.
void printPhases(const Program &program) {
  struct Row {
    const char *name;
    int32_t depth;
    int64_t ns;
    int64_t count;
  };
  uint64_t count = 0;
  const moe_phase *phases = program.api->phases(program.session, &count);
  std::vector<Row> rows;
  int64_t total = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const moe_phase &phase = phases[i];
    int64_t ns = phase.end_ns - phase.begin_ns;
    total += phase.depth == 0 ? ns : 0;
    auto row = std::find_if(rows.begin(), rows.end(), [&](const Row &r) {
      return r.depth == phase.depth && !std::strcmp(r.name, phase.name);
    });
    if (row == rows.end())
      row = rows.insert(rows.end(), {phase.name, phase.depth, 0, 0});
    row->ns += ns;
    ++row->count;
  }
  std::sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) {
    return a.ns != b.ns ? a.ns > b.ns : std::strcmp(a.name, b.name) < 0;
  });
  for (const Row &row : rows)
    std::printf("%5.1f %%  %9.2f us x %-8lld %*s%s\n",
                100.0 * static_cast<double>(row.ns) /
                    static_cast<double>(std::max<int64_t>(total, 1)),
                static_cast<double>(row.ns) / 1e3 /
                    static_cast<double>(row.count),
                static_cast<long long>(row.count), 2 * row.depth, "",
                printable(row.name).c_str());
}

} // namespace

Result<int> runBench(Program &program) {
  auto given = loadInputs(program);
  if (!given)
    return given.error();
  Roles roles = findRoles(program);
  std::vector<Array> madeUp;
  Random random(program.options.seed);
  moe_tensor tokens = {};
  for (uint32_t i = 0; i < program.api->num_inputs(); ++i) {
    const moe_port &port = *program.api->input(i);
    const Array *array = nullptr;
    for (const Array &candidate : *given)
      if (candidate.name == port.name)
        array = &candidate;
    if (!array) {
      auto made = makeUp(port, program, roles, random);
      if (!made)
        return made.error();
      madeUp.push_back(std::move(*made));
      array = &madeUp.back();
      Status status = program.setInput(array->name, array->tensor);
      if (!status.ok())
        return status;
    }
    if (array->name == roles.tokens)
      tokens = array->tensor;
  }
  std::vector<double> times;
  int64_t runs = program.options.benchRuns, began = 0;
  for (int64_t i = -warmupRuns;; ++i) {
    if (i == 0)
      began = monotonicNs();
    if (runs ? i >= runs
             : i >= mostRuns ||
                   (i >= leastRuns && monotonicNs() - began > fillNs))
      break;
    int64_t start = monotonicNs();
    Status status = program.runForOutputs();
    if (!status.ok())
      return status;
    if (i >= 0)
      times.push_back(static_cast<double>(monotonicNs() - start) / 1e6);
  }
  std::sort(times.begin(), times.end());
  double median = quantile(times, 0.5);
  std::printf(
      "median %s   quartiles %s .. %s   best %s   %zu runs, %d threads\n",
      durationText(median).c_str(), durationText(quantile(times, 0.25)).c_str(),
      durationText(quantile(times, 0.75)).c_str(),
      durationText(times.front()).c_str(), times.size(),
      program.api->threads(program.session));
  if (tokens.dtype) {
    int64_t count = *elementCount(tokens.shape, tokens.rank);
    std::printf("%.0f tokens/s (%lld tokens per run)\n",
                static_cast<double>(count) / median * 1e3,
                static_cast<long long>(count));
  }
  std::printf(
      "scratch memory %s\n",
      bytesText(static_cast<double>(program.api->peak_memory(program.session)))
          .c_str());
  if (!program.options.trace.empty())
    printPhases(program);
  return ExitDone;
}

} // namespace moe::rt
