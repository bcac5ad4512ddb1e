#include "codegen/CUDA/CostModel.h"
#include "codegen/CUDA/TileShapes.h"

#include "runtime/Device/KernelChoice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

using namespace moe;
using namespace moe::cuda;

namespace {
double real(int64_t x) { return static_cast<double>(x); }
int64_t ceilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }

/// Clocks of the arithmetic around what a thread waits for, of a loop that goes
/// through rows or slots: counted in the code that ptxas 13.0.88 makes, 30 to
/// 70 instructions, most of which depend on the one before.
constexpr double kLoopClocks = 60;
} // namespace

int64_t Routing::slots() const {
  return std::accumulate(counts.begin(), counts.end(), int64_t(0));
}

int64_t Routing::active() const {
  return std::count_if(counts.begin(), counts.end(),
                       [](int64_t count) { return count > 0; });
}

Routing moe::cuda::uniformRouting(int64_t experts, int64_t topK, int64_t tokens,
                                  uint64_t seed) {
  Routing routing{tokens, std::vector<int64_t>(experts)};
  std::mt19937_64 random(seed);
  std::vector<int64_t> cards(experts);
  std::iota(cards.begin(), cards.end(), 0);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < topK; ++i) {
      // Not a distribution of the library's, which every library has its own.
      uint64_t other = i + random() % uint64_t(experts - i);
      std::swap(cards[i], cards[other]);
      ++routing.counts[cards[i]];
    }
  return routing;
}

double moe::cuda::layerFlops(const LayerShape &shape, const Routing &routing) {
  double matrices =
      (shape.isGlu ? 2.0 : 1.0) * real(shape.inputs * shape.hidden) +
      real(shape.hidden * shape.outputs);
  return 2 * matrices * real(routing.slots());
}

Floor moe::cuda::floorOf(const Gpu &gpu, const LayerShape &shape,
                         const Routing &routing) {
  double matrices =
      (shape.isGlu ? 2.0 : 1.0) * real(shape.inputs * shape.hidden) +
      real(shape.hidden * shape.outputs);
  double bytes = 2 * matrices * real(routing.active()) +
                 2 * real(routing.tokens * (shape.inputs + shape.outputs));
  return {bytes / gpu.memory, layerFlops(shape, routing) / gpu.tensor};
}

double KernelCost::seconds() const {
  return std::max({memory, l2, processors}) + ends + gap;
}

void KernelCost::add(const KernelCost &other, double factor) {
  for (double KernelCost::*part :
       {&KernelCost::memory, &KernelCost::l2, &KernelCost::processors,
        &KernelCost::ends, &KernelCost::gap, &KernelCost::memoryBytes,
        &KernelCost::l2Bytes, &KernelCost::operations})
    this->*part += factor * other.*part;
}

const char *KernelCost::bound() const {
  return processors >= std::max(memory, l2) ? "processors"
         : memory >= l2                     ? "memory"
                                            : "L2";
}

double LayerCost::seconds() const {
  double sum = 0;
  for (const KernelCost &kernel : kernels)
    sum += kernel.seconds();
  return sum;
}

/// Clocks of the block that sorts. Its warps each have a run of slots and go
/// through it twice (SortKernel.cpp). They wait for ids, then for the table;
/// then they issue, by four, or wait for what depends on the group before.
static double sortClocks(const Gpu &gpu, const LayerShape &shape,
                         const Routing &routing) {
  int64_t slots = routing.tokens * shape.topK;
  int64_t warps = SortShape::warps(shape.experts), ahead = SortShape::kAhead;
  double bits = std::ceil(std::log2(real(shape.experts + 1)));
  double read = gpu.l2Latency + gpu.l1Latency + kLoopClocks;
  // Instructions of a group of 32, and clocks from one group to the next; a
  // vote is taken for each bit of an expert's number.
  auto step = [&](double instructions, double chain) {
    double issued = real(ceilDiv(warps, 4) * ahead) * instructions;
    return std::max(issued, read + real(ahead) * chain);
  };
  double rounds = real(ceilDiv(slots, warps * 32 * ahead));
  double clocks = rounds * (step(20, gpu.sharedLatency) +
                            step(6 * bits + 40, 10 * bits + 100));
  // The first warp's sums: of what all warps counted, read at once and written
  // one after the other, and five steps through its lanes.
  double groups = real(ceilDiv(shape.experts, 32));
  clocks += groups * (real(8 * warps) + 6 * gpu.sharedLatency + 100);
  // Where some have many slots and some have not, it goes through them again:
  // reads, two votes and what follows from them.
  int64_t many = std::count_if(
      routing.counts.begin(), routing.counts.end(),
      [](int64_t count) { return count > HopperShape::kSomeSlots; });
  if (many && many < routing.active())
    clocks += groups * (gpu.sharedLatency + 100);
  return clocks;
}

