#include "passes/Compress/OutputError.h"

#include "passes/Compress/Profile.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static constexpr int64_t kRows = 256;

/// What each layer makes of its sample: rows go to the chosen experts alone.
static FailureOr<llvm::StringMap<Numbers>>
run(ModuleOp module, const Profile &profile, WeightSource &weights) {
  llvm::StringMap<Numbers> results;
  auto layers = collectLayers(module, "moe-compress", {});
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
  }
  return results;
}

FailureOr<OutputError> OutputError::of(ModuleOp module, const Profile &profile,
                                       WeightSource &weights) {
  OutputError result;
  auto before = run(module, profile, weights);
  if (failed(before))
    return failure();
  result.before = std::move(*before);
  return result;
}

FailureOr<double> OutputError::measure(ModuleOp module, const Profile &profile,
                                       WeightSource &weights) const {
  auto after = run(module, profile, weights);
  if (failed(after))
    return failure();
  double sum = 0;
  int64_t count = 0;
  for (const auto &[name, now] : *after) {
    auto found = before.find(name);
    if (found == before.end())
      continue;
    double off = 0, whole = 0;
    for (size_t i = 0; i < now.values.size(); ++i) {
      double then = found->second.values[i];
      off += (now.values[i] - then) * (now.values[i] - then);
      whole += then * then;
    }
    sum += whole > 0 ? off / whole : 0;
    ++count;
  }
  return count ? std::sqrt(sum / static_cast<double>(count)) : 0.0;
}
