// Loads, stores and atomics.
#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"
#include "runtime/Emulator/Numbers.h"

namespace moe::emu {

using rt::quote;
using rt::text;

void Multiprocessor::checkAlignment(const void *address, uint32_t bytes,
                                    const char *verb, const char *site) {
  // A power of two.
  if ((reinterpret_cast<uintptr_t>(address) & (bytes - 1)) == 0)
    return;
  std::string what =
      text(verb, " ", bytes, " bytes at ", describePlace(address),
           ", misaligned; the address must be a multiple of ", bytes);
  fail(site, std::move(what));
}

void Multiprocessor::checkGlobal(const void *address, uint32_t bytes,
                                 bool isStore, const char *verb,
                                 const char *site) {
  uintptr_t where = reinterpret_cast<uintptr_t>(address);
  if (!lastRange || !lastRange->holds(where, bytes))
    lastRange = memory.find(where, bytes);
  if (!lastRange) {
    std::string what =
        text(verb, " ", bytes, " bytes of global memory, ",
             memory.describe(where, bytes), "; stay within an allocation");
    fail(site, std::move(what));
  }
  if (isStore && !lastRange->writable) {
    std::string what =
        text(verb, " ", bytes, " bytes of ", quote(lastRange->name),
             ", which kernels may only read");
    fail(site, std::move(what));
  }
}

SharedShadow::Access Multiprocessor::sharedAccess(const void *address,
                                                  uint32_t bytes,
                                                  const char *verb,
                                                  const char *site) {
  size_t offset = sharedOffset(address);
  if (offset + bytes > launch.sharedBytes)
    fail(site, text(verb, " ", bytes, " bytes at byte ", offset,
                    " of shared memory; the block has ", launch.sharedBytes,
                    " bytes"));
  checkAlignment(address, bytes, verb, site);
  for (const CountingBarrier &barrier : counting)
    if (offset < barrier.offset + CountingBarrier::bytes &&
        barrier.offset < offset + bytes)
      fail(site, text(verb, " ", bytes, " bytes at byte ", offset,
                      " of shared memory, where a barrier that counts is"));
  return {offset, bytes, thread, site};
}

void Multiprocessor::count(const void *address, uint32_t bytes,
                           Counter::Direction direction, const char *site) {
  if (counter)
    counter->access(site, thread,
                    isShared(address) ? Counter::Shared : Counter::Global,
                    reinterpret_cast<uintptr_t>(address), bytes, direction);
}

void *Multiprocessor::access(void *address, int32_t size, bool isStore,
                             const char *site) {
  const char *verb = isStore ? "writes" : "reads";
  uint32_t bytes = static_cast<uint32_t>(size);
  if (size < 1 || size > 16 || (bytes & (bytes - 1)))
    fail(site, text(verb, " ", size,
                    " bytes at once; a thread can access 1, "
                    "2, 4, 8 or 16"));
  if (isShared(address)) {
    SharedShadow::Access shared = sharedAccess(address, bytes, verb, site);
    if (isStore)
      checkOverwrites(shared);
    failIfFound(isStore ? shadow.write(shared) : shadow.read(shared), site);
  } else {
    checkGlobal(address, bytes, isStore, verb, site);
    checkAlignment(address, bytes, verb, site);
  }
  count(address, bytes, isStore ? Counter::Write : Counter::Read, site);
  return address;
}

void Multiprocessor::checkAtomic(void *address, const char *site) {
  const char *verb = "adds to";
  if (isShared(address)) {
    SharedShadow::Access shared = sharedAccess(address, 4, verb, site);
    checkOverwrites(shared);
    failIfFound(shadow.atomic(shared), site);
  } else {
    checkGlobal(address, 4, true, verb, site);
    checkAlignment(address, 4, verb, site);
  }
  count(address, 4, Counter::Both, site);
}

// Other host threads may run kernels on the same memory.
int32_t Multiprocessor::atomicAdd(int32_t *address, int32_t value,
                                  const char *site) {
  checkAtomic(address, site);
  return static_cast<int32_t>(
      __atomic_fetch_add(reinterpret_cast<uint32_t *>(address),
                         static_cast<uint32_t>(value), __ATOMIC_RELAXED));
}

float Multiprocessor::atomicAdd(float *address, float value, const char *site) {
  checkAtomic(address, site);
  uint32_t *bits = reinterpret_cast<uint32_t *>(address);
  uint32_t before = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(
      bits, &before, bitsOf(floatOf(before) + value), /*weak=*/true,
      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return floatOf(before);
}

} // namespace moe::emu
