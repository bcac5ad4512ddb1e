// In which orders emulated kernels are run.
#ifndef MOE_TEST_UNIT_CODEGEN_SCHEDULES_H
#define MOE_TEST_UNIT_CODEGEN_SCHEDULES_H

#include "runtime/Emulator/Emulator.h"
#include <vector>

namespace moe::test {
/// Threads in order, and copies that land at once; then threads in random
/// orders, and copies that land late, as many times as MOE_EMULATOR_SEEDS says
/// (1 to 99; 1 where it is not set; `tools/check --seeds`).
const std::vector<emu::Options> &schedules();
} // namespace moe::test

#endif // MOE_TEST_UNIT_CODEGEN_SCHEDULES_H
