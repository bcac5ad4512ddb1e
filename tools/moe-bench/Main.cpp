// moe-bench: how close to the machine's limits, and to a peer, generated code
// comes.
#include "tools/moe-bench/Beside.h"
#include "tools/moe-bench/GpuKernels.h"
#include "tools/moe-bench/GpuPredict.h"
#include "tools/moe-bench/GpuRun.h"
#include "tools/moe-bench/LayerRun.h"
#include "tools/moe-bench/Limits.h"
#include "tools/moe-bench/Options.h"
#include "tools/moe-bench/WholeRun.h"

using namespace moe::bench;

int main(int argc, char **argv) {
  Options options;
  bool done = false;
  if (!parseOptions(argc, argv, options, done))
    return 2;
  if (done)
    return 0;
  switch (options.mode) {
  case Options::Limits:
    return runLimits(options.threads, options.rounds);
  case Options::Predict:
    return runPredict(options);
  case Options::Gpu:
    return options.makeKernels.empty() ? runGpu(options)
                                       : runMakeKernels(options);
  case Options::Layer:
    return runLayer(options);
  case Options::Beside:
    return runBeside(options);
  case Options::Serve:
    return runServe(options);
  case Options::Decode:
    return runDecode(options);
  case Options::Whole:
    return runWhole(options);
  }
}
