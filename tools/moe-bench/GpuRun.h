#ifndef MOE_TOOLS_MOEBENCH_GPURUN_H
#define MOE_TOOLS_MOEBENCH_GPURUN_H

#include "tools/moe-bench/Options.h"

namespace moe::bench {
/// Runs layers of experts on a GPU, checks them against f64 arithmetic,
/// measures them and prints them beside floors, predictions and targets.
/// Returns the exit code: 3 where results are wrong.
int runGpu(const Options &options);
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_GPURUN_H
