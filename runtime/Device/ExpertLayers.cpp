#include "runtime/Device/ExpertLayers.h"

#include "runtime/Core/Text.h"
#include "runtime/Device/KernelChoice.h"
#include "runtime/Device/PackRows.h"

#include <algorithm>

namespace moe::rt {
namespace {

int64_t padded(int64_t size, int64_t to) { return (size + to - 1) / to * to; }

/// Sizes of GPU rows; codegen/CUDA/LayerShape.h.
struct RowSizes {
  int64_t upTiles, upDepth, downTiles, downDepth;

  explicit RowSizes(const moert_device_pool &pool)
      : upTiles(padded(pool.hidden, pool.is_glu ? 8 : 16) /
                (pool.is_glu ? 8 : 16)),
        upDepth(padded(pool.inputs, 8)),
        downTiles(padded(pool.outputs, 16) / 16),
        downDepth(padded(pool.hidden, 8)) {}

  /// Of one expert's matrix.
  int64_t bytes(bool isUp) const {
    return 2 * 16 * (isUp ? upTiles * upDepth : downTiles * downDepth);
  }
};

/// Bytes of one expert's matrix in panels.
int64_t panelBytes(const moert_device_pool &pool, bool isUp) {
  int64_t columns = isUp ? pool.hidden * (pool.is_glu ? 2 : 1) : pool.outputs;
  return padded(columns, pool.panel_width) *
         (isUp ? pool.inputs : pool.hidden) * 2;
}

} // namespace

Result<std::shared_ptr<ExpertLayers>>
ExpertLayers::create(std::unique_ptr<Device> device,
                     const moert_device_code &code, const char *weights) {
  std::shared_ptr<ExpertLayers> made(new ExpertLayers(std::move(device), code));
  Status status = made->loadKernels();
  if (status.ok())
    status = made->uploadLayers(weights);
  if (!status.ok())
    return status;
  return made;
}

Status ExpertLayers::loadKernels() {
  auto loaded = Module::load(*device, "kernels of experts", code.ptx);
  if (!loaded)
    return loaded.error();
  module = std::move(*loaded);
  kernels.resize(code.num_pools);
  for (uint32_t p = 0; p < code.num_pools; ++p)
    for (const moert_device_kernel &wanted : code.pools[p].kernels) {
      auto kernel =
          module.kernel(wanted.name, wanted.threads, wanted.shared_bytes);
      if (!kernel)
        return kernel.error();
      kernels[p].push_back(std::move(*kernel));
    }
  return {};
}

Status ExpertLayers::uploadMatrices(const DeviceBuffer &to, const char *panels,
                                    bool isUp, const moert_device_pool &pool) {
  RowSizes sizes(pool);
  int64_t bytes = sizes.bytes(isUp);
  std::vector<uint16_t> rows(bytes / 2);
  for (int64_t e = 0; e < pool.experts; ++e) {
    PanelMatrix from = {
        reinterpret_cast<const uint16_t *>(panels + e * panelBytes(pool, isUp)),
        isUp ? pool.inputs : pool.hidden, pool.panel_width,
        isUp && pool.is_glu};
    packRows(from, isUp ? pool.hidden : pool.outputs,
             isUp ? sizes.upTiles : sizes.downTiles,
             isUp ? sizes.upDepth : sizes.downDepth, rows.data());
    Status status = device->upload(to, e * bytes, rows.data(), bytes);
    if (!status.ok())
      return status;
  }
  return {};
}

Status ExpertLayers::uploadLayers(const char *weights) {
  // Said before the first byte is on its way: what is needed in all.
  uint64_t needed = 0;
  for (uint32_t i = 0; i < code.num_layers; ++i) {
    const moert_device_pool &pool = code.pools[code.layers[i].pool];
    RowSizes sizes(pool);
    needed += pool.experts * (sizes.bytes(true) + sizes.bytes(false));
  }
  if (needed > device->info().memory)
    return {Code::OutOfMemory,
            text(device->info().text(), " has ",
                 bytesText(static_cast<double>(device->info().memory)),
                 " of memory; the weights of the experts take ",
                 bytesText(static_cast<double>(needed)))};
  for (uint32_t i = 0; i < code.num_layers; ++i) {
    const moert_device_layer &from = code.layers[i];
    const moert_device_pool &pool = code.pools[from.pool];
    RowSizes sizes(pool);
    Layer layer;
    layer.pool = &pool;
    layer.kernels = &kernels[from.pool];
    auto place = [&](DeviceBuffer &to, uint64_t bytes, const char *name) {
      auto made =
          device->allocate(bytes, text(name, " of layer of experts ", i));
      if (made)
        to = std::move(*made);
      return made.error();
    };
    Status status =
        place(layer.up, pool.experts * sizes.bytes(true), "first matrices");
    if (status.ok())
      status = place(layer.down, pool.experts * sizes.bytes(false),
                     "second matrices");
    if (status.ok())
      status = place(layer.entries, 4 * pool.entries, "entries");
    if (status.ok())
      status = uploadMatrices(layer.up, weights + from.up, true, pool);
    if (status.ok())
      status = uploadMatrices(layer.down, weights + from.down, false, pool);
    if (status.ok())
      status = device->upload(layer.entries, 0, from.entries, 4 * pool.entries);
    if (!status.ok())
      return status;
    layers.push_back(std::move(layer));
  }
  // One token has to fit, too; said now, while there is still a choice.
  for (uint32_t p = 0; p < code.num_pools; ++p)
    if (Status status = grow(code.pools[p], 1); !status.ok())
      return status;
  return device->synchronize();
}

bool ExpertLayers::isBroken() {
  std::lock_guard<std::mutex> lock(mutex);
  return !device->failure().ok();
}

Status ExpertLayers::grow(const moert_device_pool &pool, int64_t tokens) {
  RowSizes sizes(pool);
  int64_t slots = tokens * pool.top_k;
  const int64_t bytes[NumSpaces] = {
      4 * tokens * pool.inputs,
      4 * slots,
      4 * slots,
      4 * (pool.experts + 1),
      4 * slots,
      4 * slots,
      4 * pool.experts,
      4,
      2 * tokens * sizes.upDepth,
      2 * slots * sizes.downDepth,
      4 * slots * 16 * sizes.downTiles,
      4 * tokens * pool.outputs,
  };
  for (int i = 0; i < NumSpaces; ++i) {
    if (spaces[i].size() >= static_cast<uint64_t>(bytes[i]))
      continue;
    spaces[i].free();
    auto made = device->allocate(
        bytes[i], text("memory of ", tokens, " tokens between kernels"));
    if (!made)
      return made.error();
    spaces[i] = std::move(*made);
  }
  return {};
}

Status ExpertLayers::launchAll(const Layer &layer, int64_t tokens) {
  const moert_device_pool &pool = *layer.pool;
  CuPointer at[NumSpaces];
  for (int i = 0; i < NumSpaces; ++i)
    at[i] = spaces[i].pointer();
  CuPointer up = layer.up.pointer(), down = layer.down.pointer(),
            entries = layer.entries.pointer();
  int32_t count = static_cast<int32_t>(tokens);
  bool few = areFewTokens(tokens, pool.top_k, pool.experts);
  uint64_t all = kBlocksOfMultiprocessor * device->info().multiprocessors;
  auto start = [&](int which, uint64_t blocks,
                   std::initializer_list<void *> values) {
    std::vector<void *> arguments(values);
    return launch((*layer.kernels)[which], blocks, arguments.data());
  };
  Status status = start(MOERT_KERNEL_SORT, 1,
                        {&at[Ids], &entries, &count, &at[Offsets], &at[Order],
                         &at[Place], &at[Active], &at[ActiveCount]});
  if (status.ok())
    status = start(MOERT_KERNEL_ROUND, all, {&at[X], &count, &at[Rounded]});
  if (status.ok())
    status = start(few ? MOERT_KERNEL_DECODE_UP : MOERT_KERNEL_GROUPED_UP, all,
                   {&at[Rounded], &up, &at[Order], &at[Offsets], &at[Active],
                    &at[ActiveCount], &at[Hidden]});
  if (status.ok())
    status =
        start(few ? MOERT_KERNEL_DECODE_DOWN : MOERT_KERNEL_GROUPED_DOWN, all,
              {&at[Hidden], &down, &at[Offsets], &at[Active], &at[ActiveCount],
               &at[Rows]});
  if (status.ok())
    status = start(MOERT_KERNEL_COMBINE, all,
                   {&at[Rows], &at[Place], &at[Weights], &count, &at[Out]});
  return status;
}

Status ExpertLayers::runSome(const Layer &layer, int64_t tokens, const float *x,
                             const int32_t *ids, const float *weights,
                             float *out) {
  const moert_device_pool &pool = *layer.pool;
  uint64_t slots = tokens * pool.top_k;
  Status status = device->upload(spaces[X], 0, x, 4 * tokens * pool.inputs);
  if (status.ok())
    status = device->upload(spaces[Ids], 0, ids, 4 * slots);
  if (status.ok())
    status = device->upload(spaces[Weights], 0, weights, 4 * slots);
  if (status.ok())
    status = launchAll(layer, tokens);
  if (status.ok())
    status = device->download(out, spaces[Out], 0, 4 * tokens * pool.outputs);
  return status;
}

Status ExpertLayers::run(int32_t index, int64_t tokens, const float *x,
                         const int32_t *ids, const float *weights,
                         const float *residual, float *out) {
  std::lock_guard<std::mutex> lock(mutex);
  if (index < 0 || static_cast<size_t>(index) >= layers.size())
    return {Code::Internal,
            text("the model has no layer ", index, " for the device")};
  const Layer &layer = layers[index];
  const moert_device_pool &pool = *layer.pool;
  int64_t step = std::max<int64_t>(1, kMostSlots / pool.top_k);
  for (int64_t first = 0; first < tokens;) {
    int64_t some = std::min(step, tokens - first);
    Status status = grow(pool, some);
    // Fewer tokens at a time give the same numbers.
    if (status.code == Code::OutOfMemory && some > 1) {
      step = some / 2;
      continue;
    }
    float *to = out + first * pool.outputs;
    if (residual) {
      sums.resize(some * pool.outputs);
      to = sums.data();
    }
    if (status.ok())
      status =
          runSome(layer, some, x + first * pool.inputs,
                  ids + first * pool.top_k, weights + first * pool.top_k, to);
    if (!status.ok())
      return status;
    if (residual)
      for (int64_t i = 0; i < some * pool.outputs; ++i)
        out[first * pool.outputs + i] =
            residual[first * pool.outputs + i] + sums[i];
    first += some;
  }
  return {};
}

} // namespace moe::rt
