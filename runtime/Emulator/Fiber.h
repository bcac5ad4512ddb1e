// Switching between the threads of a block, in one host thread.
#ifndef MOE_RUNTIME_EMULATOR_FIBER_H
#define MOE_RUNTIME_EMULATOR_FIBER_H

#include <cstddef>
#include <cstdint>

#ifndef __x86_64__
#define MOE_EMULATOR_UCONTEXT // slower, and everywhere
#endif
#ifdef MOE_EMULATOR_UCONTEXT
#include <ucontext.h>
#endif

namespace moe::emu {

/// Stacks of equal size, each with a page below that must not be touched.
class Stacks {
public:
  static constexpr size_t size = size_t(64) << 10;

  Stacks() = default;
  ~Stacks();
  Stacks(const Stacks &) = delete;
  Stacks &operator=(const Stacks &) = delete;

  /// Makes room for as many at least. False when there is no memory.
  bool map(size_t count);
  uint8_t *bottom(size_t index) const;

private:
  uint8_t *base = nullptr;
  size_t bytes = 0;
  size_t guard = 0;
  size_t mapped = 0;

  void unmap();
};

/// A place where execution can go on. A fiber may be left for good: what its
/// functions hold is not released then.
class Fiber {
public:
  /// The next switch to this fiber calls `entry`, which must not return.
  void prepare(uint8_t *stack, void (*entry)());
  /// Saves where we are in `*this` and goes on in `to`.
  void switchTo(Fiber &to) { go(to, /*isForGood=*/false); }
  /// The same, and nobody comes back.
  void leaveFor(Fiber &to) { go(to, /*isForGood=*/true); }
  /// First thing in `entry`.
  static void arrived();

private:
  void go(Fiber &to, bool isForGood);
  void switchStack(Fiber &to);
  void prepareStack(uint8_t *stack, void (*entry)());

#ifdef MOE_EMULATOR_UCONTEXT
  ucontext_t context;
#else
  void *stackPointer = nullptr;
#endif
  // For AddressSanitizer.
  const void *stackBottom = nullptr;
  size_t stackSize = 0;
  void *fakeStack = nullptr;
  void *calls = nullptr; // for ThreadSanitizer
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_FIBER_H
