#include "runtime/Emulator/AsyncCopies.h"

#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"

#include <cstring>

namespace moe::emu {

using rt::text;

void AsyncCopies::issue(Copy copy) {
  // Pipelines never run dry, so what is done goes before the queue grows.
  if (first > 32 && copies.size() == copies.capacity()) {
    copies.erase(copies.begin(), copies.begin() + static_cast<long>(first));
    first = 0;
  }
  copy.group = groups;
  copies.push_back(copy);
  ++issued;
}

void AsyncCopies::landAll() {
  for (size_t i = 0; i < size(); ++i)
    land(i);
}

const AsyncCopies::Arrival *AsyncCopies::landedArrival() const {
  if (arrivals.empty())
    return nullptr;
  uint64_t finished = issued - size();
  for (uint64_t i = finished; i < arrivals.front().copies; ++i)
    if (!copies[first + (i - finished)].landed)
      return nullptr;
  return &arrivals.front();
}

const AsyncCopies::Copy *AsyncCopies::finishFor(const Arrival &arrival) {
  if (size() == 0 || issued - size() >= arrival.copies)
    return nullptr;
  return &copies[first++];
}

void AsyncCopies::land(size_t index) {
  Copy &copy = copies[first + index];
  if (copy.landed)
    return;
  copy.landed = true;
  std::memcpy(copy.to, copy.from, copy.valid);
  std::memset(copy.to + copy.valid, 0, copy.size - copy.valid);
}

const AsyncCopies::Copy *AsyncCopies::finishOne(uint32_t pending) {
  if (size() == 0 || groups - copies[first].group <= pending)
    return nullptr;
  land(0);
  return &copies[first++];
}

void Multiprocessor::asyncCopy(void *to, const void *from, int32_t size,
                               int32_t valid, const char *site) {
  const char *verb = "starts an asynchronous copy of";
  if (size != 4 && size != 8 && size != 16)
    fail(site, text(verb, " ", size, " bytes; it takes 4, 8 or 16"));
  if (valid < 0 || valid > size)
    fail(site, text(verb, " ", size, " bytes of which ", valid,
                    " are valid; it takes 0 to ", size));
  if (!isShared(to))
    fail(site, text(verb, " ", size,
                    " bytes to global memory; the "
                    "destination must be shared memory"));
  if (isShared(from) && valid)
    fail(site, text(verb, " ", size,
                    " bytes from shared memory; the source "
                    "must be global memory"));
  uint32_t bytes = static_cast<uint32_t>(size);
  SharedShadow::Access target = sharedAccess(to, bytes, verb, site);
  if (valid) {
    checkGlobal(from, static_cast<uint32_t>(valid), false, verb, site);
    checkAlignment(from, bytes, verb, site);
    count(from, static_cast<uint32_t>(valid), Counter::Read, site);
  }
  checkOverwrites(target);
  failIfFound(shadow.startCopy(target), site);
  count(to, bytes, Counter::Write, site);
  AsyncCopies &mine = copies[thread];
  mine.issue({static_cast<uint8_t *>(to), static_cast<const uint8_t *>(from),
              static_cast<uint8_t>(size), static_cast<uint8_t>(valid), false, 0,
              site});
  if (!options.late)
    mine.land(mine.size() - 1);
}

void Multiprocessor::asyncCommit() { copies[thread].commit(); }

void Multiprocessor::asyncWait(int32_t pending, const char *site) {
  if (pending < 0)
    fail(site, text("waits until ", pending,
                    " groups of copies are on their way; it takes 0 or more"));
  AsyncCopies &mine = copies[thread];
  while (const AsyncCopies::Copy *copy =
             mine.finishOne(static_cast<uint32_t>(pending)))
    shadow.endCopy({sharedOffset(copy->to), copy->size, thread, copy->site});
  arriveForCopies(thread);
}

/// One that is on its way anywhere in the block, at times.
void Multiprocessor::landSomeCopy() {
  if (random.below(landingPeriod))
    return;
  if (!boxes.empty() && random.below(2))
    landBox(random.below(boxes.size()));
  uint32_t some = static_cast<uint32_t>(random.below(launch.threads));
  if (!copies[some].size())
    return;
  copies[some].land(random.below(copies[some].size()));
  arriveForCopies(some);
}

/// Where all wait, copies that barriers count land. False where there are none.
bool Multiprocessor::landWhatIsWaitedFor() {
  if (!boxes.empty()) {
    landBox(random.below(boxes.size()));
    return true;
  }
  uint32_t from = static_cast<uint32_t>(random.below(launch.threads));
  for (uint32_t i = 0; i < launch.threads; ++i) {
    uint32_t some = (from + i) % launch.threads;
    if (!copies[some].hasArrivals())
      continue;
    copies[some].landAll();
    arriveForCopies(some);
    return true;
  }
  return false;
}

} // namespace moe::emu
