// What compression cost and saved, as tables for a terminal.
#ifndef MOE_RUNTIME_BANK_LEDGERTABLE_H
#define MOE_RUNTIME_BANK_LEDGERTABLE_H

#include "runtime/Core/Json.h"
#include "runtime/Core/Status.h"

#include <optional>
#include <string>
#include <vector>

namespace moe::rt {

/// The model after a step; the first is the model as it came, its step empty.
struct LedgerLine {
  std::string step;
  double params = 0, bytes = 0, expertBytes = 0, activeParams = 0;
  double bytesReadPerToken = 0, flopsPerToken = 0;
  std::optional<double> outputError, bitsPerByte;
};

/// A recipe that `--compress=auto` tried.
struct FrontLine {
  std::string steps;
  double share = 0; ///< of the bytes of the original
  double outputError = 0;
  std::optional<double> loss; ///< measured, in bits per byte
  bool isOnFront = false, isChosen = false;
};

/// A recipe that it could not try, or not run.
struct RefusedLine {
  std::string steps, why;
};

/// The list under "compression" in a manifest, empty where there is none. Fails
/// where it is no ledger.
Result<std::vector<LedgerLine>> ledgerLines(const Json &manifest);
/// The same of the list under "front".
Result<std::vector<FrontLine>> frontLines(const Json &manifest);
/// And under "front_refused".
Result<std::vector<RefusedLine>> refusedLines(const Json &manifest);

/// "12.35%", no less than the share, so that asking for it gets as much.
std::string shareText(double share);
/// "0.0124", no less than the loss.
std::string lossText(double loss);

std::string ledgerTable(const std::vector<LedgerLine> &lines);
std::string frontTable(const std::vector<FrontLine> &lines);
/// Each reason with its recipes below.
std::string refusedTable(const std::vector<RefusedLine> &lines);

} // namespace moe::rt

#endif // MOE_RUNTIME_BANK_LEDGERTABLE_H
