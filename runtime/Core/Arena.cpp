#include "runtime/Core/Arena.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace moe::rt {

/// Header in front of every block. Blocks of a chunk lie back to back and end
/// with a sentinel of size 0 that is never free.
struct alignas(64) Arena::Block {
  size_t size; // with this header; a multiple of 64
  Block *before;
  Block *nextFree;
  Block *previousFree;
  bool isFree;

  Block *after() {
    return reinterpret_cast<Block *>(reinterpret_cast<char *>(this) + size);
  }
  void *payload() { return this + 1; }
  static Block *of(void *payload) { return static_cast<Block *>(payload) - 1; }
};

static constexpr size_t hugePage = size_t(2) << 20;
static constexpr size_t smallestChunk = size_t(4) << 20;
static constexpr size_t largestStep = size_t(256) << 20;

static size_t roundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// The bin whose blocks have at least the size of its lower bound, where
/// `bytes` is between this and the next bound.
static int binOf(size_t bytes, int subdivisions, int numBins) {
  size_t units = bytes / 64;
  int log = 63 - __builtin_clzll(units | 1);
  int fraction = log >= 2 ? static_cast<int>(units >> (log - 2) & 3)
                          : static_cast<int>(units << (2 - log) & 3);
  return std::min(log * subdivisions + fraction, numBins - 1);
}

uint64_t physicalMemory() {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? uint64_t(pages) * uint64_t(size)
                               : uint64_t(1) << 40;
}

Arena::Arena(uint64_t limit) : limit(limit ? limit : physicalMemory()) {
  static_assert(sizeof(Block) == alignment, "payloads must stay aligned");
  std::memset(bins, 0, sizeof(bins));
  std::memset(occupied, 0, sizeof(occupied));
}

Arena::~Arena() {
  for (const Chunk &chunk : chunks)
    munmap(chunk.base, chunk.size);
}

void Arena::insert(Block *block) {
  int bin = binOf(block->size, subdivisions, numBins);
  block->isFree = true;
  block->previousFree = nullptr;
  block->nextFree = bins[bin];
  if (bins[bin])
    bins[bin]->previousFree = block;
  bins[bin] = block;
  occupied[bin / 64] |= uint64_t(1) << bin % 64;
}

void Arena::remove(Block *block) {
  int bin = binOf(block->size, subdivisions, numBins);
  block->isFree = false;
  if (block->nextFree)
    block->nextFree->previousFree = block->previousFree;
  if (block->previousFree)
    block->previousFree->nextFree = block->nextFree;
  else
    bins[bin] = block->nextFree;
  if (!bins[bin])
    occupied[bin / 64] &= ~(uint64_t(1) << bin % 64);
}

Arena::Block *Arena::findFit(size_t bytes) {
  // Its own bin may hold blocks that are too small, all later ones fit.
  int bin = binOf(bytes, subdivisions, numBins);
  for (Block *block = bins[bin]; block; block = block->nextFree)
    if (block->size >= bytes)
      return block;
  for (int i = bin + 1; i < numBins; i = (i / 64 + 1) * 64) {
    uint64_t mask = occupied[i / 64] >> i % 64;
    if (mask)
      return bins[i + __builtin_ctzll(mask)];
  }
  return nullptr;
}

void Arena::formatChunk(const Chunk &chunk) {
  auto *first = reinterpret_cast<Block *>(chunk.base);
  first->size = chunk.size - sizeof(Block);
  first->before = nullptr;
  Block *sentinel = first->after();
  sentinel->size = 0;
  sentinel->before = first;
  sentinel->isFree = false;
  insert(first);
}

bool Arena::addChunk(size_t bytes) {
  if (bytes > limit || mappedBytes > limit - bytes)
    return false;
  // Map too much, keep the aligned part: huge pages need the alignment.
  size_t padded = bytes + hugePage;
  void *memory = mmap(nullptr, padded, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return false;
  char *begin = static_cast<char *>(memory);
  size_t skip = roundUp(reinterpret_cast<size_t>(begin), hugePage) -
                reinterpret_cast<size_t>(begin);
  if (skip)
    munmap(begin, skip);
  if (skip != hugePage)
    munmap(begin + skip + bytes, hugePage - skip);
  madvise(begin + skip, bytes, MADV_HUGEPAGE);
  chunks.push_back({begin + skip, bytes});
  mappedBytes += bytes;
  formatChunk(chunks.back());
  return true;
}

bool Arena::grow(size_t bytes) {
  size_t needed = roundUp(bytes + sizeof(Block), hugePage);
  size_t wanted = std::max(
      {needed, smallestChunk, std::min<size_t>(mappedBytes, largestStep)});
  return addChunk(wanted) || (wanted != needed && addChunk(needed));
}

void *Arena::allocate(int64_t bytes) {
  // Also keeps every sum below from overflowing.
  if (bytes < 0 || static_cast<uint64_t>(bytes) > limit)
    return nullptr;
  size_t size = roundUp(std::max<size_t>(bytes, 1), alignment) + sizeof(Block);
  Block *block = findFit(size);
  if (!block) {
    if (!grow(size))
      return nullptr;
    block = findFit(size);
  }
  remove(block);
  if (block->size - size >= 2 * sizeof(Block)) {
    size_t left = block->size - size;
    Block *next = block->after();
    block->size = size;
    Block *rest = block->after();
    rest->size = left;
    rest->before = block;
    next->before = rest;
    insert(rest);
  }
  usedBytes += block->size;
  peakBytes = std::max(peakBytes, usedBytes);
  return block->payload();
}

void Arena::release(void *data) {
  if (!data)
    return;
  Block *block = Block::of(data);
  usedBytes -= block->size;
  Block *next = block->after();
  if (next->isFree) {
    remove(next);
    block->size += next->size;
  }
  if (block->before && block->before->isFree) {
    Block *before = block->before;
    remove(before);
    before->size += block->size;
    block = before;
  }
  block->after()->before = block;
  insert(block);
}

void Arena::reset() {
  std::memset(bins, 0, sizeof(bins));
  std::memset(occupied, 0, sizeof(occupied));
  usedBytes = 0;
  if (chunks.size() > 1) {
    size_t total = mappedBytes;
    for (const Chunk &chunk : chunks)
      munmap(chunk.base, chunk.size);
    chunks.clear();
    mappedBytes = 0;
    addChunk(total);
    return;
  }
  for (const Chunk &chunk : chunks)
    formatChunk(chunk);
}

bool Arena::owns(const void *data) const {
  for (const Chunk &chunk : chunks)
    if (data >= chunk.base && data < chunk.base + chunk.size)
      return true;
  return false;
}

} // namespace moe::rt
