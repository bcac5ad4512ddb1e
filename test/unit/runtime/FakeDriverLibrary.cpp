// The fake driver as a library, to be found as the real one is.
#include "test/unit/runtime/FakeDriver.h"

namespace {
moe::test::FakeDriver instance;
}

/// For tests, which set it up before the driver is looked for.
extern "C" moe::test::FakeDriver *moe_fake_driver() { return &instance; }
