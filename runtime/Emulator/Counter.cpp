#include "runtime/Emulator/Counter.h"

#include <algorithm>

namespace moe::emu {

uint64_t countSectors(const Request &request) {
  uintptr_t sectors[warpSize * 2]; // an aligned access touches one
  size_t count = 0;
  for (uint32_t lane = 0; lane < warpSize; ++lane)
    if (request.lanes >> lane & 1)
      sectors[count++] = request.address[lane] / 32;
  std::sort(sectors, sectors + count);
  return static_cast<uint64_t>(std::unique(sectors, sectors + count) - sectors);
}

/// Passes that the lanes [first, last) need.
static uint64_t countPasses(const Request &request, uint32_t first,
                            uint32_t last) {
  uintptr_t words[warpSize * 4];
  size_t count = 0;
  for (uint32_t lane = first; lane < last; ++lane)
    if (request.lanes >> lane & 1)
      for (uint32_t i = 0; i < request.bytes[lane]; i += 4)
        words[count++] = (request.address[lane] + i) / 4;
  std::sort(words, words + count);
  uint64_t inBank[32] = {}, most = 0;
  for (const uintptr_t *word = words, *end = std::unique(words, words + count);
       word != end; ++word)
    most = std::max(most, ++inBank[*word % 32]);
  return most;
}

uint64_t countBankConflicts(const Request &request) {
  uint32_t widest = 4;
  for (uint32_t lane = 0; lane < warpSize; ++lane)
    if (request.lanes >> lane & 1)
      widest = std::max<uint32_t>(widest, request.bytes[lane]);
  uint32_t group = warpSize * 4 / widest;
  uint64_t conflicts = 0;
  for (uint32_t lane = 0; lane < warpSize; lane += group)
    if (uint64_t passes = countPasses(request, lane, lane + group))
      conflicts += passes - 1;
  return conflicts;
}

uint32_t Counter::indexOf(const char *site) {
  Recent &last = recent[reinterpret_cast<uintptr_t>(site) / 8 % 64];
  if (last.site == site && site)
    return last.index;
  auto [it, isNew] =
      indices.try_emplace(site, static_cast<uint32_t>(names.size()));
  if (isNew) {
    names.push_back(site);
    sums.emplace_back();
    open.resize(names.size() * warps * 2);
  }
  last = {site, it->second};
  return it->second;
}

void Counter::addBytes(SiteCounts &sum, Space space, uint64_t bytes,
                       Direction direction) {
  Traffic &traffic = space == Global ? sum.global : sum.shared;
  if (direction & Read)
    traffic.bytesRead += bytes;
  if (direction & Write)
    traffic.bytesWritten += bytes;
}

void Counter::close(SiteCounts &sum, Space space, const Request &request) {
  if (space == Global) {
    ++sum.global.requests;
    sum.sectors += countSectors(request);
  } else {
    ++sum.shared.requests;
    sum.bankConflicts += countBankConflicts(request);
  }
}

void Counter::access(const char *site, uint32_t thread, Space space,
                     uintptr_t address, uint32_t bytes, Direction direction) {
  uint32_t index = indexOf(site);
  addBytes(sums[index], space, bytes, direction);
  uint32_t warp = thread / warpSize, lane = thread % warpSize;
  uint32_t place = (index * warps + warp) * 2 + space;
  Open &here = open[place];
  if (here.requests.empty())
    waiting[warp].push_back(place);
  uint32_t visit = here.visits[lane]++;
  if (visit == here.requests.size())
    here.requests.emplace_back();
  here.requests[visit].set(lane, address, bytes);
}

void Counter::request(const char *site, Space space, const Request &request,
                      Direction direction) {
  SiteCounts &sum = sums[indexOf(site)];
  uint64_t bytes = 0;
  for (uint32_t lane = 0; lane < warpSize; ++lane)
    if (request.lanes >> lane & 1)
      bytes += request.bytes[lane];
  addBytes(sum, space, bytes, direction);
  close(sum, space, request);
}

void Counter::bulk(const char *site, uint64_t bytesRead,
                   uint64_t bytesWritten) {
  SiteCounts &sum = sums[indexOf(site)];
  ++sum.global.requests, ++sum.shared.requests;
  sum.global.bytesRead += bytesRead;
  sum.shared.bytesWritten += bytesWritten;
  sum.sectors += (bytesRead + 31) / 32;
}

void Counter::converge(uint32_t warp) {
  for (uint32_t place : waiting[warp]) {
    Open &here = open[place];
    SiteCounts &sum = sums[place / (warps * 2)];
    for (const Request &request : here.requests)
      close(sum, static_cast<Space>(place % 2), request);
    here.requests.clear();
    std::fill(std::begin(here.visits), std::end(here.visits), 0);
  }
  waiting[warp].clear();
}

void Counter::endBlock() {
  for (uint32_t warp = 0; warp < warps; ++warp)
    converge(warp);
}

static void add(Traffic &to, const Traffic &from) {
  to.requests += from.requests;
  to.bytesRead += from.bytesRead;
  to.bytesWritten += from.bytesWritten;
}

void Counter::addTo(Counts &counts) const {
  for (size_t i = 0; i < names.size(); ++i) {
    SiteCounts &to = counts.at(names[i]);
    const SiteCounts &from = sums[i];
    add(to.global, from.global);
    add(to.shared, from.shared);
    to.sectors += from.sectors;
    to.bankConflicts += from.bankConflicts;
    to.mma += from.mma;
  }
}

} // namespace moe::emu
