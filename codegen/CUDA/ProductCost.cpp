// What the kernels that multiply cost.
#include "codegen/CUDA/CostModel.h"
#include "codegen/CUDA/TileShapes.h"
#include "runtime/Device/KernelChoice.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace moe;
using namespace moe::cuda;

namespace {
constexpr int64_t kNoEnd = std::numeric_limits<int64_t>::max();
double real(int64_t x) { return static_cast<double>(x); }
int64_t ceilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }

/// Numbers of two bytes in the 128 bytes of a stage, and of a step of the
/// tensor core in it.
constexpr int64_t kStageDepth = GroupedShape::kRowBytes / 2,
                  kTensorSteps = kStageDepth / 16;

/// Registers of a thread of the kernels for few tokens, by ptxas 13.0.88
/// (README.md); the larger of up and down.
constexpr int64_t kDecodeRegisters = 140;

int64_t residentBlocks(const Gpu &gpu, int64_t threads, int64_t registers,
                       int64_t sharedBytes) {
  int64_t byRegisters = gpu.registers / (threads * ceilDiv(registers, 8) * 8);
  int64_t byShared = gpu.sharedBytes / std::max<int64_t>(sharedBytes, 1);
  return std::max<int64_t>(
      1, std::min({byRegisters, byShared, rt::kBlocksOfMultiprocessor}));
}

/// Bytes of memory for rows on the left and results; the former were written by
/// the kernel before.
double rowBytes(const Gpu &gpu, const Product &product,
                const Routing &routing) {
  double left = 2 * real(product.depth) *
                real(product.gathers ? routing.tokens : routing.slots());
  double results = product.resultBytes * real(routing.slots());
  // Rows of tokens come back with every choice.
  double times =
      product.gathers ? real(routing.slots()) / real(routing.tokens) : 1;
  return (gpu.staysInL2(left) ? 0 : left * times) +
         (gpu.staysInL2(results) ? 0 : results);
}
} // namespace

const std::vector<ProductVariant> &moe::cuda::productVariants() {
  using Portable = GroupedShape;
  static const std::vector<ProductVariant> all = {
      {"64 x 128, mma.sync", Family::MmaSync, true, 0, kNoEnd, Portable::kRows,
       Portable::kColumns, false, Portable::kStages, kLayerThreads, 144, 1, 1,
       false, false},
      {"64 slots x 128 rows, wgmma", Family::Wgmma, true, 0,
       HopperShape::kSomeSlots, HopperShape::kSomeSlots, HopperShape::kSomeRows,
       true, HopperShape::kStages * HopperShape::kSomeSteps,
       HopperShape::kThreads, 168, HopperShape::kSomeSteps, 0, true, true},
      {"128 slots, wgmma", Family::Wgmma, true, HopperShape::kSomeSlots + 1,
       kNoEnd, HopperShape::kSlots, 0, false,
       HopperShape::kStages * HopperShape::kSteps, HopperShape::kThreads, 168,
       HopperShape::kSteps, 0, true, true},
  };
  return all;
}

const ProductVariant &moe::cuda::chooseVariant(Family family,
                                               int64_t slotsOfExpert) {
  for (const ProductVariant &variant : productVariants())
    if (variant.family == family && variant.from <= slotsOfExpert &&
        slotsOfExpert <= variant.to)
      return variant;
  return productVariants().front();
}

