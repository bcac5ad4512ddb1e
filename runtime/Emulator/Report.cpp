// Words for what went wrong.
#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"

#include <map>

namespace moe::emu {

using rt::Code;
using rt::quote;
using rt::Status;
using rt::text;

static std::string describeThread(uint32_t thread) {
  return text("thread ", thread, " (warp ", thread / warpSize, ", lane ",
              thread % warpSize, ")");
}

/// "lanes 0 to 3 and 7".
static std::string describeLanes(uint32_t lanes) {
  std::string out = __builtin_popcount(lanes) == 1 ? "lane " : "lanes ";
  const char *separator = "";
  for (uint32_t first = 0; first < warpSize; ++first) {
    if (!(lanes >> first & 1))
      continue;
    uint32_t last = first;
    while (last + 1 < warpSize && (lanes >> (last + 1) & 1))
      ++last;
    out += text(separator, first);
    if (last > first)
      out += text(last > first + 1 ? " to " : ", ", last);
    separator = ", ";
    first = last;
  }
  return out;
}

static std::string describeAct(const Act &act) {
  switch (act.kind) {
  case Act::Barrier:
    return text("barrier ", act.barrier, " of ", act.threads, " threads at ",
                quote(act.site));
  case Act::Shuffle:
    return text("the shuffle at ", quote(act.site));
  case Act::Ballot:
    return text("the ballot at ", quote(act.site));
  case Act::Mma:
    return text("the mma at ", quote(act.site));
  case Act::Ldmatrix:
    return text("the ldmatrix at ", quote(act.site));
  case Act::Wgmma:
    return text("the wgmma at ", quote(act.site));
  case Act::WgmmaWait:
    return text("the wait for products at ", quote(act.site));
  case Act::Registers:
    return text("the change of registers at ", quote(act.site));
  }
  return {};
}

std::string Multiprocessor::describePlace(const void *address) const {
  if (isShared(address))
    return text("byte ", sharedOffset(address), " of shared memory");
  uintptr_t where = reinterpret_cast<uintptr_t>(address);
  if (const Memory::Range *range = memory.find(where, 1))
    return text("byte ", where - reinterpret_cast<uintptr_t>(range->begin),
                " of ", quote(range->name));
  return text("address ", where);
}

/// `mine` is what the running thread comes to; null when it ends.
std::string Multiprocessor::describeDivergence(const Act *mine) const {
  const Warp &warp = warps[thread / warpSize];
  std::string out =
      text("divergence: the thread ",
           mine ? "comes to " + describeAct(*mine) : std::string("ends"));
  if (uint32_t ended = mine ? warp.ended : 0)
    out += text(", but ", describeLanes(ended), " of its warp ",
                __builtin_popcount(ended) == 1 ? "has" : "have", " ended");
  else
    out += text(" while ", describeLanes(warp.meeting.lanes), " of its warp ",
                __builtin_popcount(warp.meeting.lanes) == 1 ? "waits" : "wait",
                " in ", describeAct(warp.meeting.act));
  return out + "; all lanes of a warp must do it together";
}

void Multiprocessor::failDivergence(const Act *mine) {
  std::string what = describeDivergence(mine);
  fail(mine ? mine->site : nullptr, std::move(what));
}

/// "2 of 3 arrivals and 64 bytes".
static std::string describeMissing(const CountingBarrier &barrier) {
  std::string out = text(barrier.pending, " of ", barrier.count, " arrivals");
  if (barrier.bytesMissing > 0)
    out += text(" and ", barrier.bytesMissing, " bytes");
  return out;
}

std::string Multiprocessor::describeWaiters() const {
  std::string out;
  for (const CountingBarrier &barrier : counting) {
    if (barrier.waiters.empty())
      continue;
    std::map<std::string, std::pair<uint32_t, uint32_t>> sites;
    for (const CountingBarrier::Waiter &waiter : barrier.waiters)
      ++sites.try_emplace(waiter.site, 0, waiter.thread).first->second.first;
    for (const auto &[site, who] : sites)
      out += text(who.first, who.first == 1 ? " thread waits" : " threads wait",
                  " at ", quote(site), " (", describeThread(who.second), "), ");
    out += text("for the barrier at byte ", barrier.offset, ", whose phase ",
                barrier.phase, " lacks ", describeMissing(barrier), "; ");
  }
  for (uint32_t i = 0; i < warpgroups.size(); ++i)
    if (warpgroups[i].arrived)
      out += text(__builtin_popcount(warpgroups[i].arrived),
                  " warps of warpgroup ", i, " wait at ",
                  quote(warpgroups[i].site), " for the others; ");
  return out;
}

/// Who waits where. Only barriers and warpgroups can be waited for in vain:
/// lanes that miss a meeting of their warp have ended or are elsewhere, which
/// is divergence.
std::string Multiprocessor::describeDeadlock() const {
  std::string out =
      text("kernel ", quote(launch.name), ", block ", block, ": deadlock: ");
  for (int32_t id = 0; id < numBarriers; ++id) {
    const Barrier &barrier = barriers[id];
    if (!barrier.warps)
      continue;
    std::map<std::string, uint32_t> sites;
    for (uint32_t warp = 0; warp < numWarps; ++warp)
      if (barrier.warps >> warp & 1)
        sites[warps[warp].meeting.act.site] += warpSize;
    const char *separator = "";
    for (const auto &[site, threads] : sites) {
      out += text(separator, threads, " threads wait at ", quote(site));
      separator = ", ";
    }
    out += text(" for barrier ", id, ", which takes ", barrier.threads, "; ");
  }
  out += describeWaiters();
  if (uint32_t ended = launch.threads - alive)
    out += text(ended, " threads have ended; ");
  return out + "as many threads must come to a barrier as it takes";
}

void Multiprocessor::fail(const char *site, std::string what) {
  {
    std::string taken = std::move(what); // nobody destroys `what`
    std::string at = site ? text(", at ", quote(site)) : std::string();
    error = Status(Code::ModelFailed,
                   text("kernel ", quote(launch.name), ", block ", block, ", ",
                        describeThread(thread), at, ": ", taken));
  }
  fibers[thread].leaveFor(host);
  __builtin_unreachable();
}

} // namespace moe::emu
