#ifndef MOE_TOOLS_MOEOPT_RUNS_H
#define MOE_TOOLS_MOEOPT_RUNS_H

#include "runtime/Bank/Profile.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

namespace moe {

/// The runs of `--report-run`, one for each name: of profiles (`.moeprof`, also
/// put into `profiles`, after `adapt`) and of JSON objects.
llvm::Expected<llvm::json::Array>
readRuns(llvm::ArrayRef<std::string> files,
         std::vector<std::pair<std::string, rt::Profile>> &profiles,
         llvm::function_ref<llvm::Error(llvm::StringRef, rt::Profile &)> adapt);

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_RUNS_H
