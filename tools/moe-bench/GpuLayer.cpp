#include "tools/moe-bench/GpuLayer.h"

#include "codegen/CUDA/LayerShape.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Device/KernelChoice.h"
#include "runtime/IRInterface.h"
#include "runtime/Runner/Random.h"
#include "tools/moe-bench/GpuModels.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <string_view>

using namespace moe;
using namespace moe::bench;
using rt::Code, rt::CuPointer, rt::DeviceBuffer, rt::Result, rt::Status;

namespace {
/// Numbers of the random block: large beside a row, small beside a matrix.
constexpr uint64_t kBlock = uint64_t(1) << 22;

enum Space {
  X,
  Ids,
  Weights,
  Offsets,
  Order,
  Place,
  Active,
  ActiveCount,
  Rounded,
  Hidden,
  Rows,
  Out,
  NumSpaces
};
} // namespace

GpuLayer::GpuLayer(rt::Device &device, const LayerShape &shape)
    : device(device), shape(shape) {
  rt::Random random(1);
  float unit = std::sqrt(3.0f / static_cast<float>(shape.hidden));
  for (uint64_t i = 0; i < kBlock; ++i) {
    block.push_back(
        rt::floatToBfloat16(unit * static_cast<float>(2 * random.unit() - 1)));
    numbers.push_back(rt::bfloat16ToFloat(block.back()));
  }
}

uint64_t GpuLayer::startOf(int64_t expert, int which) const {
  // Any spread will do; 16 bytes are what copies like.
  return (uint64_t(2 * expert + which) * 1000003 % (kBlock / 8)) * 8;
}

Status GpuLayer::check(const rt::Device &device, const LayerShape &shape) {
  if ((shape.hidden | shape.width) % 16)
    return {Code::InvalidArgument,
            rt::text("layer ", rt::quote(shape.name),
                     ": on a GPU hidden and width have to be multiples of 16")};
  double bytes = 6.0 * static_cast<double>(shape.experts) *
                 static_cast<double>(shape.hidden * shape.width);
  double memory = static_cast<double>(device.info().memory);
  if (bytes > memory)
    return {Code::OutOfMemory,
            rt::text(device.info().text(), " has ", rt::bytesText(memory),
                     " of memory; the weights take ", rt::bytesText(bytes))};
  return {};
}

Result<std::unique_ptr<GpuLayer>> GpuLayer::create(rt::Device &device,
                                                   const LayerShape &shape,
                                                   const std::string &ptx) {
  std::unique_ptr<GpuLayer> made(new GpuLayer(device, shape));
  Status status = made->loadKernels(ptx);
  if (status.ok())
    status = made->makeWeights();
  if (!status.ok())
    return status;
  return made;
}

Status GpuLayer::loadKernels(const std::string &ptx) {
  auto loaded = rt::Module::load(device, "kernels of experts", ptx);
  if (!loaded)
    return loaded.error();
  module = std::move(*loaded);
  // As codegen/CUDA/DeviceCode.h writes them.
  static const char line[] = "// moe-opt kernel: ";
  // Those of experts, whose matrices have no factors; a matrix alone sorts
  // nothing, and rounds.
  static const char *const suffixes[] = {
      "_prepare",    "_round",        "_decode_up", "_decode_down",
      "_grouped_up", "_grouped_down", "_combine"};
  constexpr size_t wanted = std::size(suffixes);
  static_assert(wanted == MOERT_KERNEL_COMBINE + 1);
  auto is = [](std::string_view name, std::string_view suffix) {
    return name.size() > suffix.size() &&
           name.substr(name.size() - suffix.size()) == suffix;
  };
  for (size_t at = ptx.find(line); at != ptx.npos && kernels.size() < wanted;
       at = ptx.find(line, at + 1)) {
    char name[128];
    unsigned threads = 0, sharedBytes = 0, rows = 0;
    if (sscanf(ptx.c_str() + at + strlen(line), "%127s %u %u %u", name,
               &threads, &sharedBytes, &rows) != 4)
      break;
    if (kernels.size() == MOERT_KERNEL_ROUND)
      kernels.emplace_back(), mapRows.push_back(0);
    if (!is(name, suffixes[kernels.size()])) {
      kernels.clear(), mapRows.clear();
      continue;
    }
    mapRows.push_back(rows);
    auto kernel = module.kernel(name, threads, sharedBytes);
    if (!kernel)
      return kernel.error();
    kernels.push_back(std::move(*kernel));
  }
  if (kernels.size() != wanted)
    return {Code::InvalidFile,
            rt::text("the PTX of layer ", rt::quote(shape.name), " has ",
                     kernels.size(), " kernels, not ", wanted,
                     ": it is not that of a layer by this moe-opt")};
  return {};
}