/// Each tile of 16 rows meets 8 slots of its expert at a time (DecodeKernels,
/// DecodeTile). Warps read `kAhead` steps, wait, multiply; then the block adds
/// what its warps have.
KernelCost moe::cuda::decodeCost(const Gpu &gpu, const Product &product,
                                 const Routing &routing) {
  using Shape = DecodeShape;
  constexpr int64_t kWarps = kLayerThreads / 32;
  KernelCost cost{product.name};
  int64_t tiles = product.rows / Shape::kRows;
  int64_t steps = ceilDiv(2 * product.depth, Shape::kStepBytes);
  double waits = real(ceilDiv(steps, kWarps * Shape::kAhead));
  int64_t resident =
      residentBlocks(gpu, kLayerThreads, kDecodeRegisters, kLayerThreads * 16);
  // Two barriers, a read of every warp's sums, and the results.
  double reduction = real(kWarps) * gpu.sharedLatency / 2 +
                     (product.instructions + 10) *
                         real(Shape::kRows * Shape::kSlots) /
                         gpu.lanesPerClock +
                     60;
  double clocks = 0, longest = 0, fromL2 = 0;
  for (int64_t count : routing.counts) {
    if (!count)
      continue;
    double groups = real(ceilDiv(count, Shape::kSlots));
    // Where the expert, its slots and the tokens are; then weights, which later
    // groups find in L2.
    double tile = 3 * gpu.l1Latency + waits * gpu.memoryLatency + reduction +
                  (groups - 1) * (waits * gpu.l2Latency + reduction);
    clocks += real(tiles) * tile;
    longest = std::max(longest, tile);
    cost.operations += groups * real(tiles * steps) * 2 *
                       real(Shape::kRows * Shape::kSlots) *
                       (real(Shape::kStepBytes) / 2);
    fromL2 += 2 * real(tiles * product.depth) *
              (groups * real(Shape::kRows) + real(count));
  }
  // Tiles have numbers; each block takes every grid-th.
  int64_t items = tiles * routing.active();
  double uneven =
      items ? real(ceilDiv(items, gpu.multiprocessors) * gpu.multiprocessors) /
                  real(items)
            : 0;
  cost.processors =
      clocks * uneven / real(gpu.multiprocessors * resident) / gpu.clock;
  cost.memoryBytes =
      2 * real(product.rows * product.depth) * real(routing.active()) +
      rowBytes(gpu, product, routing);
  cost.memory = cost.memoryBytes / gpu.memory;
  cost.l2Bytes = fromL2;
  cost.l2 = fromL2 / gpu.l2;
  cost.ends = longest / gpu.clock;
  cost.gap = gpu.kernelGap;
  return cost;
}

namespace {
/// A tile of `slots` slots, of which `valid` are there.
struct Tile {
  double step;   ///< clocks of a stage where everything has arrived
  double single; ///< those that only another block hides
  double ending; ///< results
  double loadBytes, bulkBytes; ///< from L2
};
} // namespace

static Tile tileOf(const Gpu &gpu, const Product &product,
                   const ProductVariant &variant, int64_t slots,
                   int64_t valid) {
  Tile tile{};
  double operations = 2.0 * real(slots * variant.rows * kStageDepth);
  if (variant.family == Family::MmaSync) {
    double perClock =
        gpu.tensor * gpu.mmaShare / real(gpu.multiprocessors) / gpu.clock;
    // Fragments are read by every warp that needs them; copies are written.
    double fragments = real(variant.threads / 32 * kTensorSteps) * 32 *
                       real(16 * GroupedShape::kTall + 8 * GroupedShape::kWide);
    double copies = real((slots + variant.rows) * GroupedShape::kRowBytes);
    tile.step = std::max(operations / perClock,
                         (fragments + copies) / gpu.sharedPerClock);
    // A barrier, and the first fragments.
    tile.single = 2 * gpu.sharedLatency;
  } else {
    // The instruction has 64 rows of its left side; a warpgroup that would have
    // no slots leaves the tensor core to the other.
    int64_t left = variant.swapped ? variant.rows : valid;
    int64_t right = variant.swapped ? slots : variant.rows;
    tile.step = real(kTensorSteps * ceilDiv(left, 64)) * wgmmaClocks(right) *
                gpu.clock / gpu.wgmmaClock();
  }
  double results = real(slots * variant.rows);
  double l2PerClock = gpu.l2 / real(gpu.multiprocessors) / gpu.clock;
  tile.ending = std::max(results * product.specials / gpu.specialPerClock,
                         results * product.instructions / gpu.lanesPerClock) +
                real(valid * variant.rows) * product.resultBytes /
                    real(product.rows) / l2PerClock;
  double weights = real(variant.rows * GroupedShape::kRowBytes);
  (variant.bulkWeights ? tile.bulkBytes : tile.loadBytes) += weights;
  tile.loadBytes += real(valid * GroupedShape::kRowBytes);
  return tile;
}

namespace {
/// The tiles of one variant in a launch.
struct Share {
  const ProductVariant *variant;
  int64_t tiles = 0;
  double clocks = 0, longest = 0; ///< of a tile alone
};
} // namespace

