#include "passes/Compress/OutputError.h"

#include "passes/Compress/Profile.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static constexpr int64_t kRows = 256;

/// What each layer makes of its sample: rows go to the chosen experts alone.
static FailureOr<llvm::StringMap<Numbers>> run(ModuleOp module,
                                               const Profile &profile,
                                               WeightSource &weights,
                                               llvm::StringMap<double> *slots) {
  llvm::StringMap<Numbers> results;
  auto layers = collectLayers(module);
  if (failed(layers))
    return failure();
  for (const MoELayer &layer : *layers) {
    if (!profile.get(layer.name, "sample"))
      continue;
    auto calibration = Calibration::of(layer, profile, weights, kRows);
    if (failed(calibration))
      return failure();
    auto output = calibration->layerOutput(weights);
    if (failed(output))
      return failure();
    results[layer.name] = std::move(*output);
    if (slots)
      (*slots)[layer.name] = calibration->slotsPerToken();
  }
  return results;
}

FailureOr<OutputError> OutputError::of(ModuleOp module, const Profile &profile,
                                       WeightSource &weights) {
  OutputError result;
  auto before = run(module, profile, weights, nullptr);
  if (failed(before))
    return failure();
  result.before = std::move(*before);
  return result;
}

FailureOr<OutputError::Result>
OutputError::measure(ModuleOp module, const Profile &profile,
                     WeightSource &weights) const {
  Result result;
  auto after = run(module, profile, weights, &result.slots);
  if (failed(after))
    return failure();
  double sum = 0;
  for (const auto &[name, then] : before) {
    auto found = after->find(name);
    if (found == after->end()) {
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
  if (!before.empty())
    result.error = std::sqrt(sum / static_cast<double>(before.size()));
  return result;
}
