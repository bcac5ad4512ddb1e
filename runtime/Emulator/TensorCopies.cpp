// Copies of boxes that a tensor map describes.
#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace moe::emu {

using rt::text;

/// The bytes of row `row` of a box that lie inside of the matrices.
static uint32_t bytesInside(const TensorCopy &copy, uint32_t row,
                            const uint8_t **from) {
  const TensorMap &map = copy.map;
  int64_t y = copy.at[1] + row % map.box[1], z = copy.at[2] + row / map.box[1];
  auto isInside = [](int64_t at, uint64_t size) {
    return at >= 0 && static_cast<uint64_t>(at) < size;
  };
  if (!isInside(copy.at[0], map.sizes[0]) || !isInside(y, map.sizes[1]) ||
      !isInside(z, map.sizes[2]))
    return 0;
  *from = map.begin + copy.at[0] * map.elementBytes +
          static_cast<uint64_t>(y) * map.strides[0] +
          static_cast<uint64_t>(z) * map.strides[1];
  uint64_t left = map.sizes[0] - static_cast<uint64_t>(copy.at[0]);
  return static_cast<uint32_t>(std::min<uint64_t>(left, map.box[0])) *
         map.elementBytes;
}

void Multiprocessor::tensorLoad(const void *map, const int32_t at[3], void *to,
                                void *barrier, const char *site) {
  const char *verb = "starts a copy of a box of";
  TensorCopy copy;
  std::memcpy(&copy.map, map, sizeof copy.map);
  if (copy.map.magic != TensorMap::expectedMagic)
    fail(site, "copies by what is no tensor map; encode one with the driver");
  std::copy(at, at + 3, copy.at);
  if (at[0] < 0)
    fail(site, text(verb, " rows from number ", at[0],
                    " on; kernels here start inside of rows"));
  if (!isShared(to) || sharedOffset(to) % 1024)
    fail(site, text(verb, " rows to ", describePlace(to),
                    "; the place is a multiple of 1024 in shared memory"));
  size_t offset = sharedOffset(to);
  uint32_t bytes = copy.map.boxBytes();
  if (offset + bytes > launch.sharedBytes)
    fail(site, text(verb, " ", bytes, " bytes to byte ", offset,
                    " of shared memory; the block has ", launch.sharedBytes,
                    " bytes"));
  copy.barrier =
      usedBarrier(barrier, "counts the bytes of a box", true, site).offset;
  copy.to = static_cast<uint8_t *>(to);
  copy.thread = thread;
  copy.site = site;
  uint64_t read = 0;
  for (uint32_t row = 0; row < copy.map.box[1] * copy.map.box[2]; ++row) {
    const uint8_t *from;
    if (uint32_t inside = bytesInside(copy, row, &from)) {
      checkGlobal(from, inside, false, "copies (as a row of a box)", site);
      read += inside;
    }
  }
  SharedShadow::Access target = {offset, bytes, thread, site};
  checkOverwrites(target);
  failIfFound(shadow.startCopy(target, /*isTensor=*/true), site);
  if (counter)
    counter->bulk(site, read, bytes);
  boxes.push_back(copy);
  if (!options.late)
    landBox(boxes.size() - 1);
}

void Multiprocessor::landBox(size_t index) {
  TensorCopy copy = boxes[index];
  boxes[index] = boxes.back();
  boxes.pop_back();
  for (uint32_t row = 0; row < copy.map.box[1] * copy.map.box[2]; ++row) {
    uint8_t line[128] = {};
    const uint8_t *from;
    if (uint32_t inside = bytesInside(copy, row, &from))
      std::memcpy(line, from, inside);
    for (uint32_t chunk = 0; chunk < 8; ++chunk)
      std::memcpy(copy.to + row * 128 + ((chunk ^ (row & 7)) * 16),
                  line + chunk * 16, 16);
  }
  CountingBarrier &barrier = *barrierAt(copy.barrier);
  uint32_t bytes = copy.map.boxBytes();
  shadow.endCounted({sharedOffset(copy.to), bytes, 0, copy.site},
                    barrier.column, columnClocks[barrier.column],
                    /*isTensor=*/true);
  barrier.bytesMissing -= bytes;
  uint32_t running = std::exchange(thread, copy.thread); // whom errors name
  checkPhase(barrier, copy.site);
  thread = running;
}

} // namespace moe::emu
