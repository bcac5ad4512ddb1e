#include "runtime/Emulator/Fiber.h"

#include <sys/mman.h>
#include <unistd.h>

// There when the program runs under AddressSanitizer, which wants to know of
// every change of the stack.
extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void **fakeStack,
                                                          const void *bottom,
                                                          size_t size);
__attribute__((weak)) void
__sanitizer_finish_switch_fiber(void *fakeStack, const void **oldBottom,
                                size_t *oldSize);
__attribute__((weak)) void
__asan_unpoison_memory_region(const volatile void *address, size_t size);
// And under ThreadSanitizer, which keeps a stack of calls for each.
__attribute__((weak)) void *__tsan_get_current_fiber(void);
__attribute__((weak)) void *__tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_destroy_fiber(void *fiber);
__attribute__((weak)) void __tsan_switch_to_fiber(void *fiber, unsigned flags);
}

namespace moe::emu {

//===----------------------------------------------------------------------===//
// Stacks
//===----------------------------------------------------------------------===//

bool Stacks::map(size_t count) {
  if (count <= mapped)
    return true;
  unmap();
  guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  bytes = count * (guard + size);
  void *begin = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED)
    return false;
  base = static_cast<uint8_t *>(begin);
  for (size_t i = 0; i < count; ++i)
    if (mprotect(base + i * (guard + size), guard, PROT_NONE))
      return false;
  mapped = count;
  return true;
}

uint8_t *Stacks::bottom(size_t index) const {
  return base + index * (guard + size) + guard;
}

Stacks::~Stacks() { unmap(); }

void Stacks::unmap() {
  if (!base)
    return;
  if (__asan_unpoison_memory_region)
    __asan_unpoison_memory_region(base, bytes);
  munmap(base, bytes);
  base = nullptr;
  mapped = 0;
}

//===----------------------------------------------------------------------===//
// Switching, by hand or by the system
//===----------------------------------------------------------------------===//

#ifndef MOE_EMULATOR_UCONTEXT

// Callee-saved registers only. Kernels leave the floating-point control words
// alone, so they stay as they are.
extern "C" void moegpu_emu_switch_stack(void **save, void *load);
asm(R"(.text
.globl moegpu_emu_switch_stack
.hidden moegpu_emu_switch_stack
.type moegpu_emu_switch_stack, @function
moegpu_emu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size moegpu_emu_switch_stack, .-moegpu_emu_switch_stack
)");

void Fiber::prepareStack(uint8_t *stack, void (*entry)()) {
  // As if `entry` had been called: a return address lies above, 16-byte
  // aligned from its end; six registers wait to be popped below.
  void **top = reinterpret_cast<void **>(stack + Stacks::size);
  *--top = nullptr;
  *--top = reinterpret_cast<void *>(entry);
  for (int i = 0; i < 6; ++i)
    *--top = nullptr;
  stackPointer = top;
}

void Fiber::switchStack(Fiber &to) {
  moegpu_emu_switch_stack(&stackPointer, to.stackPointer);
}

#else

void Fiber::prepareStack(uint8_t *stack, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = Stacks::size;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}

void Fiber::switchStack(Fiber &to) { swapcontext(&context, &to.context); }

#endif

//===----------------------------------------------------------------------===//
// Fibers
//===----------------------------------------------------------------------===//

// AddressSanitizer tells the bounds of the stack that was left; those of the
// host's are not known otherwise.
static thread_local const void **leftBottom = nullptr;
static thread_local size_t *leftSize = nullptr;

void Fiber::prepare(uint8_t *stack, void (*entry)()) {
  if (__asan_unpoison_memory_region)
    __asan_unpoison_memory_region(stack, Stacks::size);
  stackBottom = stack;
  stackSize = Stacks::size;
  fakeStack = nullptr;
  if (__tsan_create_fiber) {
    if (calls)
      __tsan_destroy_fiber(calls);
    calls = __tsan_create_fiber(0);
  }
  prepareStack(stack, entry);
}

void Fiber::go(Fiber &to, bool isForGood) {
  if (__tsan_switch_to_fiber) {
    if (!calls) // the thread that began
      calls = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to.calls, 0);
  }
  if (!__sanitizer_start_switch_fiber) {
    switchStack(to);
    return;
  }
  leftBottom = &stackBottom;
  leftSize = &stackSize;
  __sanitizer_start_switch_fiber(isForGood ? nullptr : &fakeStack,
                                 to.stackBottom, to.stackSize);
  switchStack(to);
  __sanitizer_finish_switch_fiber(fakeStack, leftBottom, leftSize);
}

void Fiber::arrived() {
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(nullptr, leftBottom, leftSize);
}

} // namespace moe::emu
