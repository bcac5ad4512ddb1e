#include "runtime/Device/DeviceModel.h"

#include "runtime/Core/Text.h"
#include "runtime/Device/KernelChoice.h"
#include "runtime/Device/Ptx.h"
#include "runtime/Device/Span.h"

#include <algorithm>

namespace moe::rt {

Result<std::shared_ptr<DeviceModel>>
DeviceModel::create(std::unique_ptr<Device> device,
                    const moert_device_code &code, const char *weights,
                    const Progress &progress) {
  std::shared_ptr<DeviceModel> made(new DeviceModel(std::move(device), code));
  Status status = made->loadKernels();
  if (status.ok())
    status = made->uploadWeights(weights, progress);
  if (!status.ok())
    return status;
  return made;
}

Status DeviceModel::loadCode() {
  const char *name = "kernels of the model";
  std::string why;
  if (code.cubin && runsCubin(code.architecture, device->info())) {
    auto loaded =
        Module::load(*device, name,
                     {static_cast<const char *>(code.cubin), code.cubin_bytes});
    if (loaded) {
      module = std::move(*loaded);
      return {};
    }
    // Made by an assembler that the driver is too old for, perhaps.
    why = "; its cubin: " + loaded.error().message;
  }
  auto loaded = Module::load(*device, name, code.ptx);
  if (!loaded)
    return {loaded.error().code, loaded.error().message + why};
  module = std::move(*loaded);
  return {};
}

Status DeviceModel::loadKernels() {
  if (Status status = loadCode(); !status.ok())
    return status;
  auto parameters = readPtxParameters(code.ptx);
  auto load = [&](const moert_device_kernel &wanted, std::vector<Kernel> &to) {
    auto kernel = wanted.name ? module.kernel(wanted.name, wanted.threads,
                                              wanted.shared_bytes)
                              : Result<Kernel>(Kernel());
    if (!kernel)
      return kernel.error();
    auto known = wanted.name ? parameters.find(wanted.name) : parameters.end();
    if (known != parameters.end()) {
      kernel->hasParameters = true;
      kernel->parameterBytes = known->second;
    }
    to.push_back(std::move(*kernel));
    return Status();
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

uint64_t DeviceModel::weightBytes() const {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < code.num_layers; ++i) {
    const moert_device_pool &pool = code.pools[code.layers[i].pool];
    for (const moert_device_matrix *matrix :
         {&pool.up, &pool.down, &pool.up_low, &pool.down_low})
      sum += ExpertMatrices::bytes(pool, *matrix);
  }
  for (uint32_t i = 0; i < code.num_constants; ++i)
    sum += code.constants[i].bytes;
  return sum;
}

Status DeviceModel::checkMemory() const {
  uint64_t needed = weightBytes();
  auto free = device->freeMemory();
  if (!free)
    return free.error();
  if (needed <= *free)
    return {};
  auto size = [](uint64_t bytes) {
    return bytesText(static_cast<double>(bytes));
  };
  return {Code::OutOfMemory,
          text(device->info().text(),
               ": no memory for the weights of the model: they take ",
               size(needed), ", ", size(*free), " of ",
               size(device->info().memory), " free, ", size(needed - *free),
               " missing")};
}

Status DeviceModel::uploadLayer(uint32_t number, const char *weights,
                                ProgressSum &progress) {
  const moert_device_layer &from = code.layers[number];
  const moert_device_pool &pool = code.pools[from.pool];
  Layer layer;
  layer.name = text("layer ", number);
  if (code.layer_names && code.layer_names[number][0])
    layer.name = code.layer_names[number];
  layer.pool = &pool;
  layer.kernels = &poolKernels[from.pool];
  auto place = [&](ExpertMatrices &to, const moert_device_matrix &matrix,
                   const moert_device_place &at, const char *which,
                   int kernel) {
    auto made = ExpertMatrices::upload(
        *device, pool, matrix, weights, at,
        text(which, " matrices of layer ", number), progress);
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
        device->allocate(4 * pool.entries, text("entries of layer ", number));
    if (made)
      layer.entries = std::move(*made);
    status = made.error();
  }
  if (status.ok())
    status = device->upload(layer.entries, 0, from.entries, 4 * pool.entries);
  if (status.ok())
    layers.push_back(std::move(layer));
  return status;
}

Status DeviceModel::uploadWeights(const char *weights,
                                  const Progress &progress) {
  // Said before the first byte is on its way: what is needed in all.
  if (Status status = checkMemory(); !status.ok())
    return status;
  ProgressSum sum(progress, weightBytes());
  for (uint32_t i = 0; i < code.num_layers; ++i)
    if (Status status = uploadLayer(i, weights, sum); !status.ok())
      return status;
  for (uint32_t i = 0; i < code.num_constants; ++i) {
    const moert_device_known &known = code.constants[i];
    const void *data = known.data ? known.data : weights + known.place;
    if (auto kept = keep(data, known.bytes, sum.part()); !kept)
      return kept.error();
    sum.add(known.bytes);
  }
  auto made = device->allocate(16, "numbers of rows");
  if (!made)
    return made.error();
  alone = std::move(*made);
  // One token has to fit, too; said now, while there is still a choice.
  for (uint32_t p = 0; p < code.num_pools; ++p)
    if (Status status = grow(code.pools[p], 1, true); !status.ok())
      return status;
  Status status = device->synchronize();
  if (status.ok())
    sum.finish();
  return status;
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

Result<CuPointer> DeviceModel::keep(const void *data, uint64_t bytes,
                                    const Progress &progress) {
  auto [place, fresh] = constants.try_emplace({data, bytes});
  if (fresh) {
    // Kernels want an address of nothing, too.
    auto made = memory.allocate(std::max<uint64_t>(bytes, 1), "weights");
    Status status = made.error();
    if (status.ok()) {
      place->second = std::move(*made);
      status = queue.flush();
    }
    if (status.ok())
      status = device->upload(place->second, 0, data, bytes, progress);
    if (!status.ok()) {
      constants.erase(place);
      return status;
    }
  }
  return place->second.pointer();
}

Result<void *> DeviceModel::constant(const void *data, int64_t bytes,
                                     Recorder *trace) {
  std::lock_guard<std::mutex> lock(mutex);
  auto size = static_cast<uint64_t>(bytes);
  auto known = constants.find({data, size});
  if (known != constants.end())
    return reinterpret_cast<void *>(known->second.pointer());
  Span span(queue, trace, "upload constant");
  auto kept = keep(data, size);
  if (Status status = span.end(kept.error()); !status.ok())
    return status;
  return reinterpret_cast<void *>(*kept);
}

Status DeviceModel::copyBytes(Direction direction, void *to, const void *from,
                              uint64_t bytes) {
  auto find = [&](const void *place) { return memory.find(addressOf(place)); };
  const DeviceBuffer *target = direction == Down ? nullptr : find(to);
  const DeviceBuffer *source = direction == Up ? nullptr : find(from);
  if ((direction != Down && !target) || (direction != Up && !source))
    return {Code::Internal,
            "bytes are copied to or from memory that the device "
            "does not have"};
  if (Status status = queue.flush(); !status.ok())
    return status;
  uint64_t at = target ? addressOf(to) - target->pointer() : 0;
  uint64_t begin = source ? addressOf(from) - source->pointer() : 0;
  return direction == Up     ? device->upload(*target, at, from, bytes)
         : direction == Down ? device->download(to, *source, begin, bytes)
                             : device->copy(*target, at, *source, begin, bytes);
}

Status DeviceModel::upload(void *to, const void *from, int64_t bytes,
                           Recorder *trace) {
  std::lock_guard<std::mutex> lock(mutex);
  Span span(queue, trace, "upload");
  return span.end(copyBytes(Up, to, from, static_cast<uint64_t>(bytes)));
}

Status DeviceModel::download(void *to, const void *from, int64_t bytes,
                             Recorder *trace) {
  std::lock_guard<std::mutex> lock(mutex);
  Span span(queue, trace, "download");
  return span.end(copyBytes(Down, to, from, static_cast<uint64_t>(bytes)));
}

Status DeviceModel::copy(Direction direction, const BlockCopy &given,
                         Recorder *trace) {
  std::lock_guard<std::mutex> lock(mutex);
  BlockCopy copy = given;
  if (copy.blocks <= 0 || copy.bytes <= 0)
    return {};
  if (copy.toStride == copy.bytes && copy.fromStride == copy.bytes) {
    copy.bytes *= copy.blocks;
    copy.blocks = 1;
  }
  Span span(queue, trace,
            direction == Up     ? "upload rows"
            : direction == Down ? "download rows"
                                : "move rows");
  Status status;
  for (int64_t b = 0; b < copy.blocks && status.ok(); ++b)
    status =
        copyBytes(direction, static_cast<char *>(copy.to) + b * copy.toStride,
                  static_cast<const char *>(copy.from) + b * copy.fromStride,
                  static_cast<uint64_t>(copy.bytes));
  return span.end(status);
}

Status DeviceModel::wait() {
  std::lock_guard<std::mutex> lock(mutex);
  Status status = queue.flush();
  return status.ok() ? device->synchronize() : status;
}

Status DeviceModel::launch(int32_t number, void **arguments, Recorder *trace) {
  std::lock_guard<std::mutex> lock(mutex);
  if (number < 0 || static_cast<size_t>(number) >= kernels.size())
    return {Code::Internal, text("the model has no kernel ", number)};
  const Kernel &kernel = kernels[static_cast<size_t>(number)];
  Span span(queue, trace, kernel.name);
  return span.end(queue.add(
      kernel, blocksFor(device->info().multiprocessors, kernel.sharedBytes),
      arguments));
}

} // namespace moe::rt
