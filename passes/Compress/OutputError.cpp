#include "passes/Compress/OutputError.h"

#include "mlir/IR/Remarks.h"
#include "passes/Compress/Profile.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static constexpr int64_t kRows = 256;

namespace {
/// What layers make of their samples: rows go to the chosen experts alone.
struct Evaluated {
  llvm::StringMap<Numbers> outputs;
  llvm::StringMap<double> slots;
  llvm::StringSet<> leftOut; ///< layers that are there, but cannot be evaluated
};
} // namespace

static FailureOr<Evaluated> run(ModuleOp module, const Profile &profile,
                                WeightSource &weights) {
  Evaluated result;
  // All may have been dropped.
  for (const MoELayer &layer : findLayers(module)) {
    if (!profile.get(layer.name, "sample"))
      continue;
    if (std::string why = Calibration::whyNoOutput(layer); !why.empty()) {
      ApplyOp apply = layer.apply;
      remark::missed(
          apply->getLoc(),
          remark::RemarkOpts::name("measure").category("moe-compress"))
          << ("output error leaves out " + layer.name + ": " + why);
      result.leftOut.insert(layer.name);
      continue;
    }
    auto calibration = Calibration::of(layer, profile, weights, kRows);
    if (failed(calibration))
      return failure();
    auto output = calibration->layerOutput(weights);
    if (failed(output))
      return failure();
    result.outputs[layer.name] = std::move(*output);
    result.slots[layer.name] = calibration->slotsPerToken();
  }
  return result;
}

FailureOr<OutputError> OutputError::of(ModuleOp module, const Profile &profile,
                                       WeightSource &weights) {
  OutputError result;
  auto before = run(module, profile, weights);
  if (failed(before))
    return failure();
  result.before = std::move(before->outputs);
  result.slots = std::move(before->slots);
  return result;
}

FailureOr<OutputError::Result>
OutputError::measure(ModuleOp module, const Profile &profile,
                     WeightSource &weights) const {
  Result result;
  auto after = run(module, profile, weights);
  if (failed(after))
    return failure();
  result.slots = std::move(after->slots);
  int64_t count = 0;
  double sum = 0;
  for (const auto &[name, then] : before) {
    if (after->leftOut.contains(name))
      continue;
    ++count;
    auto found = after->outputs.find(name);
    if (found == after->outputs.end()) {
      sum += 1;
      continue;
    }
    double off = 0, whole = 0;
    for (size_t i = 0; i < then.values.size(); ++i) {
      double now = found->second.values[i];
      off += (now - then.values[i]) * (now - then.values[i]);
      whole += then.values[i] * then.values[i];
    }
    sum += whole > 0 ? off / whole : 0;
  }
  if (count > 0)
    result.error = std::sqrt(sum / static_cast<double>(count));
  return result;
}
