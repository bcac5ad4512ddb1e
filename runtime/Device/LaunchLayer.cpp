// The launches of a layer of experts, or of one matrix.
#include "runtime/Core/Text.h"
#include "runtime/Device/DeviceModel.h"
#include "runtime/Device/KernelChoice.h"
#include "runtime/Device/Span.h"

#include <algorithm>

namespace moe::rt {
namespace {

/// Launches kernels of a pool one after the other until one fails.
class Launches {
public:
  Launches(const moert_device_pool &pool, const std::vector<Kernel> &kernels,
           const DeviceInfo &device, LaunchQueue &queue, Recorder *trace)
      : pool(pool), kernels(kernels), device(device), queue(queue),
        trace(trace) {}

  void start(int which, std::initializer_list<void *> values) {
    start(which, std::vector<void *>(values));
  }
  /// One that multiplies, with the matrices between its other arguments, and
  /// `more` of these at the end.
  void multiply(int which, void *x, ExpertMatrices &matrices,
                std::initializer_list<void *> values, void *more = nullptr) {
    std::vector<void *> arguments = {
        x, matrices.values(pool.kernels[which].map_rows != 0)};
    arguments.insert(arguments.end(), values.begin(), values.end());
    matrices.addArguments(arguments);
    if (more)
      arguments.push_back(more);
    start(which, std::move(arguments));
  }

  Status status;

private:
  void start(int which, std::vector<void *> arguments) {
    uint64_t blocks =
        blocksFor(device.multiprocessors, pool.kernels[which].shared_bytes);
    if (!status.ok())
      return;
    const Kernel &kernel = kernels[static_cast<size_t>(which)];
    Span span(queue, trace, kernel.name);
    status = span.end(queue.add(kernel, blocks, arguments.data()));
  }

  const moert_device_pool &pool;
  const std::vector<Kernel> &kernels;
  const DeviceInfo &device;
  LaunchQueue &queue;
  Recorder *trace;
};

/// Row `row` of rows of `width` numbers of four bytes.
template <typename Pointer>
Pointer rowOf(Pointer rows, int64_t row, int64_t width) {
  using Byte =
      std::conditional_t<std::is_const_v<std::remove_pointer_t<Pointer>>,
                         const char, char>;
  return rows ? static_cast<Byte *>(rows) + 4 * row * width : nullptr;
}

} // namespace

/// Whether the sums of one matrix need no more work.
static bool areDone(const moert_device_pool &pool, const void *residual) {
  return !pool.up.rows && !residual && pool.down.rows == 16 * pool.down.tiles;
}

namespace {
/// Numbers of a row between kernels.
struct Widths {
  explicit Widths(const moert_device_pool &pool)
      : rounded(first(pool).padded_depth),
        low(std::max(pool.up_low.rows ? pool.up.padded_depth : 0,
                     pool.down_low.rows ? pool.down.padded_depth : 0)),
        hidden((pool.down_low.rows ? pool.down_low : pool.down).padded_depth),
        sums(16 * pool.down.tiles) {}

  /// The matrix that reads the layer's inputs.
  static const moert_device_matrix &first(const moert_device_pool &pool) {
    return pool.up_low.rows ? pool.up_low : pool.up;
  }

