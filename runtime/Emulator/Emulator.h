// Runs GPU kernels on the CPU and looks for what they do wrong.
#ifndef MOE_RUNTIME_EMULATOR_EMULATOR_H
#define MOE_RUNTIME_EMULATOR_EMULATOR_H

#include "runtime/Core/Status.h"
#include "runtime/Core/Symbols.h"
#include "runtime/Emulator/Counts.h"
#include "runtime/Emulator/Memory.h"

#include <cstdint>

namespace moe::emu {

/// What a block may have on compute capability 9.0.
constexpr uint32_t maxThreads = 1024;
constexpr size_t maxSharedBytes = size_t(227) << 10;

struct Launch {
  const char *name = "";
  uint32_t blocks = 0;  // none: nothing runs
  uint32_t threads = 0; // of a block, whole warps
  size_t sharedBytes = 0;
  /// Called once by every thread. It must own nothing that needs a destructor:
  /// after an error it is left where it stands.
  void (*entry)(void **arguments) = nullptr;
  void **arguments = nullptr;
};

struct Options {
  /// Of the order of threads and, when `late`, of blocks and copies. With 0
  /// threads take turns in order.
  uint64_t seed = 0;
  /// Asynchronous copies land at random points until they are waited for;
  /// otherwise at once.
  bool late = false;
  /// Adds to the `counts` that were passed.
  bool count = false;
  /// Not 0: approximations (`exp2`, `reciprocal`) are as far off as PTX lets
  /// them be; whether up or down, this and the operand decide.
  uint64_t roughness = 0;
};

/// Runs a kernel to its end, or to the first error, which the status explains
/// (ModelFailed). Threads are fibers of the calling thread; several host
/// threads may run launches at a time.
rt::Status run(const Launch &launch, Memory &memory, const Options &options,
               Counts *counts = nullptr);

/// The functions of EmulatorAbi.h, for code that is compiled in memory; ends
/// with an entry without a name.
const rt::RuntimeSymbol *emulatorSymbols();

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_EMULATOR_H
