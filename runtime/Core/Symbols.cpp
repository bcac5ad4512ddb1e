#include "runtime/Core/Symbols.h"

#include "runtime/IRInterface.h"

namespace moe::rt {

const RuntimeSymbol *runtimeSymbols() {
#define SYMBOL(function)                                                       \
  {                                                                            \
    #function, reinterpret_cast<void *>(&function)                             \
  }
  static const RuntimeSymbol symbols[] = {
      SYMBOL(moert_alloc),     SYMBOL(moert_free),
      SYMBOL(moert_append),    SYMBOL(moert_parallel_for),
      SYMBOL(moert_offload),   SYMBOL(moert_scratch),
      SYMBOL(moert_fail),      SYMBOL(moert_observe),
      SYMBOL(moert_measure),   SYMBOL(moert_phase_begin),
      SYMBOL(moert_phase_end), {nullptr, nullptr}};
#undef SYMBOL
  return symbols;
}

} // namespace moe::rt
