#include "passes/RegisterPasses.h"

#include "passes/Raise/Passes.h"
#include "passes/Verify/Passes.h"

void moe::registerAllPasses() {
  registerRaisePasses();
  registerVerifyPasses();
}
