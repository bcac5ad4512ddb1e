#ifndef MOE_CODEGEN_PENDINGFILE_H
#define MOE_CODEGEN_PENDINGFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace moe {

/// A temporary name beside a result; removed unless it is kept, by an interrupt
/// too.
class PendingFile {
public:
  explicit PendingFile(llvm::StringRef path);
  ~PendingFile();
  PendingFile(const PendingFile &) = delete;
  PendingFile &operator=(const PendingFile &) = delete;

  const std::string &name() const { return temporary; }

  /// Creates it with `text`, synced.
  llvm::Error write(llvm::StringRef text);
  /// Fails where the disk has no room for `size` bytes. The linker maps its
  /// output, and a full disk would be a bus error there.
  llvm::Error tryRoom(uint64_t size);
  /// Syncs the open file `fd`, which is this one.
  llvm::Error sync(int fd);
  /// Gives it its real name.
  llvm::Error keep();
  /// What `errno` says about the result.
  llvm::Error error(const char *what);

private:
  std::string path, temporary;
  bool kept = false;
};

/// Devices and pipes are written directly.
bool isSpecialFile(llvm::StringRef path);

/// Writes `text` to `path` ("-" is standard output) by way of a temporary file
/// that is synced and renamed; the error names the path.
llvm::Error writeFile(llvm::StringRef path, llvm::StringRef text);

} // namespace moe

#endif // MOE_CODEGEN_PENDINGFILE_H
