#include "runtime/Core/Caches.h"

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

void copyBlocks(char *to, int64_t toStride, const char *from,
                int64_t fromStride, int64_t blocks, int64_t bytes) {
  if (bytes > 0)
    for (int64_t b = 0; b < blocks; ++b)
      std::memcpy(to + b * toStride, from + b * fromStride, bytes);
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

/// Makes room for the request; keeps what is here when `isHere`.
bool Caches::reserve(Entry &entry, const AppendRequest &request, bool isHere) {
  int64_t needed;
  if (__builtin_add_overflow(request.rows, request.fresh, &needed) ||
      needed > INT64_MAX / 4)
    return false;
  bool fits = entry.data && request.blocks == entry.blocks &&
              request.rowBytes == entry.rowBytes && needed <= entry.capacity;
  if (fits)
    return true;
  // Some room for what follows; twice as much when it proved too small.
  int64_t wanted =
      std::max(needed + rowsAtOnce, isHere ? 2 * entry.capacity : 0);
  wanted = (wanted + rowsAtOnce - 1) / rowsAtOnce * rowsAtOnce;
  if (!isHere) {
    memory.release(entry.data);
    entry.data = nullptr;
  }
  for (int64_t capacity : {wanted, needed}) {
    int64_t bytes = request.bytes(capacity);
    char *data =
        bytes < 0 ? nullptr : static_cast<char *>(memory.allocate(bytes));
    if (!data)
      continue;
    if (isHere) {
      copyBlocks(data, capacity * entry.rowBytes, entry.data,
                 entry.capacity * entry.rowBytes, entry.blocks,
                 entry.rows * entry.rowBytes);
      memory.release(entry.data);
    }
    entry.data = data;
    entry.blocks = request.blocks;
    entry.capacity = capacity;
    entry.rowBytes = request.rowBytes;
    return true;
  }
  return false;
}

void *Caches::append(uint32_t input, uint32_t output,
                     const AppendRequest &request, int64_t &capacity,
                     bool &failed) {
  failed = false;
  for (Entry &entry : entries) {
    if (entry.output != output || entry.input != input || entry.shared)
      continue;
    bool isHere = entry.live && request.past == entry.data;
    bool isKnown = request.blocks == entry.blocks &&
                   request.rows == entry.rows &&
                   request.rowBytes == entry.rowBytes;
    if ((isHere && !isKnown) || !reserve(entry, request, isHere)) {
      entry.live = false;
      failed = true;
      return nullptr;
    }
    if (!isHere)
      copyBlocks(entry.data, entry.capacity * entry.rowBytes,
                 static_cast<const char *>(request.past),
                 request.rows * request.rowBytes, request.blocks,
                 request.rows * request.rowBytes);
    entry.rows = request.rows + request.fresh;
    entry.appended = true;
    capacity = entry.capacity;
    return entry.data;
  }
  return nullptr;
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

void Caches::copyDense(uint32_t output, char *to) const {
  for (const Entry &entry : entries)
    if (entry.output == output && entry.live)
      return copyBlocks(to, entry.rows * entry.rowBytes, entry.data,
                        entry.capacity * entry.rowBytes, entry.blocks,
                        entry.rows * entry.rowBytes);
}

} // namespace moe::rt
