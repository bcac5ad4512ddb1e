#ifndef MOE_PASSES_COMPRESS_AUTOREQUEST_H
#define MOE_PASSES_COMPRESS_AUTOREQUEST_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>

namespace moe {

/// What `--compress=auto{bytes=50%,max-loss=0.02}` asks for.
struct AutoRequest {
  double bytes = 1;   ///< share of the model's bytes
  double maxLoss = 0; ///< in bits per byte, or of the output error
  std::string bytesText, maxLossText; ///< as the user wrote them
};

/// The request, where `text` is one; nothing where it is a list of steps. Fails
/// where it is no good request.
llvm::Expected<std::optional<AutoRequest>> parseAuto(llvm::StringRef text);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_AUTOREQUEST_H
