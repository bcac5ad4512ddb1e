// What is known about every byte of shared memory, to find wrong accesses.
#ifndef MOE_RUNTIME_EMULATOR_SHAREDSHADOW_H
#define MOE_RUNTIME_EMULATOR_SHAREDSHADOW_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace moe::emu {

constexpr uint32_t warpSize = 32;
constexpr uint32_t maxWarps = 32;

/// What somebody knows of others' accesses: those before these clocks have
/// happened; those before the fenced ones are seen by the asynchronous proxy,
/// too (wgmma, tensor copies). Besides warps, barriers that count have a clock,
/// of the copies that they counted.
struct Clocks {
  static constexpr uint32_t count = 2 * maxWarps;
  uint32_t seen[count] = {};
  uint32_t fenced[count] = {};

  void join(const Clocks &other);
};

/// Who wrote and read each word (4 bytes) last, and which asynchronous copy is
/// on its way to it. Two accesses of different warps are in order when a chain
/// of barriers lies between them that both took part in: each warp has a
/// vector clock, which barriers join. Warps are taken to run in lockstep, so
/// lanes of one do not race, except with a copy that another lane started.
///
/// All functions return false when they find something wrong; `finding` says
/// what, and what would be right.
class SharedShadow {
public:
  struct Access {
    size_t offset;
    uint32_t bytes;
    uint32_t thread;
    const char *site;
  };

  /// A new launch, of blocks of `warps` with `bytes` of shared memory.
  void startLaunch(size_t bytes, uint32_t warps);
  /// A new block: nothing was written, no barrier has been.
  void startBlock();
  bool read(const Access &access);
  /// The same by wgmma.
  bool readByTensorCore(const Access &access);
  /// It has read the words until now, and nobody has written to them.
  void readUntilNow(const Access &access);
  bool write(const Access &access);
  /// Reads and writes; in order with all of its kind.
  bool atomic(const Access &access);
  /// A copy to the words is on its way; `isTensor`: by the asynchronous proxy.
  bool startCopy(const Access &access, bool isTensor = false);
  /// Its thread has waited for it.
  void endCopy(const Access &access);
  /// It is there, and counted by a barrier whose copies have the clock `column`
  /// at `clock`; who has waited for that barrier may use it.
  void endCounted(const Access &access, uint32_t column, uint32_t clock,
                  bool isTensor);
  /// The words were written before, as the thread (and, `byTensorUnit`, the
  /// asynchronous proxy) can see.
  bool seesWrite(const Access &access, bool byTensorUnit);
  /// The warps (a bit each) have met at a barrier.
  void synchronise(uint32_t warps);
  /// A warp tells what it knows and did, or learns what others did.
  void release(uint32_t warp, Clocks &to);
  void acquire(uint32_t warp, const Clocks &from) { clocks[warp].join(from); }
  /// What the warp knows of is seen by the asynchronous proxy.
  void fence(uint32_t warp);

  const std::string &finding() const { return found; }

private:
  /// Copied: a copy that a barrier counted; Tensor: by a tensor copy.
  enum class Write : uint8_t { None, Plain, Atomic, Copy, Copied, Tensor };

  struct Word {
    uint32_t block = 0; // that the other fields are of
    uint32_t writeClock = 0;
    uint32_t readers = 0; // warps, since the last write
    uint16_t writer = 0;  // threads; a barrier's clock times warpSize
    uint16_t reader = 0;
    uint16_t copier = 0;
    uint8_t written : 4;    // bytes that hold something
    uint8_t writeBytes : 4; // bytes of the last write
    Write write = Write::None;
    bool inFlight = false;
    const char *writeSite = nullptr; // or of the copy that is on its way
    const char *readSite = nullptr;

    Word() : written(0), writeBytes(0) {}
  };
  /// The last read of a word by a warp.
  struct Read {
    uint32_t clock : 28;
    uint32_t bytes : 4;
  };

  Word &wordAt(size_t index);
  bool store(const Access &access, Write kind);
  void landed(const Access &access, Write kind, uint32_t writer,
              uint32_t clock);
  bool isFenced(const Word &word, uint32_t thread) const;
  bool writeInOrder(const Word &word, uint32_t bytes, uint32_t thread,
                    Write kind) const;
  /// A warp whose read is not in order with a write by `thread`, or -1.
  int readerOutOfOrder(size_t index, uint32_t bytes, uint32_t thread) const;
  void noteRead(size_t index, uint32_t bytes, const Access &access);
  bool findCopyInFlight(const Access &access, const char *verb,
                        const Word &word);
  bool findUnwritten(const Access &access);
  bool findWriter(const Access &access, const char *verb, const Word &word);
  bool findUnfenced(const Access &access, const char *verb, const Word &word);
  bool findReader(const Access &access, const char *verb, const Word &word,
                  uint32_t warp);

  uint32_t warps = 0;
  uint32_t block = 0; // counted over launches, so that words need no clearing
  Clocks clocks[maxWarps];
  std::vector<Word> words;
  std::vector<Read> reads; // of each word, by each warp
  std::string found;
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_SHAREDSHADOW_H
