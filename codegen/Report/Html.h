#ifndef MOE_CODEGEN_REPORT_HTML_H
#define MOE_CODEGEN_REPORT_HTML_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/JSON.h"
#include <string>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace moe {
/// `text` with the characters that HTML gives a meaning replaced.
std::string escapeHtml(llvm::StringRef text);

/// Escaped `text` with places after commas where a line may end.
std::string breakable(llvm::StringRef text);

/// The text or whole number under `key`, escaped; empty where there is none.
std::string textOf(const llvm::json::Object &object, llvm::StringRef key);

/// 7583680 -> "7.58 M": three digits, powers of a thousand.
std::string countText(double value);
std::string bytesText(double value);

/// Rows of cells that are HTML already.
using HtmlTable = llvm::SmallVector<llvm::SmallVector<std::string>>;
void writeTable(llvm::raw_ostream &os, llvm::ArrayRef<llvm::StringRef> header,
                const HtmlTable &rows);
} // namespace moe

#endif // MOE_CODEGEN_REPORT_HTML_H
