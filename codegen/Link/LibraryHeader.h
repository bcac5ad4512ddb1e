#ifndef MOE_CODEGEN_LINK_LIBRARYHEADER_H
#define MOE_CODEGEN_LINK_LIBRARYHEADER_H

#include "llvm/ADT/StringRef.h"
#include <string>

namespace moe {

/// The C header of a model library that exports moe_<name>_api: all of
/// moe_runtime.h and that declaration, so that a program needs no other file.
/// Headers of several models can be included together.
std::string libraryHeader(llvm::StringRef name);

} // namespace moe

#endif // MOE_CODEGEN_LINK_LIBRARYHEADER_H
