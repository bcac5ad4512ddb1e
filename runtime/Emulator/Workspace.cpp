#include "runtime/Emulator/Workspace.h"

#include <cstdlib>

namespace moe::emu {

static thread_local std::unique_ptr<Workspace> spare;

Workspace::Lease::Lease() : space(std::move(spare)) {
  if (!space)
    space = std::make_unique<Workspace>();
}

Workspace::Lease::~Lease() { spare = std::move(space); }

Workspace::~Workspace() { std::free(window); }

uint8_t *Workspace::shared() {
  if (!window)
    window =
        static_cast<uint8_t *>(std::aligned_alloc(sharedWindow, sharedWindow));
  return window;
}

} // namespace moe::emu
