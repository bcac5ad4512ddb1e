#include "passes/RegisterPasses.h"

#include "passes/Verify/Passes.h"

void moe::registerAllPasses() { registerVerifyPasses(); }