Status GpuLayer::fill(const DeviceBuffer &to, uint64_t offset, uint64_t start,
                      uint64_t bytes) {
  // The first pieces from the host, the rest from what lies there.
  uint64_t size = 2 * kBlock, done = 0;
  const char *from = reinterpret_cast<const char *>(block.data());
  while (done < std::min(bytes, size)) {
    uint64_t at = (start + done) % size;
    uint64_t some = std::min({size - at, bytes - done, size - done});
    Status status = device.upload(to, offset + done, from + at, some);
    if (!status.ok())
      return status;
    done += some;
  }
  while (done < bytes) {
    uint64_t some = std::min(done / size * size, bytes - done);
    Status status = device.copy(to, offset + done, to, offset, some);
    if (!status.ok())
      return status;
    done += some;
  }
  return {};
}

Status GpuLayer::makeWeights() {
  uint64_t matrix = uint64_t(2) * shape.hidden * shape.width;
  auto first = device.allocate(2 * matrix * shape.experts, "first matrices");
  if (!first)
    return first.error();
  up = std::move(*first);
  auto second = device.allocate(matrix * shape.experts, "second matrices");
  if (!second)
    return second.error();
  down = std::move(*second);
  for (int64_t e = 0; e < shape.experts; ++e) {
    Status status = fill(up, 2 * matrix * e, 2 * startOf(e, 0), 2 * matrix);
    if (status.ok())
      status = fill(down, matrix * e, 2 * startOf(e, 1), matrix);
    if (!status.ok())
      return status;
  }
  std::vector<int32_t> table;
  for (int64_t e = 0; e < shape.experts; ++e)
    table.push_back(static_cast<int32_t>(e));
  auto made = device.allocate(4 * shape.experts, "entries");
  if (!made)
    return made.error();
  entries = std::move(*made);
  Status status = device.upload(entries, 0, table.data(), 4 * table.size());
  cuda::LayerShape sizes = kernelShape(shape);
  auto map = [&](int kernel, const DeviceBuffer &from, int64_t rows,
                 int64_t depth, rt::TensorMap &to) {
    if (!status.ok() || !mapRows[kernel])
      return;
    auto encoded = rt::encodeTensorMap(
        device, from,
        {uint64_t(shape.experts), uint64_t(rows), uint64_t(depth)},
        mapRows[kernel]);
    if (encoded)
      to = *encoded;
    status = encoded.error();
  };
  map(MOERT_KERNEL_GROUPED_UP, up, 16 * sizes.upTiles(), sizes.paddedInputs(),
      upMap);
  map(MOERT_KERNEL_GROUPED_DOWN, down, sizes.paddedOutputs(),
      sizes.paddedHidden(), downMap);
  return status.ok() ? device.synchronize() : status;
}

Result<GpuLayer::Set> GpuLayer::makeSet(int64_t tokens, uint64_t seed) {
  Set set{tokens, {tokens, std::vector<int64_t>(shape.experts)}, {}, {}, {},
          {}};
  rt::Random random(seed);
  for (int64_t i = 0; i < tokens * shape.hidden; ++i)
    set.x.push_back(static_cast<float>(2 * random.unit() - 1));
  std::vector<int32_t> cards(shape.experts);
  for (int64_t e = 0; e < shape.experts; ++e)
    cards[e] = static_cast<int32_t>(e);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < shape.topK; ++i) {
      std::swap(cards[i], cards[i + random.below(shape.experts - i)]);
      set.ids.push_back(cards[i]);
      ++set.routing.counts[cards[i]];
      set.weights.push_back(static_cast<float>(0.1 + random.unit()));
    }

  cuda::LayerShape sizes = kernelShape(shape);
  uint64_t slots = tokens * shape.topK;
  const uint64_t bytes[NumSpaces] = {
      uint64_t(4) * tokens * shape.hidden,
      4 * slots,
      4 * slots,
      uint64_t(4) * (shape.experts + 1),
      4 * slots,
      4 * slots,
      uint64_t(4) * shape.experts,
      4,
      uint64_t(2) * tokens * sizes.paddedInputs(),
      2 * slots * sizes.paddedHidden(),
      4 * slots * sizes.paddedOutputs(),
      uint64_t(4) * tokens * shape.hidden,
  };
  for (uint64_t size : bytes) {
    auto made = device.allocate(
        size, rt::text("memory of ", tokens, " tokens between kernels"));
    if (!made)
      return made.error();
    set.spaces.push_back(std::move(*made));
  }
  auto put = [&](Space to, const void *data) {
    return device.upload(set.spaces[to], 0, data, bytes[to]);
  };
  Status status = put(X, set.x.data());
  if (status.ok())
    status = put(Ids, set.ids.data());
  if (status.ok())
    status = put(Weights, set.weights.data());
  // What no kernel writes is not a number.
  if (status.ok())
    status = device.fill(set.spaces[Out], 0, 0xFF, bytes[Out]);
  if (!status.ok())
    return status;
  return set;
}

