#ifndef MOE_TOOLS_MOEBENCH_LIMITS_H
#define MOE_TOOLS_MOEBENCH_LIMITS_H

namespace moe::bench {
/// Upper quartile of several runs of a loop of independent f32 FMAs on one
/// core, in GFLOP/s: 512-bit vectors where the machine has them, else 256.
double measureFmaPeak();

/// The same for one stream of reads through 256 MiB, in GB/s.
double measureReadBandwidth();
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_LIMITS_H
