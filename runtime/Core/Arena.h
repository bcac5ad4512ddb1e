// Memory of a run's intermediate tensors.
#ifndef MOE_RUNTIME_CORE_ARENA_H
#define MOE_RUNTIME_CORE_ARENA_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::rt {

/// A caching allocator: 64-byte aligned blocks cut from big huge-page chunks,
/// two-level segregated free lists with coalescing (M. Masmano et al., "TLSF: a
/// new dynamic memory allocator for real-time systems", ECRTS 2004). Allocation
/// and release take constant time; reset() recycles everything at once and
/// joins the chunks, so that a steady state never maps or unmaps.
///
/// One thread at a time.
class Arena {
public:
  static constexpr size_t alignment = 64;

  /// `limit`: most bytes to map; 0 for the machine's physical memory.
  explicit Arena(uint64_t limit = 0);
  ~Arena();
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  /// At least `bytes` bytes; null when negative, beyond the limit, or not to be
  /// had. Contents are undefined.
  void *allocate(int64_t bytes);
  /// Takes back what allocate() gave; null is fine.
  void release(void *data);
  /// Takes back everything.
  void reset();

  /// Does `data` point into this arena?
  bool owns(const void *data) const;
  /// Most bytes handed out at once since construction.
  uint64_t peak() const { return peakBytes; }
  /// Bytes mapped now.
  uint64_t mapped() const { return mappedBytes; }

private:
  struct Block;
  struct Chunk {
    char *base;
    size_t size;
  };
  static constexpr int subdivisions = 4;
  static constexpr int numBins = 44 * subdivisions;

  bool grow(size_t bytes);
  bool addChunk(size_t bytes);
  void formatChunk(const Chunk &chunk);
  void insert(Block *block);
  void remove(Block *block);
  Block *findFit(size_t bytes);

  std::vector<Chunk> chunks;
  Block *bins[numBins];
  uint64_t occupied[(numBins + 63) / 64];
  uint64_t limit;
  uint64_t mappedBytes = 0;
  uint64_t usedBytes = 0;
  uint64_t peakBytes = 0;
};

/// Bytes of physical memory of this machine.
uint64_t physicalMemory();

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_ARENA_H
