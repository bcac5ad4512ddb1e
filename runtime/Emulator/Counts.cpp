#include "runtime/Emulator/Counts.h"

#include <algorithm>

namespace moe::emu {

static bool isBefore(const SiteCounts &counts, std::string_view site) {
  return counts.site < site;
}

const SiteCounts *Counts::find(std::string_view site) const {
  auto it = std::lower_bound(sites.begin(), sites.end(), site, isBefore);
  return it != sites.end() && it->site == site ? &*it : nullptr;
}

SiteCounts &Counts::at(std::string_view site) {
  auto it = std::lower_bound(sites.begin(), sites.end(), site, isBefore);
  if (it == sites.end() || it->site != site) {
    it = sites.insert(it, SiteCounts());
    it->site = site;
  }
  return *it;
}

} // namespace moe::emu
