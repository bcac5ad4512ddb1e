#ifndef MOE_TOOLS_MOEOPT_OUTPUTS_H
#define MOE_TOOLS_MOEOPT_OUTPUTS_H

#include "tools/moe-opt/Options.h"

namespace moe {

/// Whether everything that is asked for can be written, as far as can be known
/// before the work.
llvm::Error checkOutputs(const Request &request, Emit kind);

/// Whether what is written leaves what is read alone; `read` are files of the
/// model, those that the request names are added.
llvm::Error checkInputsStay(const Request &request, Emit kind,
                            std::vector<std::string> read);

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_OUTPUTS_H
