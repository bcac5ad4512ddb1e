#include "runtime/Device/DeviceModel.h"

#include "runtime/Core/Text.h"
#include "runtime/Device/KernelChoice.h"

#include <algorithm>

namespace moe::rt {

Result<std::shared_ptr<DeviceModel>>
DeviceModel::create(std::unique_ptr<Device> device,
                    const moert_device_code &code, const char *weights) {
  std::shared_ptr<DeviceModel> made(new DeviceModel(std::move(device), code));
  Status status = made->loadKernels();
  if (status.ok())
    status = made->uploadLayers(weights);
  if (!status.ok())
    return status;
  return made;
}

Status DeviceModel::loadKernels() {
  auto loaded = Module::load(*device, "kernels of the model", code.ptx);
  if (!loaded)
    return loaded.error();
  module = std::move(*loaded);
  auto load = [&](const moert_device_kernel &wanted, std::vector<Kernel> &to) {
    auto kernel = wanted.name ? module.kernel(wanted.name, wanted.threads,
                                              wanted.shared_bytes)
                              : Result<Kernel>(Kernel());
    if (kernel)
      to.push_back(std::move(*kernel));
    return kernel.error();
  };
  poolKernels.resize(code.num_pools);
  for (uint32_t p = 0; p < code.num_pools; ++p)
    for (const moert_device_kernel &wanted : code.pools[p].kernels)
      if (Status status = load(wanted, poolKernels[p]); !status.ok())
        return status;
  for (uint32_t i = 0; i < code.num_kernels; ++i)
    if (Status status = load(code.kernels[i], kernels); !status.ok())
      return status;
  return {};
}

Status DeviceModel::checkMemory() const {
  uint64_t needed = 0;
  for (uint32_t i = 0; i < code.num_layers; ++i) {
    const moert_device_pool &pool = code.pools[code.layers[i].pool];
    for (const moert_device_matrix *matrix :
         {&pool.up, &pool.down, &pool.up_low, &pool.down_low})
      needed += ExpertMatrices::bytes(pool, *matrix);
  }
  if (needed <= device->info().memory)
    return {};
  return {Code::OutOfMemory,
          text(device->info().text(), " has ",
               bytesText(static_cast<double>(device->info().memory)),
               " of memory; the weights take ",
               bytesText(static_cast<double>(needed)))};
}

Status DeviceModel::uploadLayers(const char *weights) {
  // Said before the first byte is on its way: what is needed in all.
  if (Status status = checkMemory(); !status.ok())
    return status;
  for (uint32_t i = 0; i < code.num_layers; ++i) {
    const moert_device_layer &from = code.layers[i];
    const moert_device_pool &pool = code.pools[from.pool];
    Layer layer;
    layer.pool = &pool;
    layer.kernels = &poolKernels[from.pool];
    auto place = [&](ExpertMatrices &to, const moert_device_matrix &matrix,
                     const moert_device_place &at, const char *which,
                     int kernel) {
      auto made = ExpertMatrices::upload(*device, pool, matrix, weights, at,
                                         text(which, " matrices of layer ", i));
      if (!made)
        return made.error();
      to = std::move(*made);
      uint32_t boxRows = pool.kernels[kernel].map_rows;
      return boxRows ? to.map(*device, pool, matrix, boxRows) : Status();
    };
    Status status =
        place(layer.up, pool.up, from.up, "first", MOERT_KERNEL_GROUPED_UP);
    if (status.ok())
      status = place(layer.down, pool.down, from.down, "second",
                     MOERT_KERNEL_GROUPED_DOWN);
    if (status.ok())
      status = place(layer.upLow, pool.up_low, from.up_low, "first low",
                     MOERT_KERNEL_GROUPED_UP_LOW);
    if (status.ok())
      status = place(layer.downLow, pool.down_low, from.down_low, "second low",
                     MOERT_KERNEL_GROUPED_DOWN_LOW);
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
  auto made = device->allocate(16, "numbers of rows");
  if (!made)
    return made.error();
  alone = std::move(*made);
  // One token has to fit, too; said now, while there is still a choice.
  for (uint32_t p = 0; p < code.num_pools; ++p)
    if (Status status = grow(code.pools[p], 1, true); !status.ok())
      return status;
  return device->synchronize();
}

bool DeviceModel::isBroken() {
  std::lock_guard<std::mutex> lock(mutex);
  return !device->failure().ok();
}

Result<void *> DeviceModel::allocate(int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  if (bytes < 0)
    return {Code::OutOfMemory, "a tensor on the device has too many bytes"};
  auto made = memory.take(static_cast<uint64_t>(bytes), "a tensor of the run");
  if (!made)
    return made.error();
  return reinterpret_cast<void *>(*made);
}

void DeviceModel::release(void *given) {
  std::lock_guard<std::mutex> lock(mutex);
  memory.give(addressOf(given));
}

Result<void *> DeviceModel::constant(const void *data, int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  auto [place, fresh] = constants.try_emplace({data, bytes});
  if (fresh) {
    // Kernels want an address of nothing, too.
    auto made = memory.allocate(
        std::max<uint64_t>(static_cast<uint64_t>(bytes), 1), "weights");
    Status status = made.error();
    if (status.ok()) {
      place->second = std::move(*made);
      status =
          device->upload(place->second, 0, data, static_cast<uint64_t>(bytes));
    }
    if (!status.ok()) {
      constants.erase(place);
      return status;
    }
  }
  return reinterpret_cast<void *>(place->second.pointer());
}

Status DeviceModel::upload(void *to, const void *from, int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  const DeviceBuffer *buffer = memory.find(addressOf(to));
  if (!buffer)
    return {Code::Internal, "bytes go to memory that the device does not have"};
  return device->upload(*buffer, 0, from, static_cast<uint64_t>(bytes));
}

Status DeviceModel::download(void *to, const void *from, int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  const DeviceBuffer *buffer = memory.find(addressOf(from));
  if (!buffer)
    return {Code::Internal,
            "bytes come from memory that the device does not have"};
  return device->download(to, *buffer, 0, static_cast<uint64_t>(bytes));
}

Status DeviceModel::launch(int32_t number, void **arguments) {
  std::lock_guard<std::mutex> lock(mutex);
  if (number < 0 || static_cast<size_t>(number) >= kernels.size())
    return {Code::Internal, text("the model has no kernel ", number)};
  return rt::launch(kernels[static_cast<size_t>(number)],
                    blocksFor(device->info().multiprocessors, false),
                    arguments);
}

} // namespace moe::rt