/// A block multiplies a tile of slots with a tile of rows, the depth in stages
/// that are copied ahead (GroupedKernels, GroupedTile, HopperTile).
template <typename VariantOf>
static KernelCost costOf(const Gpu &gpu, const Product &product,
                         const Routing &routing, VariantOf variantOf) {
  KernelCost cost{product.name};
  double matrix = 2 * real(product.rows * product.depth);
  double weights = 0, again = 0, loads = 0, bulk = 0;
  std::vector<Share> shares;
  for (int64_t count : routing.counts) {
    const ProductVariant &kind = variantOf(count);
    ProductVariant variant = kind;
    if (!variant.rows)
      variant.rows = HopperShape::rowsOf(product.rows);
    auto share =
        std::find_if(shares.begin(), shares.end(), [&](const Share &share) {
          return share.variant == &kind;
        });
    if (share == shares.end())
      share = shares.insert(share, Share{&kind});
    // Steps of zeros are multiplied, but not copied.
    int64_t copied = ceilDiv(product.depth, kStageDepth);
    int64_t steps = ceilDiv(copied, variant.steps) * variant.steps;
    int64_t across = ceilDiv(product.rows, variant.rows);
    int64_t sharedBytes = variant.stages * GroupedShape::kRowBytes *
                          (variant.slots + variant.rows);
    int64_t resident =
        residentBlocks(gpu, variant.threads, variant.registers, sharedBytes);
    int64_t high = ceilDiv(count, variant.slots);
    for (int64_t i = 0; i < high; ++i) {
      int64_t valid = std::min(variant.slots, count - i * variant.slots);
      int64_t slots = variant.slots;
      Tile tile = tileOf(gpu, product, variant, slots, valid);
      // What one block waits for, another one may use.
      double waits = variant.copiesAhead ? 0 : gpu.memoryLatency;
      double busy = real(steps) * tile.step + tile.ending;
      double alone = busy + real(steps) * tile.single + waits;
      double each = std::max(busy, alone / real(resident));
      share->clocks += real(across) * each;
      share->longest = std::max(share->longest, alone);
      int64_t multiplied = variant.family == Family::Wgmma && !variant.swapped
                               ? ceilDiv(valid, 64) * 64
                               : slots;
      cost.operations += real(across * steps) * 2 *
                         real(multiplied * variant.rows * kStageDepth);
      loads += real(across * copied) * tile.loadBytes;
      bulk += real(across * copied) * tile.bulkBytes;
    }
    share->tiles += high * across;
    // Tiles of one expert follow each other along the matrix, `together` of
    // them at a time, and more where a wave is longer than that.
    int64_t inFlight = gpu.multiprocessors * resident;
    double passes = 1;
    if (variant.together && !gpu.staysInL2(matrix)) {
      int64_t atOnce =
          std::max(variant.together, inFlight / std::max<int64_t>(across, 1));
      passes = real(ceilDiv(high, std::max<int64_t>(atOnce, 1)));
    }
    // All tiles of an expert's slots meet a column of tiles before the next:
    // rows on the left come back with every wave.
    double left = 2 * real(count * product.depth);
    if (!variant.together && high && !gpu.staysInL2(left))
      again += left *
               real(ceilDiv(across, std::max<int64_t>(inFlight / high, 1)) - 1);
    weights += high ? matrix * passes : 0;
  }
  // The first block has the most tiles of each variant. Those of experts with
  // many slots come first.
  std::sort(shares.begin(), shares.end(), [](const Share &a, const Share &b) {
    return a.variant->from > b.variant->from;
  });
  int64_t tiles = 0, waves = 0;
  double clocks = 0, longest = 0;
  for (const Share &share : shares) {
    if (!share.tiles)
      continue;
    // All blocks end with small tiles where there are enough of them.
    longest = share.tiles >= gpu.multiprocessors
                  ? share.longest
                  : std::max(longest, share.longest);
    int64_t before = waves;
    tiles += share.tiles;
    waves = ceilDiv(tiles, gpu.multiprocessors);
    clocks += share.clocks / real(share.tiles) * real(waves - before);
  }
  cost.processors = clocks / gpu.clock;
  cost.memoryBytes = weights + again + rowBytes(gpu, product, routing);
  cost.memory = cost.memoryBytes / gpu.memory;
  cost.l2Bytes = loads + bulk;
  cost.l2 = loads / gpu.l2 + bulk / gpu.l2Bulk;
  // The first copies arrive; the last tile of a matrix that is waited for ends
  // alone.
  cost.ends = gpu.memoryLatency / gpu.clock;
  if (std::max(cost.memory, cost.l2) > cost.processors)
    cost.ends += longest / gpu.clock;
  cost.gap = gpu.kernelGap;
  return cost;
}

KernelCost moe::cuda::groupedCost(const Gpu &gpu, const Product &product,
                                  Family family, const Routing &routing) {
  return costOf(gpu, product, routing,
                [&](int64_t count) -> const ProductVariant & {
                  return chooseVariant(family, count);
                });
}

KernelCost moe::cuda::groupedCost(const Gpu &gpu, const Product &product,
                                  const ProductVariant &variant,
                                  const Routing &routing) {
  return costOf(gpu, product, routing,
                [&](int64_t) -> const ProductVariant & { return variant; });
}
