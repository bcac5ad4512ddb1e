// What threads do with barriers that count.
#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"

#include <algorithm>
#include <utility>

namespace moe::emu {

using rt::text;

CountingBarrier *Multiprocessor::barrierAt(size_t offset) {
  auto found = std::find_if(
      counting.begin(), counting.end(),
      [&](const CountingBarrier &b) { return b.offset == offset; });
  return found == counting.end() ? nullptr : &*found;
}

CountingBarrier &Multiprocessor::usedBarrier(void *at, const char *verb,
                                             bool byTensorUnit,
                                             const char *site) {
  CountingBarrier *barrier =
      isShared(at) ? barrierAt(sharedOffset(at)) : nullptr;
  if (!barrier)
    fail(site, text(verb, " at ", describePlace(at),
                    ", where no barrier that counts was made"));
  SharedShadow::Access access = {barrier->offset, CountingBarrier::bytes,
                                 thread, site};
  failIfFound(shadow.seesWrite(access, byTensorUnit), site);
  return *barrier;
}

void Multiprocessor::barrierInit(void *at, int32_t count, const char *site) {
  if (!isShared(at))
    fail(site, "makes a barrier in global memory; it lies in shared memory");
  SharedShadow::Access access =
      sharedAccess(at, CountingBarrier::bytes, "makes a barrier of", site);
  if (count < 1 || count > int32_t(CountingBarrier::mostCount))
    fail(site, text("makes a barrier that counts to ", count,
                    "; it takes 1 to ", CountingBarrier::mostCount));
  failIfFound(shadow.write(access), site);
  if (barrierAt(access.offset))
    fail(site, text("makes a barrier at byte ", access.offset,
                    ", where there is one"));
  CountingBarrier made;
  made.offset = access.offset;
  made.count = made.pending = static_cast<uint32_t>(count);
  // Clocks may be shared: who waits for one barrier is then taken to know of
  // another's copies.
  made.column = maxWarps + static_cast<uint32_t>(counting.size()) % maxWarps;
  counting.push_back(std::move(made));
}

/// Ends the phase where nothing is missing.
void Multiprocessor::checkPhase(CountingBarrier &barrier, const char *site) {
  if (barrier.pending)
    return;
  if (barrier.bytesMissing < 0)
    fail(site, text("the barrier at byte ", barrier.offset, " has got ",
                    -barrier.bytesMissing,
                    " bytes more than were expected; expect the bytes of all "
                    "boxes"));
  if (barrier.bytesMissing)
    return;
  uint32_t parity = barrier.phase++ & 1;
  barrier.pending = barrier.count;
  barrier.arrived.join(barrier.arriving);
  barrier.arrived.seen[barrier.column] = ++columnClocks[barrier.column];
  for (const CountingBarrier::Waiter &waiter : barrier.waiters)
    if (waiter.parity == parity)
      ready.add(waiter.thread);
  barrier.waiters.clear();
}

void Multiprocessor::arrive(CountingBarrier &barrier, const char *site) {
  if (!barrier.pending)
    fail(site, text("arrives at the barrier at byte ", barrier.offset,
                    ", whose ", barrier.count,
                    " arrivals of this phase have been; as many threads must "
                    "arrive as it counts"));
  --barrier.pending;
  checkPhase(barrier, site);
}

void Multiprocessor::barrierArrive(void *at, int32_t bytes, const char *site) {
  CountingBarrier &barrier = usedBarrier(at, "arrives", false, site);
  if (bytes < 0)
    fail(site, text("expects ", bytes, " bytes"));
  shadow.release(thread / warpSize, barrier.arriving);
  barrier.bytesMissing += bytes;
  arrive(barrier, site);
}

void Multiprocessor::barrierArriveCopies(void *at, const char *site) {
  CountingBarrier &barrier = usedBarrier(at, "arrives", false, site);
  shadow.release(thread / warpSize, barrier.arriving);
  AsyncCopies &mine = copies[thread];
  mine.arriveAfter(barrier.offset, site);
  if (!options.late)
    mine.landAll();
  arriveForCopies(thread);
}

/// Arrivals that waited for copies of a thread which are there now.
void Multiprocessor::arriveForCopies(uint32_t of) {
  AsyncCopies &its = copies[of];
  uint32_t running = std::exchange(thread, of); // whom errors name
  while (const AsyncCopies::Arrival *arrival = its.landedArrival()) {
    CountingBarrier &barrier = *barrierAt(arrival->barrier);
    uint32_t clock = columnClocks[barrier.column];
    while (const AsyncCopies::Copy *copy = its.finishFor(*arrival))
      shadow.endCounted({sharedOffset(copy->to), copy->size, of, copy->site},
                        barrier.column, clock, /*isTensor=*/false);
    const char *site = arrival->site;
    its.dropArrival();
    arrive(barrier, site);
  }
  thread = running;
}

void Multiprocessor::barrierWait(void *at, int32_t parity, const char *site) {
  CountingBarrier *barrier = &usedBarrier(at, "waits", false, site);
  if (parity != 0 && parity != 1)
    fail(site, text("waits for parity ", parity, "; phases have 0 or 1"));
  size_t offset = barrier->offset;
  uint32_t wanted = static_cast<uint32_t>(parity);
  if (!barrier->hasEnded(wanted)) {
    barrier->waiters.push_back({thread, wanted, site});
    wait();
    barrier = barrierAt(offset);
  }
  shadow.acquire(thread / warpSize, barrier->arrived);
}

} // namespace moe::emu
