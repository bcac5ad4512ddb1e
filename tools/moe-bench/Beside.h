#ifndef MOE_TOOLS_MOEBENCH_BESIDE_H
#define MOE_TOOLS_MOEBENCH_BESIDE_H

#include "tools/moe-bench/Options.h"

namespace moe::bench {
/// Several models in turn, each in a process of its own: times, bytes of their
/// files, and how much memory they take. Returns the exit code.
int runBeside(const Options &options);

/// Such a process: prints "ready NAME", then answers each line of standard
/// input: "size" with the bytes of the file and of the most memory that was
/// resident, others with times in milliseconds of a round (five runs on the
/// inputs; a prompt, then its tokens).
int runServe(const Options &options);
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_BESIDE_H
