#include "codegen/Link/LibraryHeader.h"

#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

extern "C" {
extern const char moe_runtime_header_begin[], moe_runtime_header_end[];
}

std::string moe::libraryHeader(StringRef name) {
  StringRef common(moe_runtime_header_begin,
                   moe_runtime_header_end - moe_runtime_header_begin);
  // Guarded by the exact name: models called "a" and "A" are two.
  return formatv(R"(/* Made by moe-opt with the library of model {0}. */
{1}
#ifndef MOE_LIBRARY_{0}_H
#define MOE_LIBRARY_{0}_H

#ifdef __cplusplus
extern "C" {{
#endif

/* The interface of this library's model, which moe_model_api is to others:
 * NULL when it has no table of version `major`. */
const moe_api *moe_{0}_api(uint32_t major);

#ifdef __cplusplus
}
#endif

#endif /* MOE_LIBRARY_{0}_H */
)",
                 name, common);
}
