// What is measured of a layer: the tensors of a profile, as sums.
#ifndef MOE_RUNTIME_CORE_MEASURES_H
#define MOE_RUNTIME_CORE_MEASURES_H

#include "runtime/Core/Sample.h"
#include "runtime/Core/Status.h"
#include "runtime/IRInterface.h"
#include "runtime/moe_runtime.h"

#include <vector>

namespace moe::rt {

/// Sums of one layer, in f64 and in the order of calls and rows. See
/// runtime/Bank/README.md for what each tensor holds.
class LayerMeasures {
public:
  LayerMeasures(const char *name, uint64_t seed) : name(name), seed(seed) {}

  /// Adds what one moert_measure says. InvalidArgument where its sizes differ
  /// from what the layer had before, OutOfMemory for sums that are too large.
  Code add(int32_t measure, int32_t score, int64_t experts,
           const moert_tensor *values, int32_t count);
  /// Adds ids to the counts alone.
  void count(const int32_t *ids, int64_t n, int64_t experts);

  const char *layer() const { return name; }
  const std::vector<int64_t> &expertCounts() const { return counts; }

  /// Appends the tensors there are; they live until the next call.
  void list(std::vector<moe_layer_measure> &out);

private:
  using Sums = std::vector<double>;
  using Counts = std::vector<int64_t>;

  void addChoice(const moert_tensor &ids, const moert_tensor *weights);
  void addLogits(const moert_tensor &logits, int32_t score);
  void addInputs(const moert_tensor &x, const moert_tensor &ids);
  void addInputGram(const moert_tensor &x);
  void addCosine(const moert_tensor &a, const moert_tensor &b, Sums &sums);
  void addOutputs(const moert_tensor &y);

  const char *name;
  uint64_t seed;
  int64_t experts = 0; // 0 until known, as is the width
  int64_t width = 0;
  Counts counts, tokens, ratios, coactivation;
  Sums scoreSum, weightSum, logitSum, logitGram;
  Sums inputSquareSum, inputGram, sublayerCosine, blockCosine;
  Sums outputNormSum, outputSquareSum;
  bool sampled = false;
  Sample sample;
  std::vector<uint64_t> sampleKeys; // as list() gives them
  std::vector<float> sampleRows;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_MEASURES_H
