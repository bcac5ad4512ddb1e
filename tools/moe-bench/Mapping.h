#ifndef MOE_TOOLS_MOEBENCH_MAPPING_H
#define MOE_TOOLS_MOEBENCH_MAPPING_H

#include <cstddef>
#include <string>

namespace moe::bench {
/// The largest piece of a file that is mapped here: where a loaded model's
/// weights lie. Null data when there is none.
struct Mapping {
  const char *data = nullptr;
  size_t size = 0;
};
Mapping largestMapping(const std::string &path);
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_MAPPING_H
