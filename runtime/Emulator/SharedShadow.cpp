#include "runtime/Emulator/SharedShadow.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstring>

namespace moe::emu {

using rt::quote;
using rt::text;

static constexpr size_t wordBytes = 4;

void Clocks::join(const Clocks &other) {
  for (uint32_t i = 0; i < count; ++i) {
    seen[i] = std::max(seen[i], other.seen[i]);
    fenced[i] = std::max(fenced[i], other.fenced[i]);
  }
}

void SharedShadow::startLaunch(size_t bytes, uint32_t warps) {
  this->warps = warps;
  size_t count = (bytes + wordBytes - 1) / wordBytes;
  words.resize(std::max(words.size(), count));
  reads.resize(std::max(reads.size(), count * warps));
}

void SharedShadow::startBlock() {
  if (++block == 0) { // after all numbers
    std::fill(words.begin(), words.end(), Word());
    block = 1;
  }
  std::fill(std::begin(clocks), std::end(clocks), Clocks());
}

void SharedShadow::synchronise(uint32_t group) {
  Clocks joined;
  for (uint32_t warp = 0; warp < warps; ++warp)
    if (group >> warp & 1)
      joined.join(clocks[warp]);
  for (uint32_t warp = 0; warp < warps; ++warp)
    joined.seen[warp] += group >> warp & 1;
  for (uint32_t warp = 0; warp < warps; ++warp)
    if (group >> warp & 1)
      clocks[warp] = joined;
}

void SharedShadow::release(uint32_t warp, Clocks &to) {
  ++clocks[warp].seen[warp];
  to.join(clocks[warp]);
}

void SharedShadow::fence(uint32_t warp) {
  Clocks &mine = clocks[warp];
  ++mine.seen[warp];
  std::copy(std::begin(mine.seen), std::end(mine.seen), mine.fenced);
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
  if (access.bytes >= wordBytes) // aligned, as all are
    return 15;
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
  return clocks[mine].seen[its] > word.writeClock;
}

/// Whether the asynchronous proxy sees what was written last.
bool SharedShadow::isFenced(const Word &word, uint32_t thread) const {
  if (word.write == Write::None || word.write == Write::Tensor)
    return true;
  return clocks[thread / warpSize].fenced[word.writer / warpSize] >
         word.writeClock;
}

int SharedShadow::readerOutOfOrder(size_t index, uint32_t bytes,
                                   uint32_t thread) const {
  uint32_t mine = thread / warpSize;
  uint32_t others = words[index].readers & ~(1u << mine);
  for (; others; others &= others - 1) {
    int warp = __builtin_ctz(others);
    const Read &last = reads[index * warps + warp];
    if ((last.bytes & bytes) && clocks[mine].seen[warp] <= last.clock)
      return warp;
  }
  return -1;
}

void SharedShadow::noteRead(size_t index, uint32_t bytes,
                            const Access &access) {
  uint32_t warp = access.thread / warpSize;
  uint32_t clock = clocks[warp].seen[warp];
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

bool SharedShadow::readByTensorCore(const Access &access) {
  if (!read(access))
    return false;
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i)
    if (!isFenced(words[i], access.thread))
      return findUnfenced(access, "multiplies", words[i]);
  return true;
}

void SharedShadow::readUntilNow(const Access &access) {
  uint32_t warp = access.thread / warpSize;
  uint32_t clock = clocks[warp].seen[warp];
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i)
    reads[i * warps + warp].clock = clock;
}

bool SharedShadow::seesWrite(const Access &access, bool byTensorUnit) {
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i) {
    Word &word = wordAt(i);
    if (!writeInOrder(word, 15, access.thread, Write::None))
      return findWriter(access, "uses", word);
    if (byTensorUnit && !isFenced(word, access.thread))
      return findUnfenced(access, "copies with the barrier in", word);
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
    word.writeClock = clocks[warp].seen[warp];
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

bool SharedShadow::startCopy(const Access &access, bool isTensor) {
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i) {
    Word &word = wordAt(i);
    const char *verb = "starts an asynchronous copy to";
    if (word.inFlight)
      return findCopyInFlight(access, verb, word);
    if (!writeInOrder(word, 15, access.thread, Write::Plain))
      return findWriter(access, verb, word);
    if (int warp = readerOutOfOrder(i, 15, access.thread); warp >= 0)
      return findReader(access, verb, word, static_cast<uint32_t>(warp));
    if (isTensor && !isFenced(word, access.thread))
      return findUnfenced(access, verb, word);
    word.inFlight = true;
    word.copier = static_cast<uint16_t>(access.thread);
    word.writeSite = access.site;
    word.written = 0;
    word.write = Write::None;
    word.readers = 0;
  }
  return true;
}

void SharedShadow::landed(const Access &access, Write kind, uint32_t writer,
                          uint32_t clock) {
  for (size_t i = firstWord(access), last = lastWord(access); i <= last; ++i) {
    Word &word = wordAt(i);
    word.inFlight = false;
    word.written = 15;
    word.write = kind;
    word.writeBytes = 15;
    word.writer = static_cast<uint16_t>(writer);
    word.writeClock = clock;
  }
}

void SharedShadow::endCopy(const Access &access) {
  uint32_t warp = access.thread / warpSize;
  landed(access, Write::Copy, access.thread, clocks[warp].seen[warp]);
}

void SharedShadow::endCounted(const Access &access, uint32_t column,
                              uint32_t clock, bool isTensor) {
  landed(access, isTensor ? Write::Tensor : Write::Copied, column * warpSize,
         clock);
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
               who(word.copier, word.writeSite), " is on its way; ",
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
  bool isCounted = word.write == Write::Copied || word.write == Write::Tensor;
  bool isCopy = isCounted || word.write == Write::Copy;
  found = text(what(access, verb), ", which ",
               who(isCopy ? word.copier : word.writer, word.writeSite),
               isCopy ? " copied asynchronously" : " wrote",
               isCounted ? "; wait for the barrier that counts the copy"
                         : " with no barrier since (data race); put a barrier "
                           "between");
  return false;
}

bool SharedShadow::findUnfenced(const Access &access, const char *verb,
                                const Word &word) {
  bool isCopy = word.write == Write::Copied || word.write == Write::Copy;
  found = text(what(access, verb), ", which ",
               who(isCopy ? word.copier : word.writer, word.writeSite),
               isCopy ? " copied" : " wrote",
               ", with no proxy fence since; put one between");
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
