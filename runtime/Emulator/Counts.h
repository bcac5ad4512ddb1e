// How much memory traffic and work each operation of a kernel causes.
#ifndef MOE_RUNTIME_EMULATOR_COUNTS_H
#define MOE_RUNTIME_EMULATOR_COUNTS_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moe::emu {

/// Of one kind of memory. A request is one instruction of a warp.
struct Traffic {
  uint64_t requests = 0;
  uint64_t bytesRead = 0;
  uint64_t bytesWritten = 0;
};

/// Sums over all blocks and runs.
struct SiteCounts {
  std::string site;
  Traffic global;
  /// Sectors of 32 bytes that requests touch, each counted once per request.
  uint64_t sectors = 0;
  Traffic shared;
  /// Passes over the banks beyond those that a request without conflicts needs.
  uint64_t bankConflicts = 0;
  uint64_t mma = 0;
};

struct Counts {
  std::vector<SiteCounts> sites; // by name

  /// Null when the site never ran.
  const SiteCounts *find(std::string_view site) const;
  /// Adds a site, or returns the one that is there.
  SiteCounts &at(std::string_view site);
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_COUNTS_H
