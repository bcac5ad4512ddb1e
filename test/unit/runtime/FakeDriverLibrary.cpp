// The fake driver as a library, to be found as the real one is.
#include "runtime/FakeDriver/FakeDriver.h"

namespace {
moe::fakecuda::FakeDriver instance;
}

/// For tests, which set it up before the driver is looked for.
extern "C" moe::fakecuda::FakeDriver *moe_fake_driver() { return &instance; }
