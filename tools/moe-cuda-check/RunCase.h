#ifndef MOE_TOOLS_MOECUDACHECK_RUNCASE_H
#define MOE_TOOLS_MOECUDACHECK_RUNCASE_H

#include "runtime/Device/Kernels.h"
#include "tools/moe-cuda-check/CaseFile.h"

namespace moe::check {

/// What came of a case.
struct Outcome {
  bool right = true;
  uint64_t numbers = 0, sameBits = 0; ///< of results: as the emulator's
  double worst = 0;                   ///< error as a share of what is allowed
  std::string note;                   ///< what is wrong
};

/// Runs a case, with its kernels, with its own grid, then with that of the
/// runtime, which must give the same bits. A status is a failure of the device.
rt::Result<Outcome> runCase(rt::Device &device, const CaseFile &test,
                            const rt::Module &module);

} // namespace moe::check

#endif // MOE_TOOLS_MOECUDACHECK_RUNCASE_H
