#include "test/unit/codegen/Schedules.h"
#include "llvm/ADT/StringRef.h"
#include <cstdio>
#include <cstdlib>

using namespace moe;

static unsigned lateSchedules() {
  const char *text = std::getenv("MOE_EMULATOR_SEEDS");
  unsigned count = 1;
  if (text && (llvm::StringRef(text).getAsInteger(10, count) || count < 1 ||
               count > 99)) {
    std::fprintf(stderr,
                 "error: MOE_EMULATOR_SEEDS is '%s': it takes a number from 1 "
                 "to 99\n",
                 text);
    std::exit(2);
  }
  return count;
}

const std::vector<emu::Options> &test::schedules() {
  static const std::vector<emu::Options> all = [] {
    std::vector<emu::Options> made(1 + lateSchedules());
    for (size_t seed = 1; seed < made.size(); ++seed) {
      made[seed].seed = seed;
      made[seed].late = true;
    }
    return made;
  }();
  return all;
}
