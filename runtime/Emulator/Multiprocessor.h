// Runs the blocks of a launch; every function of EmulatorAbi.h ends up here.
#ifndef MOE_RUNTIME_EMULATOR_MULTIPROCESSOR_H
#define MOE_RUNTIME_EMULATOR_MULTIPROCESSOR_H

#include "runtime/Emulator/AsyncCopies.h"
#include "runtime/Emulator/Counter.h"
#include "runtime/Emulator/CountingBarrier.h"
#include "runtime/Emulator/Emulator.h"
#include "runtime/Emulator/ReadyThreads.h"
#include "runtime/Emulator/Warpgroup.h"
#include "runtime/Emulator/Workspace.h"
#include "runtime/Runner/Random.h"

#include <memory>

namespace moe::emu {

/// What the lanes of a warp do together.
struct Act {
  enum Kind : uint8_t {
    Barrier,
    Shuffle,
    Ballot,
    Mma,
    Ldmatrix,
    Wgmma,
    WgmmaWait,
    Registers
  };

  Kind kind = Barrier;
  const char *site = nullptr;
  int32_t barrier = 0; // of a barrier: id and number of threads
  int32_t threads = 0;
};

/// The lanes of a warp that have come to an act. The last one does it for all.
struct Meeting {
  uint32_t lanes = 0;
  Act act;
  void *deposits[warpSize];
};

struct Warp {
  uint32_t ended = 0; // lanes
  Meeting meeting;
};

struct Barrier {
  uint32_t warps = 0; // that wait, a bit each
  int32_t threads = 0;
  const char *site = nullptr; // of the first of them
};

/// Runs one block after another; each thread is a fiber with a stack. The
/// first error is kept and the block left for good.
class Multiprocessor {
public:
  static constexpr int32_t numBarriers = 16;
  static constexpr uint32_t numRegisters = 1 << 16;

  Multiprocessor(const Launch &launch, const Memory &memory,
                 const Options &options, Counter *counter);
  Multiprocessor(const Multiprocessor &) = delete;
  Multiprocessor &operator=(const Multiprocessor &) = delete;

  rt::Status prepare();
  rt::Status runBlock(uint32_t index);

  /// Of the kernel that runs on this host thread.
  static Multiprocessor &current() { return *running; }
  /// Of the launch on this host thread; 0 where there is none.
  static uint64_t roughness() {
    return running ? running->options.roughness : 0;
  }

  // What threads call. None of them returns after an error.
  uint32_t threadId() const { return thread; }
  uint32_t blockId() const { return block; }
  uint32_t gridSize() const { return launch.blocks; }
  void *shared() const { return sharedBase; }
  void *access(void *address, int32_t bytes, bool isStore, const char *site);
  void barrier(int32_t id, int32_t threads, const char *site);
  int32_t shuffle(int32_t value, int32_t lane, int32_t kind, const char *site);
  int32_t ballot(int32_t predicate, const char *site);
  void mma(float *d, const int32_t *a, const int32_t *b, const float *c,
           int32_t kind, const char *site);
  void ldmatrix(int32_t *registers, void *rows, int32_t count, bool transposed,
                const char *site);
  void asyncCopy(void *to, const void *from, int32_t size, int32_t valid,
                 const char *site);
  void asyncCommit();
  void asyncWait(int32_t pending, const char *site);
  void barrierInit(void *at, int32_t count, const char *site);
  void barrierArrive(void *at, int32_t bytes, const char *site);
  void barrierArriveCopies(void *at, const char *site);
  void barrierWait(void *at, int32_t parity, const char *site);
  void tensorLoad(const void *map, const int32_t at[3], void *to, void *barrier,
                  const char *site);
  void proxyFence();
  void maxRegisters(int32_t count, const char *site);
  /// Of the four steps of 32 bytes of rows; 0 `count`: rows of `a` are in
  /// shared memory, too, and have all four.
  struct Steps {
    int32_t first = 0, count = 0;
  };
  void wgmma(float *d, const void *a, Steps steps, const void *b,
             const float *c, int32_t columns, int32_t kind, const char *site);
  void wgmmaFence(const char *site);
  void wgmmaCommit(const char *site);
  void wgmmaWait(int32_t pending, const char *site);
  void wgmmaFinish(float *d, const float *c, int32_t count, const char *site);
  int32_t atomicAdd(int32_t *address, int32_t value, const char *site);
  float atomicAdd(float *address, float value, const char *site);

private:
  // Scheduling.
  static void threadMain();
  void endThread();
  void wait();
  Fiber &next();

