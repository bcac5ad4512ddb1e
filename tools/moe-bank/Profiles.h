// Expert profiles on the command line.
#ifndef MOE_TOOLS_MOE_BANK_PROFILES_H
#define MOE_TOOLS_MOE_BANK_PROFILES_H

#include "runtime/Bank/Profile.h"

namespace moe {

/// Prints a line per layer.
void listProfile(const rt::Profile &profile);

/// Writes the sum of the profiles at `inputs` to `output`.
rt::Status mergeProfiles(const std::string &output,
                         const std::vector<std::string> &inputs);

} // namespace moe

#endif // MOE_TOOLS_MOE_BANK_PROFILES_H
