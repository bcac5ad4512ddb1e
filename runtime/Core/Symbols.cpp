#include "runtime/Core/Symbols.h"

#include "runtime/IRInterface.h"

namespace moe::rt {

const RuntimeSymbol *runtimeSymbols() {
#define SYMBOL(function)                                                       \
  {                                                                            \
    #function, reinterpret_cast<void *>(&function)                             \
  }
  static const RuntimeSymbol symbols[] = {
      SYMBOL(moert_alloc),         SYMBOL(moert_free),
      SYMBOL(moert_append),        SYMBOL(moert_parallel_for),
      SYMBOL(moert_on_device),     SYMBOL(moert_device_alloc),
      SYMBOL(moert_device_free),   SYMBOL(moert_device_constant),
      SYMBOL(moert_device_upload), SYMBOL(moert_device_download),
      SYMBOL(moert_device_append), SYMBOL(moert_device_present),
      SYMBOL(moert_device_launch), SYMBOL(moert_device_rows),
      SYMBOL(moert_scratch),       SYMBOL(moert_fail),
      SYMBOL(moert_observe),       SYMBOL(moert_measure),
      SYMBOL(moert_phase_begin),   SYMBOL(moert_phase_end),
      {nullptr, nullptr}};
#undef SYMBOL
  return symbols;
}

} // namespace moe::rt
