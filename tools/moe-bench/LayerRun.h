#ifndef MOE_TOOLS_MOEBENCH_LAYERRUN_H
#define MOE_TOOLS_MOEBENCH_LAYERRUN_H

#include "tools/moe-bench/Options.h"

namespace moe::bench {
/// Compiles a layer, checks it against f64 arithmetic, measures it and prints a
/// line for each number of tokens. Returns the exit code.
int runLayer(const Options &options);
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_LAYERRUN_H
