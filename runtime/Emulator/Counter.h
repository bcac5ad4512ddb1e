// Counts the accesses of a launch while it runs.
#ifndef MOE_RUNTIME_EMULATOR_COUNTER_H
#define MOE_RUNTIME_EMULATOR_COUNTER_H

#include "runtime/Emulator/Counts.h"
#include "runtime/Emulator/SharedShadow.h"

#include <unordered_map>

namespace moe::emu {

/// What the lanes of a warp access in one request.
struct Request {
  uint32_t lanes = 0;
  uint8_t bytes[warpSize];
  uintptr_t address[warpSize];

  void set(uint32_t lane, uintptr_t where, uint32_t size) {
    lanes |= 1u << lane;
    bytes[lane] = static_cast<uint8_t>(size);
    address[lane] = where;
  }
};

/// Distinct sectors of 32 bytes.
uint64_t countSectors(const Request &request);
/// 32 banks of 4 bytes. Lanes go in groups whose accesses fill all banks once:
/// 32 lanes of up to 4 bytes, 16 of 8, 8 of 16. A group takes as many passes
/// as the busiest bank has distinct words; one is free.
uint64_t countBankConflicts(const Request &request);

/// Puts accesses of lanes together to requests: the n-th access of each lane
/// at a site, since its warp last met (barrier or collective), is one.
class Counter {
public:
  enum Space { Global, Shared };
  enum Direction : int { Read = 1, Write = 2, Both = 3 };

  explicit Counter(uint32_t warps) : warps(warps) {}

  void access(const char *site, uint32_t thread, Space space, uintptr_t address,
              uint32_t bytes, Direction direction);
  /// A request of a whole warp.
  void request(const char *site, Space space, const Request &request,
               Direction direction);
  /// A copy of whole rows from global to shared memory.
  void bulk(const char *site, uint64_t bytesRead, uint64_t bytesWritten);
  void mma(const char *site) { ++sums[indexOf(site)].mma; }
  /// The warp's lanes have come together.
  void converge(uint32_t warp);
  void endBlock();
  void addTo(Counts &counts) const;

private:
  /// Requests of a warp at a site that may lack lanes.
  struct Open {
    uint32_t visits[warpSize] = {};
    std::vector<Request> requests;
  };

  uint32_t indexOf(const char *site);
  void addBytes(SiteCounts &sum, Space space, uint64_t bytes,
                Direction direction);
  void close(SiteCounts &sum, Space space, const Request &request);

  uint32_t warps;
  struct Recent {
    const char *site = nullptr;
    uint32_t index = 0;
  };
  Recent recent[64]; // in front of `indices`
  std::unordered_map<const char *, uint32_t> indices;
  std::vector<const char *> names;
  std::vector<SiteCounts> sums;
  std::vector<Open> open;                  // site, warp, space
  std::vector<uint32_t> waiting[maxWarps]; // of `open`, with requests
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_COUNTER_H
