#ifndef MOE_CODEGEN_CUDA_COSTMODEL_H
#define MOE_CODEGEN_CUDA_COSTMODEL_H

// What a MoE layer costs on a GPU, computed from what its kernels do: bytes,
// tiles, waits. Plain C++; nothing here was measured.

#include "codegen/CUDA/Gpu.h"
#include "codegen/CUDA/LayerShape.h"
#include <string>
#include <vector>

namespace moe::cuda {
/// Which experts the tokens chose: slots of each.
struct Routing {
  int64_t tokens = 0;
  std::vector<int64_t> counts;

  int64_t slots() const;
  int64_t active() const;
};

/// Every token chooses `topK` different experts, all alike.
Routing uniformRouting(int64_t experts, int64_t topK, int64_t tokens,
                       uint64_t seed);

/// No kernel can be faster: weights of active experts and rows of bf16 read and
/// written once, and the operations at the tensor cores' rate. Seconds.
struct Floor {
  double bytes, flops;
  double seconds() const { return bytes > flops ? bytes : flops; }
};
double layerFlops(const LayerShape &shape, const Routing &routing);
Floor floorOf(const Gpu &gpu, const LayerShape &shape, const Routing &routing);

/// Kernels of a family run from an architecture on.
enum class Family { MmaSync, Wgmma };

/// A way to multiply the slots of an expert with its matrix, many at a time.
struct ProductVariant {
  const char *name;
  Family family;
  /// Whether there is code for it; else it is a plan.
  bool isThere;
  /// Slots of an expert for which it is taken.
  int64_t from, to;
  int64_t slots, rows; ///< of a tile; 0 rows: `HopperShape::rowsOf` the matrix
  /// The matrix is the instruction's left side, the slots its columns.
  bool swapped;
  int64_t stages, threads, registers; ///< of a thread, by ptxas
  int64_t steps; ///< stages that are filled together, with zeros at the end
  /// Tiles of slots that walk along the matrix together; 0: all of an expert.
  int64_t together;
  /// Weights come in bulk copies; warps of their own copy ahead into the next
  /// tile.
  bool bulkWeights, copiesAhead;
};
/// All of them. One more kernel is one more entry.
const std::vector<ProductVariant> &productVariants();
/// The first that is taken for an expert with so many slots.
const ProductVariant &chooseVariant(Family family, int64_t slotsOfExpert);

/// What a kernel is predicted to take, in seconds, and what of that each part
/// would take alone.
struct KernelCost {
  std::string name;
  double memory = 0; ///< bytes from and to memory
  double l2 = 0;     ///< bytes from L2
  double processors = 0;
  double ends = 0; ///< what overlaps with nothing: the beginning, the last tile
  double gap = 0;
  double memoryBytes = 0, l2Bytes = 0;
  double operations = 0; ///< of tensor cores, padding included

  double seconds() const;
  /// Adds all but the name.
  void add(const KernelCost &other, double factor);
  /// "memory", "L2" or "processors": the largest.
  const char *bound() const;
};

struct LayerCost {
  std::string variant; ///< of the products
  bool isThere = true;
  std::vector<KernelCost> kernels;
  double seconds() const;
};

/// The launches of a layer for one piece of tokens (KernelChoice.h). bf16 or
/// f16 weights.
LayerCost predictLayer(const Gpu &gpu, const LayerShape &shape, Family family,
                       const Routing &routing);

/// A matrix of the layer with what is on its left.
struct Product {
  std::string name;
  int64_t rows, depth; ///< of an expert's matrix, padded
  bool gathers;        ///< the left side are the tokens' rows, else the slots'
  double resultBytes;  ///< of a slot
  /// Instructions and special functions to each row's result.
  double instructions, specials;
};
KernelCost decodeCost(const Gpu &gpu, const Product &product,
                      const Routing &routing);
/// Each expert by the variant that its own number of slots chooses.
KernelCost groupedCost(const Gpu &gpu, const Product &product, Family family,
                       const Routing &routing);
/// All experts by one.
KernelCost groupedCost(const Gpu &gpu, const Product &product,
                       const ProductVariant &variant, const Routing &routing);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_COSTMODEL_H
