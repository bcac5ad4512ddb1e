// What differs between two archives, on the command line.
#ifndef MOE_TOOLS_MOE_BANK_DIFF_H
#define MOE_TOOLS_MOE_BANK_DIFF_H

#include "tools/moe-bank/Archive.h"

namespace moe {

/// Prints a line for each tensor that is in one of them alone, or differs in
/// type, shape or value, and a summary. True where nothing does.
bool printDifferences(const Archive &a, const Archive &b);

} // namespace moe

#endif // MOE_TOOLS_MOE_BANK_DIFF_H
