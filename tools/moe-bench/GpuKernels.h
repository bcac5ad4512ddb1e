// PTX of layers of experts.
#ifndef MOE_TOOLS_MOEBENCH_GPUKERNELS_H
#define MOE_TOOLS_MOEBENCH_GPUKERNELS_H

#include "runtime/Core/Status.h"
#include "tools/moe-bench/Options.h"

namespace moe::bench {
/// Out of `options.kernels`, or as moe-opt makes it.
rt::Result<std::string> layerPtx(const Options &options,
                                 const LayerShape &shape,
                                 const std::string &arch);

/// Makes that of all layers, as files in `options.makeKernels`. Returns the
/// exit code.
int runMakeKernels(const Options &options);
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_GPUKERNELS_H