const char *GpuLayer::launchName(int launch) {
  static const char *names[] = {"prepare", "up", "down", "combine"};
  return names[launch];
}

Status GpuLayer::launch(const Set &set, int only) {
  CuPointer at[NumSpaces];
  for (int i = 0; i < NumSpaces; ++i)
    at[i] = set.spaces[i].pointer();
  CuPointer first = up.pointer(), second = down.pointer(),
            table = entries.pointer();
  int32_t count = static_cast<int32_t>(set.tokens);
  int32_t isAdded = 0;
  auto which = rt::multiplying(set.tokens, shape.topK, shape.experts);
  auto blocks = [&](int kernel) {
    return rt::blocksFor(device.info().multiprocessors,
                         kernels[kernel].sharedBytes);
  };
  uint64_t all = blocks(MOERT_KERNEL_COMBINE);
  auto matrix = [&](int kernel, CuPointer &pointer,
                    rt::TensorMap &map) -> void * {
    return mapRows[kernel] ? static_cast<void *>(&map) : &pointer;
  };
  struct {
    int kernel;
    uint64_t blocks;
    std::vector<void *> arguments;
  } launches[kLaunches] = {
      {MOERT_KERNEL_PREPARE,
       all,
       {&at[Ids], &table, &count, &at[Offsets], &at[Order], &at[Place],
        &at[Active], &at[ActiveCount], &at[X], &at[Rounded]}},
      {which.up,
       blocks(which.up),
       {&at[Rounded], matrix(which.up, first, upMap), &at[Order], &at[Offsets],
        &at[Active], &at[ActiveCount], &at[Hidden]}},
      {which.down,
       blocks(which.down),
       {&at[Hidden], matrix(which.down, second, downMap), &at[Offsets],
        &at[Active], &at[ActiveCount], &at[Rows]}},
      {MOERT_KERNEL_COMBINE,
       all,
       {&at[Rows], &at[Place], &at[Weights], &count, &at[Out], &at[Out],
        &isAdded}},
  };
  for (int i = 0; i < kLaunches; ++i) {
    if (only >= 0 && only != i)
      continue;
    Status status = rt::launch(kernels[launches[i].kernel], launches[i].blocks,
                               launches[i].arguments.data());
    if (!status.ok())
      return status;
  }
  return {};
}

Result<std::vector<float>> GpuLayer::result(const Set &set) {
  std::vector<float> out(set.tokens * shape.hidden);
  Status status =
      device.download(out.data(), set.spaces[Out], 0, 4 * out.size());
  if (!status.ok())
    return status;
  return out;
}

std::vector<double> GpuLayer::reference(const Set &set, int64_t t) const {
  int64_t hidden = shape.hidden, width = shape.width;
  std::vector<double> x, y(hidden), h(width);
  for (int64_t i = 0; i < hidden; ++i)
    x.push_back(
        rt::bfloat16ToFloat(rt::floatToBfloat16(set.x[t * hidden + i])));
  // Row `r` of a matrix that begins at `start`, times a vector.
  auto product = [&](uint64_t start, int64_t r, const std::vector<double> &by) {
    uint64_t at = (start + uint64_t(r) * by.size()) % kBlock;
    double sum = 0;
    for (double value : by) {
      sum += value * numbers[at];
      at = at + 1 == kBlock ? 0 : at + 1;
    }
    return sum;
  };
  for (int64_t i = 0; i < shape.topK; ++i) {
    int64_t slot = t * shape.topK + i, e = set.ids[slot];
    for (int64_t n = 0; n < width; ++n) {
      // Tiles of 16 rows: 8 of the gate, then 8 of what it gates.
      int64_t row = n / 8 * 16 + n % 8;
      double gate = product(startOf(e, 0), row, x);
      double linear = product(startOf(e, 0), row + 8, x);
      h[n] = gate / (1 + std::exp(-gate)) * linear;
    }
    for (int64_t o = 0; o < hidden; ++o)
      y[o] += set.weights[slot] * product(startOf(e, 1), o, h);
  }
  return y;
}
