#ifndef MOE_CODEGEN_REPORT_PROFILEFACTS_H
#define MOE_CODEGEN_REPORT_PROFILEFACTS_H

#include "llvm/Support/JSON.h"

namespace moe {
namespace rt {
struct Profile;
} // namespace rt

/// What the report shows of a profile, as a run (see Report.h): its `layers`,
/// each with name, counts and, where they were measured,
///
///   tokens          number
///   mean_scores     [E], mean probability of each expert
///   median_ratio    of second to first weight
///   layer_cosine, block_cosine   means over tokens
///   output_norm     mean over tokens
llvm::json::Object profileFacts(const rt::Profile &profile);

} // namespace moe

#endif // MOE_CODEGEN_REPORT_PROFILEFACTS_H
