#ifndef MOE_CODEGEN_LINK_LINKER_H
#define MOE_CODEGEN_LINK_LINKER_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace moe {

/// What the linker makes of a model's object.
enum class LinkKind { Executable, Library };

struct LinkedFile {
  std::string path;
  /// Where the packed weights belong in the file, and how many bytes of it.
  uint64_t weightsOffset = 0, weightsSize = 0;
};

/// The assembly that reserves `size` bytes for packed weights in a model's
/// object: a large section that is never passed through the linker.
std::string weightsSection(uint64_t size);

/// At least the bytes that linkModel() writes, weights apart.
uint64_t linkedSize(llvm::ArrayRef<char> object, LinkKind kind);

/// Links `object` with the embedded runtime into a file at `path` (no other
/// file of this machine is read). The weights are a hole in the file still.
/// `libraryName` names the exported function moe_<name>_api of a library.
llvm::Expected<LinkedFile> linkModel(llvm::ArrayRef<char> object,
                                     llvm::StringRef path, LinkKind kind,
                                     llvm::StringRef libraryName);

} // namespace moe

#endif // MOE_CODEGEN_LINK_LINKER_H
