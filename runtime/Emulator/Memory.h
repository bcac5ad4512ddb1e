// Global memory: what kernels may touch.
#ifndef MOE_RUNTIME_EMULATOR_MEMORY_H
#define MOE_RUNTIME_EMULATOR_MEMORY_H

#include "runtime/Core/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moe::emu {

/// The allocations of a device, by address. Bytes start as NaN of every float
/// type. Launches on several host threads may share one as long as nobody
/// allocates or frees meanwhile.
class Memory {
public:
  struct Range {
    uint8_t *begin = nullptr;
    size_t size = 0;
    std::string name;
    bool writable = true;
    bool owned = false;

    bool holds(uintptr_t address, size_t bytes) const {
      uintptr_t offset = address - reinterpret_cast<uintptr_t>(begin);
      return offset <= size && bytes <= size - offset;
    }
  };

  Memory() = default;
  ~Memory();
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  /// 256-byte aligned, guarded on both sides. `name` is for messages.
  rt::Result<void *> allocate(size_t bytes, std::string name);
  /// Memory of somebody else, who keeps it until it is removed by `free`.
  rt::Status add(void *begin, size_t bytes, std::string name);
  /// The same, and kernels only read it.
  rt::Status addReadOnly(const void *begin, size_t bytes, std::string name);
  /// Of what was allocated or added. Fails when its guards were overwritten.
  rt::Status free(const void *begin);

  /// The range that holds all of the bytes, or null.
  const Range *find(uintptr_t address, size_t bytes) const;
  /// Says where bytes lie that no range holds: "8 bytes after the end of ...".
  std::string describe(uintptr_t address, size_t bytes) const;
  /// Names an allocation whose guards were overwritten.
  rt::Status checkGuards() const;

private:
  rt::Status insert(Range range);

  std::vector<Range> ranges; // by address
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_MEMORY_H
