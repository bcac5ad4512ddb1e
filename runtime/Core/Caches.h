// Keys and values that stay where they are from run to run.
#ifndef MOE_RUNTIME_CORE_CACHES_H
#define MOE_RUNTIME_CORE_CACHES_H

#include "runtime/Core/Arena.h"
#include "runtime/Core/Offload.h"

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
  /// How the rows of `past` get to such blocks at `to`.
  BlockCopy toBlocks(void *to, int64_t capacity) const;
};

/// On the processor's side.
void copyBlocks(const BlockCopy &copy);

/// Memory of the outputs that a session feeds back and that generated code only
/// appends to (see moert_append). Blocks lie `capacity` rows apart, so that a
/// run writes its new rows and copies nothing; capacity doubles when it is used
/// up. An output lies on the processor's side or on the device, as the code
/// that appends to it wants. One thread at a time.
class Caches {
public:
  enum Side { Host, OnDevice };

  /// `limit` in bytes, as for an arena.
  explicit Caches(uint64_t limit) : memory(limit) {}
  Caches(const Caches &) = delete;
  Caches &operator=(const Caches &) = delete;
  ~Caches();

  /// What memory of the device is asked of, and who is told of copies there, if
  /// anybody; they outlive this object.
  void use(Offload *offload, Recorder *recorder) {
    device = offload;
    trace = recorder;
  }

  /// Output `output` will be fed back to `input`. An output with two readers
  /// is not kept: the other one may want it dense.
  void link(uint32_t output, uint32_t input);

  /// The place of an output, or null when it is not kept; see moert_append.
  Result<void *> append(uint32_t input, uint32_t output, Side side,
                        const AppendRequest &request, int64_t &capacity);

  /// Before and after each run.
  void beginRun();
  void endRun(bool succeeded);

  /// Does this output of the latest run lie here?
  bool holds(uint32_t output) const;
  /// Whether `data`, which was appended to in this run, is kept for the next.
  bool keeps(const void *data) const;

  /// The output lies here no longer.
  void drop(uint32_t output);

  /// Writes the output's rows, dense, to `to`, which has room.
  Status copyDense(uint32_t output, char *to) const;

  uint64_t peak() const { return memory.peak(); }

private:
  struct Entry {
    uint32_t output, input;
    bool shared = false;   // the output has two readers
    bool appended = false; // in this run
    bool live = false;     // what `data` holds came out of the latest run
    Side side = Host;
    char *data = nullptr;
    int64_t blocks = 0, capacity = 0, rows = 0, rowBytes = 0;

    /// How its rows get to blocks of `room` rows at `to`.
    BlockCopy rowsTo(void *to, int64_t room) const {
      return {to,     data,           room * rowBytes, capacity * rowBytes,
              blocks, rows * rowBytes};
    }
  };
  Status reserve(Entry &entry, const AppendRequest &request, bool isHere);
  Result<char *> allocate(Side side, int64_t bytes);
  void release(Entry &entry);
  /// Where `side` says; the processor's side has no directions.
  Status copy(Side side, Offload::Direction direction,
              const BlockCopy &blocks) const;

  Arena memory;
  Offload *device = nullptr;
  Recorder *trace = nullptr;
  std::vector<Entry> entries;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_CACHES_H
