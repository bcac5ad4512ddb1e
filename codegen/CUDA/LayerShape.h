#ifndef MOE_CODEGEN_CUDA_LAYERSHAPE_H
#define MOE_CODEGEN_CUDA_LAYERSHAPE_H

#include <cstdint>

namespace moe::cuda {
/// What an expert computes between its products (`moe.expert`).
enum class Activation { Identity, Relu, Relu2, Silu, GeluTanh };

/// A pool of experts of one shape, as kernels see it. Matrices are bf16 in rows
/// of `paddedInputs` or `paddedHidden` numbers (multiples of 8, zero at the
/// end; rows beyond `hidden` and `outputs` are zero, too):
///
/// - up: `[experts, tiles, 16, paddedInputs]`; a tile of a gated expert is 8
///   rows of gate and the 8 rows of up for the same neurons, of another one 16
///   rows
/// - down: `[experts, paddedOutputs, paddedHidden]`, with rows to a multiple of
///   16
///
/// so that both values of a neuron meet in one lane.
struct LayerShape {
  int64_t experts, inputs, hidden, outputs, topK;
  bool isGlu = true;
  Activation activation = Activation::Silu;
  double alpha = 1, beta = 0, limit = 0; ///< as `moe.expert` has them

  int64_t paddedInputs() const { return (inputs + 7) / 8 * 8; }
  int64_t paddedHidden() const { return (hidden + 7) / 8 * 8; }
  int64_t paddedOutputs() const { return (outputs + 15) / 16 * 16; }
  int64_t neuronsPerTile() const { return isGlu ? 8 : 16; }
  int64_t upTiles() const {
    return (hidden + neuronsPerTile() - 1) / neuronsPerTile();
  }
};

/// Threads of a block of the kernels of a layer.
constexpr int32_t kLayerThreads = 256;
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_LAYERSHAPE_H
