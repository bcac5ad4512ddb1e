#include "runtime/Emulator/Multiprocessor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace moe::emu {

using rt::Code;
using rt::Status;

thread_local Multiprocessor *Multiprocessor::running = nullptr;

Multiprocessor::Multiprocessor(const Launch &launch, const Memory &memory,
                               const Options &options, Counter *counter)
    : launch(launch), memory(memory), options(options), counter(counter),
      numWarps(launch.threads / warpSize), random(options.seed),
      shadow(launch.sharedBytes, numWarps), copies(launch.threads),
      warpgroups(launch.threads / warpgroupSize) {}

Multiprocessor::~Multiprocessor() { std::free(sharedBase); }

Status Multiprocessor::prepare() {
  sharedBase =
      static_cast<uint8_t *>(std::aligned_alloc(sharedWindow, sharedWindow));
  if (!sharedBase || !stacks.map(launch.threads))
    return {Code::OutOfMemory, "no memory to emulate a block of threads"};
  fibers = std::make_unique<Fiber[]>(launch.threads);
  return {};
}

Status Multiprocessor::runBlock(uint32_t index) {
  block = index;
  alive = launch.threads;
  shadow.startBlock();
  std::memset(sharedBase, 0xFF, launch.sharedBytes); // NaN
  std::fill(std::begin(warps), std::end(warps), Warp());
  std::fill(std::begin(barriers), std::end(barriers), Barrier());
  counting.clear();
  std::fill(warpgroups.begin(), warpgroups.end(), Warpgroup());
  std::fill(std::begin(fencing), std::end(fencing), 0);
  std::fill(std::begin(registers), std::end(registers), 0);
  landingPeriod = uint64_t(1) << random.below(8);
  ready.start(launch.threads);
  for (uint32_t i = 0; i < launch.threads; ++i) {
    fibers[i].prepare(stacks.bottom(i), threadMain);
    ready.add(i);
  }
  Multiprocessor *before = std::exchange(running, this);
  host.switchTo(next());
  running = before;
  if (counter)
    counter->endBlock();
  return error;
}

void Multiprocessor::threadMain() {
  Fiber::arrived();
  Multiprocessor &processor = current();
  processor.launch.entry(processor.launch.arguments);
  processor.endThread();
}

/// Where to go on: in another thread, or in the host when none can.
Fiber &Multiprocessor::next() {
  if (alive == 0)
    return host;
  while (ready.empty() && landWhatIsWaitedFor()) {
  }
  if (ready.empty()) {
    error = Status(Code::ModelFailed, describeDeadlock());
    return host;
  }
  if (options.late)
    landSomeCopy();
  thread = options.seed ? ready.takeAny(random) : ready.take();
  return fibers[thread];
}

/// Until somebody puts the thread among those that are ready.
void Multiprocessor::wait() {
  Fiber &mine = fibers[thread];
  // What it waits for may land in `next`.
  if (Fiber &to = next(); &to != &mine)
    mine.switchTo(to);
}

void Multiprocessor::endThread() {
  Warp &warp = warps[thread / warpSize];
  if (const AsyncCopies::Copy *copy = copies[thread].oldest())
    fail(copy->site, "the thread ends while its asynchronous copy is on its "
                     "way; commit and wait for it");
  if (alive == 1 && !boxes.empty())
    fail(boxes.front().site, "the block ends while the box is on its way; wait "
                             "for the barrier that counts it");
  warp.ended |= 1u << thread % warpSize;
  if (warp.meeting.lanes)
    failDivergence(nullptr);
  --alive;
  Fiber &mine = fibers[thread];
  mine.leaveFor(next());
}

} // namespace moe::emu
