#include "runtime/Core/Caches.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstring>

namespace moe::rt {

/// Capacities are multiples of this where there is memory enough, so that
/// blocks of rows of any size start at multiples of 64 bytes.
static constexpr int64_t rowsAtOnce = 64;

int64_t AppendRequest::bytes(int64_t capacity) const {
  int64_t size;
  if (blocks < 0 || rows < 0 || fresh < 0 || rowBytes < 0 || capacity < 0 ||
      __builtin_mul_overflow(blocks, capacity, &size) ||
      __builtin_mul_overflow(size, rowBytes, &size))
    return -1;
  return size;
}

void copyBlocks(const BlockCopy &copy) {
  if (copy.bytes > 0)
    for (int64_t b = 0; b < copy.blocks; ++b)
      std::memcpy(static_cast<char *>(copy.to) + b * copy.toStride,
                  static_cast<const char *>(copy.from) + b * copy.fromStride,
                  static_cast<size_t>(copy.bytes));
}

BlockCopy AppendRequest::toBlocks(void *to, int64_t capacity) const {
  return {to,     past,           capacity * rowBytes, rows * rowBytes,
          blocks, rows * rowBytes};
}

Caches::~Caches() {
  for (Entry &entry : entries)
    release(entry);
}

void Caches::link(uint32_t output, uint32_t input) {
  Entry entry;
  entry.output = output;
  entry.input = input;
  for (Entry &other : entries)
    if (other.output == output)
      other.shared = entry.shared = true;
  entries.push_back(entry);
}

Result<char *> Caches::allocate(Side side, int64_t bytes) {
  if (side == OnDevice) {
    auto made = device->allocate(bytes);
    if (!made)
      return made.error();
    return static_cast<char *>(*made);
  }
  if (void *data = bytes < 0 ? nullptr : memory.allocate(bytes))
    return static_cast<char *>(data);
  return Status(Code::OutOfMemory, text("cannot allocate ", bytes,
                                        " bytes of memory for the run"));
}

void Caches::release(Entry &entry) {
  if (entry.data && entry.side == OnDevice)
    device->release(entry.data);
  else
    memory.release(entry.data);
  entry.data = nullptr;
}

Status Caches::copy(Side side, Offload::Direction direction,
                    const BlockCopy &blocks) const {
  if (side == OnDevice)
    return device->copy(direction, blocks, trace);
  copyBlocks(blocks);
  return {};
}

/// Makes room for the request; keeps what is here when `isHere`.
Status Caches::reserve(Entry &entry, const AppendRequest &request,
                       bool isHere) {
  int64_t needed;
  if (__builtin_add_overflow(request.rows, request.fresh, &needed) ||
      needed > INT64_MAX / 4)
    return {Code::OutOfMemory,
            text("a sequence of ", request.rows, " rows cannot get ",
                 request.fresh, " more")};
  bool fits = entry.data && request.blocks == entry.blocks &&
              request.rowBytes == entry.rowBytes && needed <= entry.capacity;
  if (fits)
    return {};
  // Some room for what follows; twice as much when it proved too small.
  int64_t wanted =
      std::max(needed + rowsAtOnce, isHere ? 2 * entry.capacity : 0);
  wanted = (wanted + rowsAtOnce - 1) / rowsAtOnce * rowsAtOnce;
  if (!isHere)
    release(entry);
  Result<char *> data = allocate(entry.side, request.bytes(wanted));
  if (!data) {
    wanted = needed;
    data = allocate(entry.side, request.bytes(needed));
  }
  if (!data)
    return data.error();
  if (isHere) {
    Status status =
        copy(entry.side, Offload::Within, entry.rowsTo(*data, wanted));
    release(entry);
    if (!status.ok()) {
      device->release(*data);
      return status;
    }
  }
  entry.data = *data;
  entry.blocks = request.blocks;
  entry.capacity = wanted;
  entry.rowBytes = request.rowBytes;
  return {};
}

Result<void *> Caches::append(uint32_t input, uint32_t output, Side side,
                              const AppendRequest &request, int64_t &capacity) {
  for (Entry &entry : entries) {
    if (entry.output != output || entry.input != input || entry.shared)
      continue;
    bool isHere = entry.live && request.past == entry.data;
    bool isKnown = request.blocks == entry.blocks &&
                   request.rows == entry.rows &&
                   request.rowBytes == entry.rowBytes && side == entry.side;
    Status status;
    if (isHere && !isKnown)
      status = {Code::Internal,
                "rows of a cache are not those of its last run"};
    if (!isHere && side != entry.side) {
      release(entry);
      entry.side = side;
    }
    if (status.ok())
      status = reserve(entry, request, isHere);
    if (status.ok() && !isHere)
      status =
          copy(side, Offload::Up, request.toBlocks(entry.data, entry.capacity));
    if (!status.ok()) {
      entry.live = false;
      return status;
    }
    entry.rows = request.rows + request.fresh;
    entry.appended = true;
    capacity = entry.capacity;
    return static_cast<void *>(entry.data);
  }
  return static_cast<void *>(nullptr);
}

void Caches::beginRun() {
  for (Entry &entry : entries)
    entry.appended = false;
}

void Caches::endRun(bool succeeded) {
  for (Entry &entry : entries)
    entry.live = succeeded && entry.appended;
}

bool Caches::holds(uint32_t output) const {
  for (const Entry &entry : entries)
    if (entry.output == output && entry.live)
      return true;
  return false;
}

void Caches::drop(uint32_t output) {
  for (Entry &entry : entries)
    if (entry.output == output)
      entry.live = false;
}

bool Caches::keeps(const void *data) const {
  for (const Entry &entry : entries)
    if (entry.data == data && entry.appended)
      return true;
  return false;
}

Status Caches::copyDense(uint32_t output, char *to) const {
  for (const Entry &entry : entries)
    if (entry.output == output && entry.live)
      return copy(entry.side, Offload::Down, entry.rowsTo(to, entry.rows));
  return {};
}

} // namespace moe::rt