/// A thread has `atOnce` numbers, and waits for `waits` loads in a row.
static KernelCost rowCost(const Gpu &gpu, const char *name, int64_t numbers,
                          int64_t atOnce, int64_t threads, double bytes,
                          double waits) {
  KernelCost cost{name};
  int64_t all = gpu.multiprocessors * rt::kBlocksOfMultiprocessor * threads;
  double latency =
      bytes > real(gpu.l2Bytes) ? gpu.memoryLatency : gpu.l2Latency;
  double round = waits * latency + kLoopClocks;
  cost.processors = real(ceilDiv(numbers, atOnce * all)) * round / gpu.clock;
  cost.memoryBytes = bytes;
  cost.memory = bytes / gpu.memory;
  cost.l2Bytes = bytes;
  cost.l2 = bytes / gpu.l2;
  cost.ends = gpu.memoryLatency / gpu.clock;
  cost.gap = gpu.kernelGap;
  return cost;
}

/// One block sorts while the others round.
static KernelCost prepareCost(const Gpu &gpu, const LayerShape &shape,
                              const Routing &routing) {
  int64_t tokens = routing.tokens;
  KernelCost cost =
      rowCost(gpu, "prepare", tokens * shape.paddedInputs(),
              RoundShape::kNumbers, 32 * SortShape::warps(shape.experts),
              real(tokens * (4 * shape.inputs + 2 * shape.paddedInputs())), 1);
  double sorted = 12 * real(tokens * shape.topK);
  cost.memoryBytes += sorted;
  cost.memory += sorted / gpu.memory;
  cost.processors =
      std::max(cost.processors, sortClocks(gpu, shape, routing) / gpu.clock);
  return cost;
}

/// Of several variants in one launch.
static std::string variantsName(Family family) {
  std::string name;
  for (const ProductVariant &variant : productVariants())
    if (variant.family == family)
      name += (name.empty() ? "" : " or ") + std::to_string(variant.slots);
  return name + " slots, " + (family == Family::Wgmma ? "wgmma" : "mma.sync");
}

LayerCost moe::cuda::predictLayer(const Gpu &gpu, const LayerShape &shape,
                                  Family family, const Routing &routing) {
  int64_t tokens = routing.tokens, slots = tokens * shape.topK;
  bool few = rt::areFewTokens(tokens, shape.topK, shape.experts);
  Product up{"up", shape.upTiles() * 16, shape.paddedInputs(), true,
             2 * real(shape.paddedHidden()),
             // Of one neuron, in the code ptxas makes for a gated SiLU; a row
             // is half a neuron there. An exponential and a reciprocal.
             shape.isGlu ? 12.0 : 24.0, shape.isGlu ? 1.0 : 2.0};
  Product down{"down", shape.paddedOutputs(),           shape.paddedHidden(),
               false,  4 * real(shape.paddedOutputs()), 4,
               0};
  auto product = [&](const Product &product) {
    return few ? decodeCost(gpu, product, routing)
               : groupedCost(gpu, product, family, routing);
  };
  LayerCost cost;
  cost.variant = "few: 16 rows x 8 slots, mma.sync";
  const ProductVariant *taken = nullptr;
  for (int64_t count : routing.counts) {
    if (few || !count)
      continue;
    const ProductVariant &variant = chooseVariant(family, count);
    cost.isThere &= variant.isThere;
    if (!taken)
      cost.variant = variant.name;
    else if (taken != &variant)
      cost.variant = variantsName(family);
    taken = &variant;
  }
  cost.kernels.push_back(prepareCost(gpu, shape, routing));
  cost.kernels.push_back(product(up));
  cost.kernels.push_back(product(down));
  // Places first, then rows and weights of all choices at once.
  double rows = real(slots * 4 * shape.paddedOutputs());
  KernelCost combine =
      rowCost(gpu, "combine", tokens * shape.outputs, shape.outputs % 4 ? 1 : 4,
              kLayerThreads, rows + real(tokens * 4 * shape.outputs), 2);
  // What the kernel before did not write to memory is not read there.
  if (gpu.staysInL2(rows)) {
    combine.memoryBytes -= rows;
    combine.memory -= rows / gpu.memory;
  }
  cost.kernels.push_back(combine);
  return cost;
}
