#ifndef MOE_TOOLS_MOEBENCH_GPUPREDICT_H
#define MOE_TOOLS_MOEBENCH_GPUPREDICT_H

#include "tools/moe-bench/Options.h"

namespace moe::bench {
/// Prints what layers of experts are predicted to cost on a GPU, beside floors
/// and targets. Returns the exit code: 3 where a target is missed.
int runPredict(const Options &options);
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_GPUPREDICT_H
