#ifndef MOE_TOOLS_MOEOPT_FIRSTERROR_H
#define MOE_TOOLS_MOEOPT_FIRSTERROR_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/Error.h"

namespace moe {

/// While it lives, diagnostics are not printed; the first error is kept, for it
/// is the reason of those behind it.
class FirstError {
public:
  explicit FirstError(mlir::MLIRContext *context)
      : handler(context, [this](mlir::Diagnostic &diagnostic) {
          if (why.empty() &&
              diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
            why = diagnostic.str();
          return mlir::success();
        }) {}

  /// The error; `otherwise` where there has been none.
  llvm::Error take(const llvm::Twine &otherwise) {
    return why.empty() ? llvm::createStringError(otherwise)
                       : llvm::createStringError(why);
  }

private:
  std::string why;
  mlir::ScopedDiagnosticHandler handler;
};

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_FIRSTERROR_H
