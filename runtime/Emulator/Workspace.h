// What launches need, kept from one to the next.
#ifndef MOE_RUNTIME_EMULATOR_WORKSPACE_H
#define MOE_RUNTIME_EMULATOR_WORKSPACE_H

#include "runtime/Emulator/Fiber.h"
#include "runtime/Emulator/SharedShadow.h"

#include <memory>

namespace moe::emu {

/// Shared memory, what is known of it, and stacks. To map and clear these
/// takes longer than small launches run, so each host thread keeps those of its
/// last launch for the next.
class Workspace {
public:
  static constexpr size_t sharedWindow = size_t(256) << 10;

  /// One that nobody else has, until the lease ends.
  class Lease {
  public:
    Lease();
    ~Lease();
    Lease(const Lease &) = delete;
    Lease &operator=(const Lease &) = delete;
    Workspace *operator->() const { return space.get(); }

  private:
    std::unique_ptr<Workspace> space;
  };

  Workspace() = default;
  ~Workspace();
  Workspace(const Workspace &) = delete;
  Workspace &operator=(const Workspace &) = delete;

  /// `sharedWindow` bytes, aligned to as many; null when there is no memory.
  uint8_t *shared();

  SharedShadow shadow;
  Stacks stacks;

private:
  uint8_t *window = nullptr;
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_WORKSPACE_H
