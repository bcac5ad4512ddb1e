// Where code that is compiled in memory finds the functions of IRInterface.h.
#ifndef MOE_RUNTIME_CORE_SYMBOLS_H
#define MOE_RUNTIME_CORE_SYMBOLS_H

namespace moe::rt {

struct RuntimeSymbol {
  const char *name;
  void *address;
};

/// Every function of IRInterface.h; ends with an entry without a name. They
/// work inside RunContext::execute() only.
const RuntimeSymbol *runtimeSymbols();

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_SYMBOLS_H
