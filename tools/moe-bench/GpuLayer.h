// A layer of experts on a GPU: random weights, and what the runtime launches.
#ifndef MOE_TOOLS_MOEBENCH_GPULAYER_H
#define MOE_TOOLS_MOEBENCH_GPULAYER_H

#include "codegen/CUDA/CostModel.h"
#include "runtime/Device/Kernels.h"
#include "runtime/Device/TensorMap.h"
#include "tools/moe-bench/Options.h"

#include <memory>

namespace moe::bench {

/// Gated SiLU experts with weights of bf16. All matrices are cut out of one
/// block of random numbers, each from another place on, and wrap around in it.
class GpuLayer {
public:
  /// Loads the kernels in `ptx` and makes the weights.
  static rt::Result<std::unique_ptr<GpuLayer>>
  create(rt::Device &device, const LayerShape &shape, const std::string &ptx);

  /// Whether it can be made there.
  static rt::Status check(const rt::Device &device, const LayerShape &shape);

  /// Tokens with what they chose, and all memory between kernels.
  struct Set {
    int64_t tokens;
    cuda::Routing routing;
    std::vector<float> x, weights;
    std::vector<int32_t> ids;
    std::vector<rt::DeviceBuffer> spaces;
  };
  /// Draws `tokens` tokens; experts alike.
  rt::Result<Set> makeSet(int64_t tokens, uint64_t seed);

  /// The launches of a layer (runtime/Device/LaunchLayer.cpp), without those
  /// of other kernels where `only` is not negative.
  static constexpr int kLaunches = 4;
  static const char *launchName(int launch);
  rt::Status launch(const Set &set, int only = -1);
  rt::Status wait() { return device.synchronize(); }

  /// The results: [tokens, hidden].
  rt::Result<std::vector<float>> result(const Set &set);
  /// What they should be of token `t`, in f64 with inputs of bf16.
  std::vector<double> reference(const Set &set, int64_t t) const;

private:
  GpuLayer(rt::Device &device, const LayerShape &shape);
  rt::Status loadKernels(const std::string &ptx);
  rt::Status makeWeights();
  /// Copies of the block until `bytes` are full, from its byte `start` on.
  rt::Status fill(const rt::DeviceBuffer &to, uint64_t offset, uint64_t start,
                  uint64_t bytes);
  /// Where the matrix of an expert begins in the block, in numbers; `which` is
  /// 0 of the first matrix, 1 of the second.
  uint64_t startOf(int64_t expert, int which) const;

  rt::Device &device;
  LayerShape shape;
  std::vector<uint16_t> block;
  std::vector<float> numbers; ///< the same
  rt::Module module;
  /// In the order of MOERT_KERNEL_PREPARE and the others, and the rows of the
  /// boxes that they copy (moert_device_kernel).
  std::vector<rt::Kernel> kernels;
  std::vector<uint32_t> mapRows;
  rt::DeviceBuffer up, down, entries;
  rt::TensorMap upMap, downMap;
};

} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_GPULAYER_H
