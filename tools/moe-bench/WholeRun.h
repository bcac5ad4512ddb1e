#ifndef MOE_TOOLS_MOEBENCH_WHOLERUN_H
#define MOE_TOOLS_MOEBENCH_WHOLERUN_H

#include "tools/moe-bench/Options.h"

namespace moe::bench {
/// Times a model on given inputs, and a peer beside it. Returns the exit code.
int runWhole(const Options &options);

/// Times a prompt and then single tokens, each after all before it, with the
/// model's caches; and a peer beside it.
int runDecode(const Options &options);
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_WHOLERUN_H
