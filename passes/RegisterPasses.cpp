#include "passes/RegisterPasses.h"

#include "passes/Compress/Passes.h"
#include "passes/Convert/Passes.h"
#include "passes/Kernels/Passes.h"
#include "passes/MoE/Passes.h"
#include "passes/Raise/Passes.h"
#include "passes/Verify/Passes.h"

void moe::registerAllPasses() {
  registerCompressPasses();
  registerConvertPasses();
  registerKernelPasses();
  registerMoEPasses();
  registerRaisePasses();
  registerVerifyPasses();
}
