#include "runtime/Emulator/SharedShadow.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstring>

namespace moe::emu {

using rt::quote;
using rt::text;

static constexpr size_t wordBytes = 4;

SharedShadow::SharedShadow(size_t bytes, uint32_t warps)
    : warps(warps), words((bytes + wordBytes - 1) / wordBytes),
      reads(words.size() * warps) {
  startBlock();
}

void SharedShadow::startBlock() {
  ++block;
  std::memset(clocks, 0, sizeof clocks);
}

void SharedShadow::synchronise(uint32_t group) {
  uint32_t joined[maxWarps] = {};
  for (uint32_t warp = 0; warp < warps; ++warp)
    if (group >> warp & 1)
      for (uint32_t other = 0; other < warps; ++other)
        joined[other] = std::max(joined[other], clocks[warp][other]);
  for (uint32_t warp = 0; warp < warps; ++warp)
    joined[warp] += group >> warp & 1;
  for (uint32_t warp = 0; warp < warps; ++warp)
    if (group >> warp & 1)
      std::memcpy(clocks[warp], joined, sizeof joined);
}

SharedShadow::Word &SharedShadow::wordAt(size_t index) {
  Word &word = words[index];
  if (word.block != block) {
    word = {};
    word.block = block;
  }
  return word;
}

/// The bytes of a word that an access touches, one bit each.
static uint32_t bytesIn(const SharedShadow::Access &access, size_t index) {
  size_t begin = std::max(access.offset, index * wordBytes);
  size_t end =
      std::min(access.offset + access.bytes, index * wordBytes + wordBytes);
  return ((1u << (end - begin)) - 1) << (begin % wordBytes);
}

static size_t firstWord(const SharedShadow::Access &access) {
  return access.offset / wordBytes;
}

static size_t lastWord(const SharedShadow::Access &access) {
  return (access.offset + access.bytes - 1) / wordBytes;
}

bool SharedShadow::writeInOrder(const Word &word, uint32_t bytes,
                                uint32_t thread, Write kind) const {
  if (word.write == Write::None || !(word.writeBytes & bytes))
    return true;
  if (word.write == Write::Atomic && kind == Write::Atomic)
    return true;
  uint32_t mine = thread / warpSize, its = word.writer / warpSize;
  if (mine == its && (word.write != Write::Copy || word.writer == thread))
    return true;
  return clocks[mine][its] > word.writeClock;
}

int SharedShadow::readerOutOfOrder(size_t index, uint32_t bytes,
                                   uint32_t thread) const {
  uint32_t mine = thread / warpSize;
  uint32_t others = words[index].readers & ~(1u << mine);
  for (; others; others &= others - 1) {
    int warp = __builtin_ctz(others);
    const Read &last = reads[index * warps + warp];
    if ((last.bytes & bytes) && clocks[mine][warp] <= last.clock)
      return warp;
  }
  return -1;
}

void SharedShadow::noteRead(size_t index, uint32_t bytes,
                            const Access &access) {
  uint32_t warp = access.thread / warpSize;
  uint32_t clock = clocks[warp][warp];
  Word &word = words[index];
  Read &last = reads[index * warps + warp];
  bool again = (word.readers >> warp & 1) && last.clock == clock;
  last.bytes = again ? last.bytes | bytes : bytes;
  last.clock = clock;
  word.readers |= 1u << warp;
  word.reader = static_cast<uint16_t>(access.thread);
  word.readSite = access.site;
}

bool SharedShadow::read(const Access &access) {
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i) {
    Word &word = wordAt(i);
    uint32_t bytes = bytesIn(access, i);
    if (word.inFlight)
      return findCopyInFlight(access, "reads", word);
    if ((word.written & bytes) != bytes)
      return findUnwritten(access);
    if (!writeInOrder(word, bytes, access.thread, Write::None))
      return findWriter(access, "reads", word);
    noteRead(i, bytes, access);
  }
  return true;
}