  int64_t rounded, low, hidden, sums;
};
} // namespace

/// Bytes between kernels for one token.
static int64_t bytesOfToken(const moert_device_pool &pool, bool needsSums) {
  Widths widths(pool);
  return pool.element_bytes *
             (widths.rounded + pool.top_k * (widths.low + widths.hidden)) +
         (needsSums ? 4 * pool.top_k * widths.sums : 0);
}

Status DeviceModel::grow(const moert_device_pool &pool, int64_t tokens,
                         bool needsSums) {
  int64_t slots = tokens * pool.top_k;
  Widths widths(pool);
  const int64_t bytes[NumSpaces] = {
      4 * (pool.experts + 1),
      4 * slots,
      4 * slots,
      4 * pool.experts,
      4,
      pool.element_bytes * tokens * widths.rounded,
      pool.element_bytes * slots * widths.low,
      pool.element_bytes * slots * widths.hidden,
      needsSums ? 4 * slots * widths.sums : 0,
  };
  for (int i = 0; i < NumSpaces; ++i) {
    if (spaces[i].size() >= static_cast<uint64_t>(bytes[i]))
      continue;
    if (Status status = queue.flush(); !status.ok())
      return status;
    spaces[i].free();
    auto made = memory.allocate(static_cast<uint64_t>(bytes[i]),
                                text("the numbers of ", tokens, " tokens"));
    if (!made)
      return made.error();
    spaces[i] = std::move(*made);
  }
  return {};
}

Status DeviceModel::launchExperts(Layer &layer, int64_t tokens,
                                  const Rows &rows, Recorder *trace) {
  const moert_device_pool &pool = *layer.pool;
  CuPointer at[NumSpaces];
  for (int i = 0; i < NumSpaces; ++i)
    at[i] = spaces[i].pointer();
  CuPointer x = addressOf(rows.x), ids = addressOf(rows.ids),
            weights = addressOf(rows.weights),
            residual = addressOf(rows.residual), out = addressOf(rows.out),
            entries = layer.entries.pointer();
  int32_t count = static_cast<int32_t>(tokens), isAdded = residual != 0;
  Multiplying which = multiplying(tokens, pool.top_k, pool.experts);
  Launches run(pool, *layer.kernels, device->info(), queue, trace);
  run.start(MOERT_KERNEL_PREPARE,
            {&ids, &entries, &count, &at[Offsets], &at[Order], &at[Place],
             &at[Active], &at[ActiveCount], &x, &at[Rounded]});
  // First products are of inputs, or of what low factors made of them.
  auto multiply = [&](int kernel, Space from, ExpertMatrices &matrices,
                      Space to) {
    bool isScaled = pool.scales_input && from == Rounded;
    run.multiply(
        kernel, &at[from], matrices,
        {&at[Order], &at[Offsets], &at[Active], &at[ActiveCount], &at[to]},
        isScaled ? &weights : nullptr);
  };
  if (pool.up_low.rows)
    multiply(which.upLow, Rounded, layer.upLow, Low);
  multiply(which.up, pool.up_low.rows ? Low : Rounded, layer.up, Hidden);
  if (pool.down_low.rows)
    multiply(which.downLow, Hidden, layer.downLow, Low);
  run.multiply(which.down, &at[pool.down_low.rows ? Low : Hidden], layer.down,
               {&at[Offsets], &at[Active], &at[ActiveCount], &at[Sums]});
  run.start(MOERT_KERNEL_COMBINE, {&at[Sums], &at[Place], &weights, &count,
                                   &out, &residual, &isAdded});
  return run.status;
}

Status DeviceModel::launchMatrix(Layer &layer, int64_t count, const Rows &rows,
                                 Recorder *trace) {
  const moert_device_pool &pool = *layer.pool;
  if (count != aloneRows) {
    const int32_t numbers[4] = {0, static_cast<int32_t>(count), 0, 1};
    Status status = queue.flush();
    if (status.ok())
      status = device->upload(alone, 0, numbers, sizeof(numbers));
    if (!status.ok())
      return status;
    aloneRows = count;
  }
  CuPointer x = addressOf(rows.x), residual = addressOf(rows.residual),
            out = addressOf(rows.out), rounded = spaces[Hidden].pointer(),
            sums = spaces[Sums].pointer(), offsets = alone.pointer(),
            active = offsets + 8, activeCount = offsets + 12;
  int32_t number = static_cast<int32_t>(count), isAdded = residual != 0;
  bool isDone = areDone(pool, rows.residual); // then they go where they should
  Launches run(pool, *layer.kernels, device->info(), queue, trace);
  run.start(MOERT_KERNEL_ROUND, {&x, &number, &rounded});
  run.multiply(multiplying(count, 1, 1).down, &rounded, layer.down,
               {&offsets, &active, &activeCount, isDone ? &out : &sums});
  if (!isDone)
    run.start(MOERT_KERNEL_FINISH, {&sums, &number, &out, &residual, &isAdded});
  return run.status;
}

Status DeviceModel::layer(int32_t index, int64_t count, const Rows &rows,
                          Recorder *trace) {
  std::lock_guard<std::mutex> lock(mutex);
  if (index < 0 || static_cast<size_t>(index) >= layers.size())
    return {Code::Internal,
            text("the model has no layer ", index, " for the device")};
  for (const void *memory : {rows.x, rows.residual, (const void *)rows.out})
    if (addressOf(memory) % 16)
      return {Code::Internal, text("rows of layer ", index,
                                   " do not begin at a multiple of 16 bytes")};
  Layer &layer = layers[static_cast<size_t>(index)];
  const moert_device_pool &pool = *layer.pool;
  bool needsSums = !areDone(pool, rows.residual);
  int64_t step = std::max<int64_t>(
      1, std::min(kMostSlots / pool.top_k,
                  kMostBytes / bytesOfToken(pool, needsSums)));
  Span span(queue, trace, layer.name);
  for (int64_t first = 0; first < count;) {
    int64_t some = std::min(step, count - first);
    Status status = grow(pool, some, needsSums);
    // Fewer tokens at a time give the same numbers.
    if (status.code == Code::OutOfMemory && some > 1) {
      step = some / 2;
      continue;
    }
    int64_t inputs = pool.up.rows ? Widths::first(pool).depth : pool.down.depth;
    Rows part = {rowOf(rows.x, first, inputs),
                 rowOf(rows.ids, first, pool.top_k),
                 rowOf(rows.weights, first, pool.top_k),
                 rowOf(rows.residual, first, pool.down.rows),
                 rowOf(rows.out, first, pool.down.rows)};
    if (status.ok())
      status = pool.up.rows ? launchExperts(layer, some, part, trace)
                            : launchMatrix(layer, some, part, trace);
    if (!status.ok())
      return span.end(status);
    first += some;
  }
  return span.end({});
}

} // namespace moe::rt
