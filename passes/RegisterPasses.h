#ifndef MOE_PASSES_REGISTERPASSES_H
#define MOE_PASSES_REGISTERPASSES_H

namespace moe {
/// Registers our passes, each under its flag.
void registerAllPasses();
} // namespace moe

#endif // MOE_PASSES_REGISTERPASSES_H
