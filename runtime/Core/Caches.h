// Keys and values that stay where they are from run to run.
#ifndef MOE_RUNTIME_CORE_CACHES_H
#define MOE_RUNTIME_CORE_CACHES_H

#include "runtime/Core/Arena.h"
#include "runtime/Core/Status.h"

#include <vector>

namespace moe::rt {

/// What moert_append is asked for: `blocks` blocks of `rows` rows, dense at
/// `past`, and room for `fresh` more behind each.
struct AppendRequest {
  const void *past;
  int64_t blocks;
  int64_t rows;
  int64_t fresh;
  int64_t rowBytes;

  /// Bytes of the blocks with `capacity` rows each; negative when the request
  /// makes no sense or the number is too large.
  int64_t bytes(int64_t capacity) const;
};

/// Memory of the outputs that a session feeds back and that generated code only
/// appends to (see moert_append). Blocks lie `capacity` rows apart, so that a
/// run writes its new rows and copies nothing; capacity doubles when it is used
/// up. One thread at a time.
class Caches {
public:
  /// `limit` in bytes, as for an arena.
  explicit Caches(uint64_t limit) : memory(limit) {}

  /// Output `output` will be fed back to `input`. An output with two readers
  /// is not kept: the other one may want it dense.
  void link(uint32_t output, uint32_t input);

  /// The place of an output, or null when it is not kept; see moert_append.
  /// `failed` when memory is not to be had.
  void *append(uint32_t input, uint32_t output, const AppendRequest &request,
               int64_t &capacity, bool &failed);

  /// Before and after each run.
  void beginRun();
  void endRun(bool succeeded);

  /// Does this output of the latest run lie here?
  bool holds(uint32_t output) const;

  /// Writes the output's rows, dense, to `to`, which has room.
  void copyDense(uint32_t output, char *to) const;

  uint64_t peak() const { return memory.peak(); }

private:
  struct Entry {
    uint32_t output, input;
    bool shared = false;   // the output has two readers
    bool appended = false; // in this run
    bool live = false;     // what `data` holds came out of the latest run
    char *data = nullptr;
    int64_t blocks = 0, capacity = 0, rows = 0, rowBytes = 0;
  };
  bool reserve(Entry &entry, const AppendRequest &request, bool isHere);

  Arena memory;
  std::vector<Entry> entries;
};

/// Copies the blocks of a request's past, `fromStride` bytes apart, to blocks
/// of `toStride` bytes.
void copyBlocks(char *to, int64_t toStride, const char *from,
                int64_t fromStride, int64_t blocks, int64_t bytes);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_CACHES_H
