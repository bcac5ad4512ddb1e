// One run of a model on files.
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/Compare.h"
#include "runtime/Runner/Program.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace moe::rt {

const moe_port *Program::findInput(const std::string &name) const {
  for (uint32_t i = 0; i < api->num_inputs(); ++i)
    if (name == api->input(i)->name)
      return api->input(i);
  return nullptr;
}

const moe_port *Program::findOutput(const std::string &name) const {
  for (uint32_t i = 0; i < api->num_outputs(); ++i)
    if (name == api->output(i)->name)
      return api->output(i);
  return nullptr;
}

Status Program::runForOutputs() const {
  Status status = run();
  for (uint32_t i = 0; i < api->num_outputs() && status.ok(); ++i)
    status = output(api->output(i)->name).error();
  return status;
}

Result<moe_tensor> Program::output(const std::string &name) const {
  moe_tensor tensor = {};
  Status status = check(api->get_output(session, name.c_str(), &tensor));
  if (!status.ok())
    return status;
  return tensor;
}

/// numpy has no bfloat16: its bits come as uint16.
static void adoptBfloat16(moe_tensor &tensor, const moe_port *port) {
  if (port && port->dtype == MOE_BF16 && tensor.dtype == MOE_U16)
    tensor.dtype = MOE_BF16;
}

Result<std::vector<Array>> loadInputs(Program &program) {
  std::vector<Array> arrays;
  for (const std::string &path : program.options.inputArchives) {
    auto members = readNpz(path);
    if (!members)
      return members.error();
    for (Array &member : *members)
      arrays.push_back(std::move(member));
  }
  for (const auto &[name, path] : program.options.inputs) {
    auto array = readNpy(path);
    if (!array)
      return array.error();
    array->name = name;
    arrays.push_back(std::move(*array));
  }
  for (Array &array : arrays) {
    adoptBfloat16(array.tensor, program.findInput(array.name));
    Status status = program.setInput(array.name, array.tensor);
    if (!status.ok())
      return status;
  }
  auto counts = setExpertsPerToken(program);
  if (!counts)
    return counts.error();
  for (Array &count : *counts)
    arrays.push_back(std::move(count));
  return arrays;
}

static void printSummary(const Program &program) {
  for (uint32_t i = 0; i < program.api->num_outputs(); ++i) {
    const moe_port &port = *program.api->output(i);
    Result<moe_tensor> tensor = program.output(port.name);
    if (!tensor)
      continue;
    int64_t count = *elementCount(tensor->shape, tensor->rank);
    std::string range;
    double least = INFINITY, most = -INFINITY;
    int64_t nans = 0;
    for (int64_t e = 0; e < count; ++e) {
      double value = elementAsDouble(tensor->data, tensor->dtype, e);
      nans += std::isnan(value);
      least = std::min(least, value);
      most = std::max(most, value);
    }
    if (count > nans)
      range = "  " + number(least) + " .. " + number(most);
    if (nans)
      range += text("  ", nans, " NaN");
    std::printf("%s  %s %s%s\n", printable(port.name).c_str(),
                dtypeName(tensor->dtype).c_str(),
                shapeText(tensor->shape, tensor->rank).c_str(), range.c_str());
  }
}

static Result<int> compareOutputs(Program &program) {
  auto expected = readNpz(program.options.expect);
  if (!expected)
    return expected.error();
  struct Row {
    std::string name;
    Comparison comparison;
    std::string index;
  };
  std::vector<Row> rows;
  bool differs = false;
  for (Array &array : *expected) {
    adoptBfloat16(array.tensor, program.findOutput(array.name));
    Result<moe_tensor> got = program.output(array.name);
    if (!got)
      return got.error();
    Comparison result =
        compare(*got, array.tensor, program.options.rtol, program.options.atol);
    differs |= result.failed || !result.shapeMismatch.empty();
    std::string index =
        result.worst >= 0 ? indexText(result.worst, array.tensor) : "";
    rows.push_back({array.name, result, index});
  }
  if (rows.empty())
    return {Code::InvalidFile,
            quote(program.options.expect) + " holds no arrays"};
  // The worst first.
  std::sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) {
    bool aFits = a.comparison.shapeMismatch.empty();
    bool bFits = b.comparison.shapeMismatch.empty();
    if (aFits != bFits)
      return bFits;
    if (a.comparison.difference != b.comparison.difference)
      return a.comparison.difference > b.comparison.difference;
    return a.name < b.name;
  });
  std::printf("%-24s %12s %14s %12s %12s  %s\n", "output", "max diff", "got",
              "expected", "wrong", "at");
  for (const Row &row : rows) {
    const Comparison &c = row.comparison;
    if (!c.shapeMismatch.empty()) {
      std::printf("%-24s %s\n", printable(row.name).c_str(),
                  c.shapeMismatch.c_str());
      continue;
    }
    std::printf("%-24s %12.4g %14.7g %12.7g %12s  %s\n",
                printable(row.name).c_str(), c.difference, c.got, c.want,
                text(c.failed, "/", c.elements).c_str(), row.index.c_str());
  }
  std::printf("%s (rtol %g, atol %g)\n", differs ? "DIFFERENT" : "equal",
              program.options.rtol, program.options.atol);
  return differs ? ExitDiffers : ExitDone;
}

Result<int> runOnce(Program &program) {
  auto arrays = loadInputs(program);
  if (!arrays)
    return arrays.error();
  // Asked for in vain: say so before spending the time.
  for (const auto &[name, path] : program.options.outputs)
    if (!program.findOutput(name))
      return program.output(name).error();
  Status status = program.run();
  if (!status.ok())
    return status;
  std::vector<NamedTensor> all;
  for (uint32_t i = 0; i < program.api->num_outputs(); ++i) {
    std::string name = program.api->output(i)->name;
    Result<moe_tensor> tensor = program.output(name);
    if (!tensor)
      return tensor.error();
    all.push_back({name, *tensor});
  }
  for (const auto &[name, path] : program.options.outputs)
    for (const NamedTensor &named : all)
      if (named.name == name) {
        status = writeNpy(path, named.tensor);
        if (!status.ok())
          return status;
      }
  if (!program.options.outputArchive.empty()) {
    status = writeNpz(program.options.outputArchive, all);
    if (!status.ok())
      return status;
  }
  if (!program.options.expect.empty())
    return compareOutputs(program);
  if (program.options.outputs.empty() && program.options.outputArchive.empty())
    printSummary(program);
  return ExitDone;
}

} // namespace moe::rt