  // Meeting.
  /// Hands in a pointer. True for the last lane: it acts for all and dismisses
  /// them; the others are back when it has.
  bool meet(const Act &act, void *deposit);
  void dismiss(uint32_t warp);
  template <typename Deposit>
  Deposit &deposit(uint32_t lane) {
    return *static_cast<Deposit *>(
        warps[thread / warpSize].meeting.deposits[lane]);
  }

  // Memory.
  bool isShared(const void *address) const {
    return sharedOffset(address) < sharedWindow;
  }
  size_t sharedOffset(const void *address) const {
    return reinterpret_cast<uintptr_t>(address) -
           reinterpret_cast<uintptr_t>(sharedBase);
  }
  void checkAlignment(const void *address, uint32_t bytes, const char *verb,
                      const char *site);
  void checkGlobal(const void *address, uint32_t bytes, bool isStore,
                   const char *verb, const char *site);
  void checkAtomic(void *address, const char *site);
  /// Checks bounds and alignment, not yet what the shadow knows.
  SharedShadow::Access sharedAccess(const void *address, uint32_t bytes,
                                    const char *verb, const char *site);
  void failIfFound(bool isFine, const char *site) {
    if (!isFine)
      fail(site, shadow.finding());
  }
  void count(const void *address, uint32_t bytes, Counter::Direction direction,
             const char *site);
  void landSomeCopy();
  bool landWhatIsWaitedFor();
  void landBox(size_t index);

  // Barriers that count.
  CountingBarrier *barrierAt(size_t offset);
  CountingBarrier &usedBarrier(void *at, const char *verb, bool byTensorUnit,
                               const char *site);
  void checkPhase(CountingBarrier &barrier, const char *site);
  void arrive(CountingBarrier &barrier, const char *site);
  void arriveForCopies(uint32_t thread);

  // Products of warpgroups.
  Warpgroup &warpgroup(const char *site);
  void startProduct(Warpgroup &group, uint32_t columns, int32_t kind,
                    const char *site);
  size_t checkOperand(const void *at, uint32_t rows, const char *site);
  void finishProducts(Warpgroup &group, uint32_t last);
  void waitForProducts(Warpgroup &group, uint32_t pending);
  void checkOverwrites(const SharedShadow::Access &access);
  /// `body(lane of the warpgroup, register, number of the sum)`.
  template <typename Body>
  static void forSums(uint32_t columns, Body body) {
    for (uint32_t lane = 0; lane < warpgroupSize; ++lane)
      for (uint32_t i = 0; i < columns / 2; ++i)
        body(lane, i,
             (lane / 32 * 16 + lane % 32 / 4 + i / 2 % 2 * 8) *
                     size_t(columns) +
                 i / 4 * 8 + lane % 4 * 2 + i % 2);
  }

  // Errors.
  /// `site` may be null. Strings that the caller holds are lost.
  [[noreturn]] void fail(const char *site, std::string what);
  [[noreturn]] void failDivergence(const Act *mine);
  std::string describeDivergence(const Act *mine) const;
  std::string describeDeadlock() const;
  std::string describeWaiters() const;
  std::string describePlace(const void *address) const;

  const Launch &launch;
  const Memory &memory;
  const Options &options;
  Counter *counter; // null: none
  const uint32_t numWarps;
  rt::Random random;

  static constexpr size_t sharedWindow = Workspace::sharedWindow;
  Workspace::Lease space;
  uint8_t *sharedBase = nullptr;
  SharedShadow &shadow;
  const Memory::Range *lastRange = nullptr;

  std::unique_ptr<Fiber[]> fibers;
  Fiber host;
  ReadyThreads ready;
  Warp warps[maxWarps];
  Barrier barriers[numBarriers];
  std::vector<AsyncCopies> copies; // of each thread
  std::vector<TensorCopy> boxes;   // on their way
  std::vector<CountingBarrier> counting;
  uint32_t columnClocks[Clocks::count] = {};
  std::vector<Warpgroup> warpgroups;
  std::vector<float> left, right;    // operands of a product
  uint32_t fencing[maxWarps] = {};   // lanes that have passed a proxy fence
  uint32_t registers[maxWarps] = {}; // that warps asked for
  /// In late mode, of a block: how rarely copies land before they must.
  uint64_t landingPeriod = 1;
  uint32_t thread = 0;
  uint32_t block = 0;
  uint32_t alive = 0;
  rt::Status error;

  static thread_local Multiprocessor *running;
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_MULTIPROCESSOR_H
