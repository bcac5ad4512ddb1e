// What compiled models say about themselves, on the command line.
#ifndef MOE_TOOLS_MOE_BANK_MANIFESTS_H
#define MOE_TOOLS_MOE_BANK_MANIFESTS_H

#include "runtime/Core/Json.h"
#include "runtime/Core/Status.h"

#include <string>
#include <string_view>

namespace moe {

/// Prints what compression cost, and the recipes that were tried, where
/// `manifest` says so.
rt::Status listLedger(const rt::Json &manifest, const std::string &path);

/// Prints a line about the model, what compression cost, and the recipes that
/// were tried.
rt::Status listManifest(std::string_view manifest, const std::string &path);

} // namespace moe

#endif // MOE_TOOLS_MOE_BANK_MANIFESTS_H
