#include "runtime/Emulator/Memory.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace moe::emu {

using rt::Code;
using rt::quote;
using rt::Result;
using rt::Status;
using rt::text;

static constexpr size_t guardBytes = 256; // also the alignment, as on a GPU
static constexpr uint8_t guardByte = 0xFB;
static constexpr uint8_t poison = 0xFF; // NaN as f32, bf16, f16 and f8

static uintptr_t addressOf(const Memory::Range &range) {
  return reinterpret_cast<uintptr_t>(range.begin);
}

static bool startsAfter(uintptr_t address, const Memory::Range &range) {
  return address < addressOf(range);
}

Memory::~Memory() {
  for (Range &range : ranges)
    if (range.owned)
      std::free(range.begin - guardBytes);
}

Result<void *> Memory::allocate(size_t bytes, std::string name) {
  size_t rounded = (bytes + guardBytes - 1) & -guardBytes;
  size_t whole = rounded + 2 * guardBytes;
  void *block = whole < bytes ? nullptr : std::aligned_alloc(guardBytes, whole);
  if (!block)
    return {Code::OutOfMemory,
            text("no ", bytes, " bytes of emulated memory for ", quote(name))};
  std::memset(block, guardByte, whole);
  Range range;
  range.begin = static_cast<uint8_t *>(block) + guardBytes;
  range.size = bytes;
  range.name = std::move(name);
  range.owned = true;
  void *begin = range.begin;
  std::memset(begin, poison, bytes);
  if (Status status = insert(std::move(range)); !status.ok()) {
    std::free(block);
    return status;
  }
  return begin;
}

Status Memory::add(void *begin, size_t bytes, std::string name) {
  Range range;
  range.begin = static_cast<uint8_t *>(begin);
  range.size = bytes;
  range.name = std::move(name);
  return insert(std::move(range));
}

Status Memory::addReadOnly(const void *begin, size_t bytes, std::string name) {
  Range range;
  range.begin = static_cast<uint8_t *>(const_cast<void *>(begin));
  range.size = bytes;
  range.name = std::move(name);
  range.writable = false;
  return insert(std::move(range));
}

Status Memory::insert(Range range) {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), addressOf(range),
                                startsAfter);
  const Range *neighbour = nullptr;
  if (after != ranges.end() &&
      addressOf(*after) - addressOf(range) < range.size)
    neighbour = &*after;
  if (after != ranges.begin()) {
    const Range &before = *std::prev(after);
    uintptr_t distance = addressOf(range) - addressOf(before);
    if (distance < before.size || distance == 0)
      neighbour = &before;
  }
  if (neighbour)
    return {Code::InvalidArgument, text("emulated memory ", quote(range.name),
                                        " overlaps ", quote(neighbour->name))};
  ranges.insert(after, std::move(range));
  return {};
}

static Status checkGuards(const Memory::Range &range) {
  if (!range.owned)
    return {};
  auto damaged = [](const uint8_t *from, const uint8_t *to) {
    return std::find_if(from, to, [](uint8_t b) { return b != guardByte; }) !=
           to;
  };
  const uint8_t *end = range.begin + range.size;
  const char *side = nullptr;
  if (damaged(range.begin - guardBytes, range.begin))
    side = "before the first byte of ";
  else if (damaged(end, end + guardBytes))
    side = "after the last byte of ";
  if (!side)
    return {};
  return {Code::ModelFailed,
          text("something wrote ", side, quote(range.name), " (", range.size,
               " bytes), past the checks")};
}

Status Memory::checkGuards() const {
  for (const Range &range : ranges)
    if (Status status = emu::checkGuards(range); !status.ok())
      return status;
  return {};
}

Status Memory::free(const void *begin) {
  auto found = std::find_if(ranges.begin(), ranges.end(),
                            [&](const Range &r) { return r.begin == begin; });
  if (found == ranges.end())
    return {Code::NotFound, "no emulated memory starts at the address to free"};
  Status status = emu::checkGuards(*found);
  if (found->owned)
    std::free(found->begin - guardBytes);
  ranges.erase(found);
  return status;
}

const Memory::Range *Memory::find(uintptr_t address, size_t bytes) const {
  auto after =
      std::upper_bound(ranges.begin(), ranges.end(), address, startsAfter);
  if (after == ranges.begin())
    return nullptr;
  const Range &range = *std::prev(after);
  return range.holds(address, bytes) ? &range : nullptr;
}

/// A distance that says nothing.
static constexpr uintptr_t far = uintptr_t(1) << 30;

static std::string describeFar(uintptr_t address) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%llx",
                static_cast<unsigned long long>(address));
  return text("at address 0x", digits, ", far from every allocation");
}

std::string Memory::describe(uintptr_t address, size_t bytes) const {
  auto after =
      std::upper_bound(ranges.begin(), ranges.end(), address, startsAfter);
  const Range *below = after == ranges.begin() ? nullptr : &*std::prev(after);
  const Range *above = after == ranges.end() ? nullptr : &*after;
  uintptr_t end = below ? addressOf(*below) + below->size : 0;
  if (below && address < end)
    return text("of which the last ", address + bytes - end,
                " lie after the end of ", quote(below->name), " (", below->size,
                " bytes)");
  uintptr_t back = below ? address - end : UINTPTR_MAX;
  uintptr_t ahead = above ? addressOf(*above) - address : UINTPTR_MAX;
  if (std::min(back, ahead) > far)
    return describeFar(address);
  if (back <= ahead)
    return text(back, " bytes after the end of ", quote(below->name), " (",
                below->size, " bytes)");
  return text(ahead, " bytes before ", quote(above->name), " (", above->size,
              " bytes)");
}

} // namespace moe::emu