bool SharedShadow::store(const Access &access, Write kind) {
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i) {
    Word &word = wordAt(i);
    uint32_t bytes = bytesIn(access, i);
    if (word.inFlight)
      return findCopyInFlight(access, "writes", word);
    if (!writeInOrder(word, bytes, access.thread, kind))
      return findWriter(access, "writes", word);
    if (int warp = readerOutOfOrder(i, bytes, access.thread); warp >= 0)
      return findReader(access, "writes", word, static_cast<uint32_t>(warp));
    uint32_t warp = access.thread / warpSize;
    word.written |= bytes & 15;
    word.writeBytes = bytes & 15;
    word.write = kind;
    word.writer = static_cast<uint16_t>(access.thread);
    word.writeClock = clocks[warp][warp];
    word.writeSite = access.site;
    if (bytes == 15)
      word.readers = 0; // all before this write
  }
  return true;
}

bool SharedShadow::write(const Access &access) {
  return store(access, Write::Plain);
}

bool SharedShadow::atomic(const Access &access) {
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i) {
    uint32_t bytes = bytesIn(access, i);
    const Word &word = wordAt(i);
    if (!word.inFlight && (word.written & bytes) != bytes)
      return findUnwritten(access);
  }
  return store(access, Write::Atomic);
}

bool SharedShadow::startCopy(const Access &access) {
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i) {
    Word &word = wordAt(i);
    const char *verb = "starts an asynchronous copy to";
    if (word.inFlight)
      return findCopyInFlight(access, verb, word);
    if (!writeInOrder(word, 15, access.thread, Write::Plain))
      return findWriter(access, verb, word);
    if (int warp = readerOutOfOrder(i, 15, access.thread); warp >= 0)
      return findReader(access, verb, word, static_cast<uint32_t>(warp));
    word.inFlight = true;
    word.copier = static_cast<uint16_t>(access.thread);
    word.copySite = access.site;
    word.written = 0;
    word.write = Write::None;
    word.readers = 0;
  }
  return true;
}

void SharedShadow::endCopy(const Access &access) {
  uint32_t warp = access.thread / warpSize;
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i) {
    Word &word = wordAt(i);
    word.inFlight = false;
    word.written = 15;
    word.write = Write::Copy;
    word.writeBytes = 15;
    word.writer = word.copier;
    word.writeClock = clocks[warp][warp];
    word.writeSite = word.copySite;
  }
}

//===----------------------------------------------------------------------===//
// Findings
//===----------------------------------------------------------------------===//

static std::string what(const SharedShadow::Access &access, const char *verb) {
  return text(verb, " shared bytes ", access.offset, " to ",
              access.offset + access.bytes - 1);
}

static std::string who(uint32_t thread, const char *site) {
  return text("thread ", thread, " (warp ", thread / warpSize, ") at ",
              quote(site));
}

bool SharedShadow::findCopyInFlight(const Access &access, const char *verb,
                                    const Word &word) {
  bool own = word.copier == access.thread;
  found = text(what(access, verb), " while an asynchronous copy to them by ",
               who(word.copier, word.copySite), " is on its way; ",
               own ? "the thread must commit and wait for it first"
                   : "that thread must commit and wait for it, then a barrier "
                     "must follow");
  return false;
}

bool SharedShadow::findUnwritten(const Access &access) {
  found = text(what(access, "reads"),
               ", which nobody in the block has written; write them first");
  return false;
}

bool SharedShadow::findWriter(const Access &access, const char *verb,
                              const Word &word) {
  found = text(what(access, verb), ", which ", who(word.writer, word.writeSite),
               word.write == Write::Copy ? " copied asynchronously" : " wrote",
               " with no barrier since (data race); put a barrier between");
  return false;
}

bool SharedShadow::findReader(const Access &access, const char *verb,
                              const Word &word, uint32_t warp) {
  std::string reader = word.reader / warpSize == warp
                           ? who(word.reader, word.readSite)
                           : text("warp ", warp);
  found = text(what(access, verb), ", which ", reader,
               " read with no barrier since (data race); put a barrier "
               "between");
  return false;
}

} // namespace moe::emu
