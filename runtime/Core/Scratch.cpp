#include "runtime/Core/Scratch.h"

#include "runtime/Core/Arena.h"

#include <algorithm>
#include <cstdlib>

namespace moe::rt {

static constexpr size_t alignment = 64;
static constexpr size_t firstBlock = size_t(256) << 10;

Scratch::~Scratch() {
  for (Block &block : blocks)
    std::free(block.data);
}

void *Scratch::allocate(int64_t bytes) {
  static const uint64_t limit = physicalMemory();
  if (bytes < 0 || static_cast<uint64_t>(bytes) > limit)
    return nullptr;
  size_t size = (static_cast<size_t>(bytes) + alignment - 1) & -alignment;
  for (;;) {
    Block &block = blocks[position.block];
    if (block.data && block.size - position.offset >= size) {
      void *data = block.data + position.offset;
      position.offset += size;
      return data;
    }
    if (!block.data) {
      size_t before = position.block ? blocks[position.block - 1].size : 0;
      size_t wanted = std::max({size, 2 * before, firstBlock});
      block.data = static_cast<char *>(std::aligned_alloc(alignment, wanted));
      if (!block.data)
        return nullptr;
      block.size = wanted;
      continue;
    }
    if (position.block + 1 == maxBlocks)
      return nullptr;
    ++position.block;
    position.offset = 0;
  }
}

void Scratch::release(Mark mark) {
  position = mark;
  if (mark.block || mark.offset || !blocks[1].data)
    return;
  // Empty and fragmented: one block as large as the largest will do better.
  int last = 1;
  while (last + 1 < maxBlocks && blocks[last + 1].data)
    ++last;
  for (int i = 0; i < last; ++i) {
    std::free(blocks[i].data);
    blocks[i] = {};
  }
  std::swap(blocks[0], blocks[last]);
}

} // namespace moe::rt
