// What warps and blocks do together, but for matrices.
#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"

#include <cstring>

namespace moe::emu {

using rt::text;

static bool isSame(const Act &a, const Act &b) {
  return a.kind == b.kind && a.barrier == b.barrier && a.threads == b.threads &&
         (a.site == b.site || std::strcmp(a.site, b.site) == 0);
}

bool Multiprocessor::meet(const Act &act, void *deposit) {
  Warp &warp = warps[thread / warpSize];
  Meeting &meeting = warp.meeting;
  uint32_t lane = thread % warpSize;
  if (warp.ended || (meeting.lanes && !isSame(meeting.act, act)))
    failDivergence(&act);
  if (!meeting.lanes)
    meeting.act = act;
  meeting.lanes |= 1u << lane;
  meeting.deposits[lane] = deposit;
  if (meeting.lanes == ~0u) {
    if (counter)
      counter->converge(thread / warpSize);
    return true;
  }
  wait();
  return false;
}

/// Lets the warp's lanes go on, but for the running thread.
void Multiprocessor::dismiss(uint32_t warp) {
  warps[warp].meeting.lanes = 0;
  for (uint32_t i = warp * warpSize; i < (warp + 1) * warpSize; ++i)
    if (i != thread)
      ready.add(i);
}

void Multiprocessor::barrier(int32_t id, int32_t threads, const char *site) {
  int32_t all = static_cast<int32_t>(launch.threads);
  if (threads == 0)
    threads = all;
  if (id < 0 || id >= numBarriers)
    fail(site, text("waits at barrier ", id, "; a block has barriers 0 to ",
                    numBarriers - 1));
  if (threads < 0 || threads > all || threads % int32_t(warpSize))
    fail(site, text("waits at barrier ", id, " for ", threads,
                    " threads; it takes a multiple of ", warpSize,
                    ", at most the block's ", all));
  if (!meet({Act::Barrier, site, id, threads}, nullptr))
    return;
  Barrier &here = barriers[id];
  if (here.warps == 0) {
    here.threads = threads;
    here.site = site;
  } else if (here.threads != threads) {
    std::string what =
        text("waits at barrier ", id, " for ", threads, " threads, but ",
             rt::quote(here.site), " waits there for ", here.threads,
             "; all must give the same number");
    fail(site, std::move(what));
  }
  here.warps |= 1u << thread / warpSize;
  if (__builtin_popcount(here.warps) * int32_t(warpSize) < threads) {
    wait();
    return;
  }
  uint32_t group = here.warps;
  here.warps = 0;
  shadow.synchronise(group);
  for (uint32_t warp = 0; warp < numWarps; ++warp)
    if (group >> warp & 1)
      dismiss(warp);
}

namespace {
struct Shuffle {
  int32_t value;
  int32_t lane;
  int32_t result;
};

struct Vote {
  int32_t predicate;
  int32_t result;
};
} // namespace

/// The lane that `lane` reads from.
static uint32_t sourceOf(uint32_t lane, int32_t operand, int32_t kind) {
  uint32_t by = static_cast<uint32_t>(operand) % warpSize; // as the GPU does
  switch (kind) {
  case 0:
    return lane ^ by;
  case 1:
    return lane < by ? lane : lane - by;
  case 2:
    return lane + by < warpSize ? lane + by : lane;
  default:
    return by;
  }
}

int32_t Multiprocessor::shuffle(int32_t value, int32_t lane, int32_t kind,
                                const char *site) {
  if (kind < 0 || kind > 3)
    fail(site, text("shuffles in mode ", kind, "; there are modes 0 to 3"));
  Shuffle mine = {value, lane, 0};
  if (meet({Act::Shuffle, site}, &mine)) {
    for (uint32_t i = 0; i < warpSize; ++i) {
      Shuffle &one = deposit<Shuffle>(i);
      one.result = deposit<Shuffle>(sourceOf(i, one.lane, kind)).value;
    }
    dismiss(thread / warpSize);
  }
  return mine.result;
}

int32_t Multiprocessor::ballot(int32_t predicate, const char *site) {
  Vote mine = {predicate, 0};
  if (meet({Act::Ballot, site}, &mine)) {
    uint32_t votes = 0;
    for (uint32_t i = 0; i < warpSize; ++i)
      votes |= static_cast<uint32_t>(deposit<Vote>(i).predicate != 0) << i;
    for (uint32_t i = 0; i < warpSize; ++i)
      deposit<Vote>(i).result = static_cast<int32_t>(votes);
    dismiss(thread / warpSize);
  }
  return mine.result;
}

} // namespace moe::emu
