// mbarrier objects: phases that end after arrivals and bytes.
#ifndef MOE_RUNTIME_EMULATOR_COUNTINGBARRIER_H
#define MOE_RUNTIME_EMULATOR_COUNTINGBARRIER_H

#include "runtime/Emulator/SharedShadow.h"
#include "runtime/Emulator/TensorMap.h"

namespace moe::emu {

struct CountingBarrier {
  static constexpr uint32_t bytes = 8, mostCount = (1 << 20) - 1;

  size_t offset = 0; // in shared memory
  uint32_t count = 0;
  uint32_t pending = 0;     // arrivals that this phase lacks
  int64_t bytesMissing = 0; // expected and not there, or the reverse
  uint32_t phase = 0;
  uint32_t column = 0; // its clock, of the copies that it counted
  Clocks arriving, arrived;

  struct Waiter {
    uint32_t thread;
    uint32_t parity;
    const char *site;
  };
  std::vector<Waiter> waiters;

  bool hasEnded(uint32_t parity) const { return (phase & 1) != parity; }
};

/// A box on its way to shared memory. It reads its source when it lands.
struct TensorCopy {
  TensorMap map;
  int64_t at[3]; // number of the row, row, matrix
  uint8_t *to;
  size_t barrier; // where in shared memory
  uint32_t thread;
  const char *site;
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_COUNTINGBARRIER_H
