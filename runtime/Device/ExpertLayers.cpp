#include "runtime/Device/ExpertLayers.h"

#include "runtime/Core/Text.h"

#include <algorithm>

namespace moe::rt {
namespace {

/// Up to about so many tokens to an expert a layer costs what reading its
/// weights costs, and the kernels for few tokens read them best.
constexpr int64_t fewTokens = 6;
/// Choices of experts in one go: what lies between kernels stays below a few
/// gigabytes whatever the number of tokens.
constexpr int64_t mostSlots = 1 << 17;

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

Status ExpertLayers::uploadLayers(const char *weights) {
  // Said before the first byte is on its way: what is needed in all.
  uint64_t needed = 0;
  for (uint32_t i = 0; i < code.num_layers; ++i) {
    const moert_device_pool &pool = code.pools[code.layers[i].pool];
    needed += ExpertMatrices::bytes(pool, pool.up) +
              ExpertMatrices::bytes(pool, pool.down);
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
    Layer layer;
    layer.pool = &pool;
    layer.kernels = &kernels[from.pool];
    auto place = [&](ExpertMatrices &to, const moert_device_matrix &matrix,
                     const moert_device_place &at, const char *which) {
      auto made = ExpertMatrices::upload(*device, pool, matrix, weights, at,
                                         text(which, " matrices of layer ", i));
      if (made)
        to = std::move(*made);
      return made.error();
    };
    Status status = place(layer.up, pool.up, from.up, "first");
    if (status.ok())
      status = place(layer.down, pool.down, from.down, "second");
    if (status.ok()) {
      auto made =
          device->allocate(4 * pool.entries, text("entries of layer ", i));
      if (made)
        layer.entries = std::move(*made);
      status = made.error();
    }
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
  int64_t slots = tokens * pool.top_k;
  const int64_t bytes[NumSpaces] = {
      4 * tokens * pool.up.depth,
      4 * slots,
      4 * slots,
      4 * (pool.experts + 1),
      4 * slots,
      4 * slots,
      4 * pool.experts,
      4,
      pool.element_bytes * tokens * pool.up.padded_depth,
      pool.element_bytes * slots * pool.down.padded_depth,
      4 * slots * 16 * pool.down.tiles,
      4 * tokens * pool.down.rows,
  };
  for (int i = 0; i < NumSpaces; ++i) {
    if (spaces[i].size() >= static_cast<uint64_t>(bytes[i]))
      continue;
    spaces[i].free();
    auto made =
        device->allocate(bytes[i], text("the numbers of ", tokens, " tokens"));
    if (!made)
      return made.error();
    spaces[i] = std::move(*made);
  }
  return {};
}

Status ExpertLayers::launchAll(Layer &layer, int64_t tokens) {
  const moert_device_pool &pool = *layer.pool;
  CuPointer at[NumSpaces];
  for (int i = 0; i < NumSpaces; ++i)
    at[i] = spaces[i].pointer();
  CuPointer entries = layer.entries.pointer();
  int32_t count = static_cast<int32_t>(tokens);
  bool few = tokens * pool.top_k <= fewTokens * pool.experts;
  uint64_t all = 2 * uint64_t(device->info().multiprocessors);
  auto start = [&](int which, uint64_t blocks,
                   std::initializer_list<void *> values,
                   ExpertMatrices *matrices = nullptr) {
    std::vector<void *> arguments(values);
    if (matrices)
      matrices->addArguments(arguments);
    return launch((*layer.kernels)[which], blocks, arguments.data());
  };
  Status status = start(MOERT_KERNEL_SORT, 1,
                        {&at[Ids], &entries, &count, &at[Offsets], &at[Order],
                         &at[Place], &at[Active], &at[ActiveCount]});
  if (status.ok())
    status = start(MOERT_KERNEL_ROUND, all, {&at[X], &count, &at[Rounded]});
  if (status.ok())
    status = start(few ? MOERT_KERNEL_DECODE_UP : MOERT_KERNEL_GROUPED_UP, all,
                   {&at[Rounded], layer.up.values(), &at[Order], &at[Offsets],
                    &at[Active], &at[ActiveCount], &at[Hidden]},
                   &layer.up);
  if (status.ok())
    status =
        start(few ? MOERT_KERNEL_DECODE_DOWN : MOERT_KERNEL_GROUPED_DOWN, all,
              {&at[Hidden], layer.down.values(), &at[Offsets], &at[Active],
               &at[ActiveCount], &at[Rows]},
              &layer.down);
  if (status.ok())
    status = start(MOERT_KERNEL_COMBINE, all,
                   {&at[Rows], &at[Place], &at[Weights], &count, &at[Out]});
  return status;
}

Status ExpertLayers::runSome(Layer &layer, int64_t tokens, const float *x,
                             const int32_t *ids, const float *weights,
                             float *out) {
  const moert_device_pool &pool = *layer.pool;
  uint64_t slots = tokens * pool.top_k;
  Status status = device->upload(spaces[X], 0, x, 4 * tokens * pool.up.depth);
  if (status.ok())
    status = device->upload(spaces[Ids], 0, ids, 4 * slots);
  if (status.ok())
    status = device->upload(spaces[Weights], 0, weights, 4 * slots);
  if (status.ok())
    status = launchAll(layer, tokens);
  if (status.ok())
    status = device->download(out, spaces[Out], 0, 4 * tokens * pool.down.rows);
  return status;
}

Status ExpertLayers::run(int32_t index, int64_t tokens, const float *x,
                         const int32_t *ids, const float *weights,
                         const float *residual, float *out) {
  std::lock_guard<std::mutex> lock(mutex);
  if (index < 0 || static_cast<size_t>(index) >= layers.size())
    return {Code::Internal,
            text("the model has no layer ", index, " for the device")};
  Layer &layer = layers[index];
  const moert_device_pool &pool = *layer.pool;
  int64_t step = std::max<int64_t>(1, mostSlots / pool.top_k);
  for (int64_t first = 0; first < tokens;) {
    int64_t some = std::min(step, tokens - first);
    Status status = grow(pool, some);
    // Fewer tokens at a time give the same numbers.
    if (status.code == Code::OutOfMemory && some > 1) {
      step = some / 2;
      continue;
    }
    float *to = out + first * pool.down.rows;
    if (residual) {
      sums.resize(some * pool.down.rows);
      to = sums.data();
    }
    if (status.ok())
      status =
          runSome(layer, some, x + first * pool.up.depth,
                  ids + first * pool.top_k, weights + first * pool.top_k, to);
    if (!status.ok())
      return status;
    if (residual)
      for (int64_t i = 0; i < some * pool.down.rows; ++i)
        out[first * pool.down.rows + i] =
            residual[first * pool.down.rows + i] + sums[i];
    first += some;
  }
  return {};
}

} // namespace moe::rt
