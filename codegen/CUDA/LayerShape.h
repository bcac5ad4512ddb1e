#ifndef MOE_CODEGEN_CUDA_LAYERSHAPE_H
#define MOE_CODEGEN_CUDA_LAYERSHAPE_H

#include "runtime/Device/CodedRows.h"
#include <algorithm>
#include <optional>

namespace moe::cuda {
/// What an expert computes between its products (`moe.expert`).
enum class Activation { Identity, Relu, Relu2, Silu, GeluTanh, Gelu };

/// Numbers of inputs, hidden values and matrices.
enum class Element { BF16, F16, F32 };

inline int64_t sizeOf(Element element) {
  return element == Element::F32 ? 4 : 2;
}

/// Rows of E4M3 numbers between kernels: `codes()` bytes, zero behind `depth`,
/// then for each `block` of them an f32 that the numbers are to be multiplied
/// by. A row takes `bytes()`, a multiple of 16.
struct ByteRows {
  int64_t depth, block;

  int64_t blocks() const { return (depth + block - 1) / block; }
  int64_t codes() const { return blocks() * block; }
  int64_t bytes() const { return codes() + (blocks() + 3) / 4 * 16; }
};

/// A pool of experts of one shape, as kernels see it. Matrices are `element`s
/// in rows of `paddedInputs` or `paddedHidden` numbers (multiples of 8, zero at
/// the end; rows beyond `hidden` and `outputs` are zero, too):
///
/// - up: `[experts, tiles, 16, paddedInputs]`; a tile of a gated expert is 8
///   rows of gate and the 8 rows of up for the same neurons, of another one 16
///   rows
/// - down: `[experts, paddedOutputs, paddedHidden]`, with rows to a multiple of
///   16
///
/// so that both values of a neuron meet in one lane. A quantised matrix has the
/// same rows, each tile of 16 packed as runtime/Device/CodedRows.h says, with
/// depths `inputs` and `hidden`. Biases are f32, one for each row.
///
/// A matrix in two factors is a matrix of depth `upRank` (or `downRank`), and
/// another one of so many rows before it, which is no gated one. Kernels do
/// not know: each product is the first or the second one of a shape below.
struct LayerShape {
  int64_t experts, inputs, hidden, outputs, topK;
  bool isGlu = true;
  Activation activation = Activation::Silu;
  double alpha = 1, beta = 0, limit = 0; ///< as `moe.expert` has them
  Element element = Element::BF16;
  /// Products of f32 numbers for many tokens may round these to 10 bits.
  bool tf32 = false;
  bool hasUpBias = false, hasDownBias = false;
  /// How matrices are quantised; not with f32 inputs.
  std::optional<rt::CodedRows> upCoded = std::nullopt, downCoded = std::nullopt;
  double outputScale = 1; ///< of all that an expert gives
  /// Weights of slots multiply what experts read, not what they give.
  bool scaleInput = false;
  /// Inputs are rows of slots, in sorted order, not of tokens.
  bool isSorted = false;
  int64_t upRank = 0, downRank = 0; ///< 0: not in factors
  std::optional<rt::CodedRows> upLowCoded = std::nullopt,
                               downLowCoded = std::nullopt;

  int64_t paddedInputs() const { return (inputs + 7) / 8 * 8; }
  int64_t paddedHidden() const { return (hidden + 7) / 8 * 8; }
  int64_t paddedOutputs() const { return (outputs + 15) / 16 * 16; }
  int64_t neuronsPerTile() const { return isGlu ? 8 : 16; }
  int64_t upTiles() const {
    return (hidden + neuronsPerTile() - 1) / neuronsPerTile();
  }
  /// Inputs and, of many tokens, hidden values, where a matrix of E4M3 numbers
  /// is multiplied by such; else they are `element`s. The scale of hidden
  /// values is that of a tile of the first product (GroupedShape::kColumns).
  std::optional<ByteRows> inputBytes() const {
    return byteRows(upCoded, inputs, 128);
  }
  std::optional<ByteRows> hiddenBytes() const {
    return byteRows(downCoded, hidden, isGlu ? 64 : 128);
  }
  /// What a row of these takes, in `element`s: of one form or the other.
  int64_t inputRoom() const {
    auto bytes = inputBytes();
    return bytes ? bytes->bytes() / 2 : paddedInputs();
  }
  int64_t hiddenRoom() const {
    auto bytes = hiddenBytes();
    return bytes ? std::max(bytes->bytes() / 2, paddedHidden())
                 : paddedHidden();
  }
  /// Whether there are kernels for it.
  bool isSupported() const {
    for (const auto &coded : {upCoded, downCoded, upLowCoded, downLowCoded})
      if (isByF8(coded) && (upRank || downRank))
        return false;
    for (const auto &coded : {upCoded, downCoded, upLowCoded, downLowCoded})
      if (coded && (element == Element::F32 || !coded->isSupported()))
        return false;
    return true;
  }

  /// Their first products are those with low factors; the next product reads
  /// what they call hidden values.
  LayerShape upLow() const;
  LayerShape downLow() const;
  /// The first and the second product with what is beside low factors: this
  /// shape where there are none.
  LayerShape upProduct() const;
  LayerShape downProduct() const;

private:
  static bool isByF8(const std::optional<rt::CodedRows> &coded) {
    return coded && coded->coding == rt::RowCoding::F8ByF8;
  }
  static std::optional<ByteRows>
  byteRows(const std::optional<rt::CodedRows> &coded, int64_t depth,
           int64_t block) {
    return isByF8(coded) ? std::optional(ByteRows{depth, block}) : std::nullopt;
  }
};

/// Threads of a block of the kernels of a layer.
constexpr int32_t kLayerThreads = 256;
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_LAYERSHAPE_H
