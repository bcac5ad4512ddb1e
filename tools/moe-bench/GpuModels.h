// Layers of experts of known models, and what is wanted of them on a GPU.
#ifndef MOE_TOOLS_MOEBENCH_GPUMODELS_H
#define MOE_TOOLS_MOEBENCH_GPUMODELS_H

#include "codegen/CUDA/CostModel.h"
#include "tools/moe-bench/Options.h"

#include <map>

namespace moe::bench {

struct GpuModel {
  const char *title;
  LayerShape shape;
  /// Microseconds by tokens, on an H200 in bf16: goals, none was measured. They
  /// are 88 % of the memory's rate from 100 us on (80 and 70 % below 100 and 30
  /// us), or 68 to 82 % of the tensor cores', some 10 us for the launches, and
  /// the sum of the choices' rows.
  std::map<int64_t, double> targets;
};

/// The models of a run: that of `--layer`, or all that have targets.
std::vector<GpuModel> gpuModels(const Options &options);

/// The same for kernels: gated SiLU experts in bf16, without biases.
cuda::LayerShape kernelShape(const LayerShape &shape);

/// Routings of one number of tokens, uniform, always the same; of few tokens
/// more, since they differ.
std::vector<cuda::Routing> routingsOf(const LayerShape &shape, int64_t tokens);

/// What tables have in front, averages over routings: "| 16 | 81.7 | 1 | 179 |
/// 1.5 | 179 |".
struct FloorColumns {
  double active = 0, bytes = 0, flops = 0, floor = 0; // seconds
  double operations = 0;
  static const char *header();
  static FloorColumns of(const GpuModel &model,
                         const std::vector<cuda::Routing> &routings);
  std::string text(const GpuModel &model, int64_t tokens) const;
};

/// What the launches of a layer take, an average over routings.
cuda::LayerCost averageCost(const GpuModel &model,
                            const std::vector<cuda::Routing> &routings,
                            cuda::Family family);
/// The same of `tokens` tokens, in the pieces that the runtime makes of them.
cuda::LayerCost predictedCost(const GpuModel &model, int64_t tokens,
                              cuda::Family family);
/// "sm_80" and "sm_90a" have kernels of their own.
cuda::Family familyOf(const std::string &arch);

/// A number of microseconds, with as many digits as tell something.
std::string microseconds(double seconds);
/// A line in front of a model's table.
std::string titleOf(const GpuModel &model);

} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_GPUMODELS_H
