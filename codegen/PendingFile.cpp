#include "codegen/PendingFile.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

using namespace llvm;
using namespace moe;

PendingFile::PendingFile(StringRef path) : path(path) {
  temporary =
      (path + ".tmp-" + std::to_string(sys::Process::getProcessId())).str();
  sys::RemoveFileOnSignal(temporary);
}

PendingFile::~PendingFile() {
  if (!kept)
    sys::fs::remove(temporary);
  sys::DontRemoveFileOnSignal(temporary);
}

Error PendingFile::error(const char *what) {
  std::error_code code(errno, std::generic_category());
  return createStringError(code, Twine("cannot ") + what + " '" + path +
                                     "': " + code.message());
}

static bool writeAll(int fd, StringRef text) {
  while (!text.empty()) {
    ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    text = text.drop_front(n);
  }
  return true;
}

static Error writeTo(StringRef name, StringRef text, PendingFile &file,
                     bool special) {
  int fd =
      open(name.str().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    return file.error("create");
  Error result = writeAll(fd, text)
                     ? (special ? Error::success() : file.sync(fd))
                     : file.error("write");
  if (close(fd) != 0 && !result)
    return file.error("write");
  return result;
}

Error PendingFile::write(StringRef text) {
  return writeTo(temporary, text, *this, /*special=*/false);
}

Error PendingFile::tryRoom(uint64_t size) {
  int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    return error("create");
  Error result = Error::success();
  // Some file systems cannot tell.
  int failure;
  do
    failure = fallocate(fd, 0, 0, static_cast<off_t>(size)) ? errno : 0;
  while (failure == EINTR);
  errno = failure;
  if (failure && failure != EOPNOTSUPP && failure != ENOSYS)
    result = error("write");
  close(fd);
  unlink(temporary.c_str());
  return result;
}

Error PendingFile::sync(int fd) {
  if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
    return error("write");
  return Error::success();
}

Error PendingFile::keep() {
  if (std::error_code code = sys::fs::rename(temporary, path))
    return createStringError(code,
                             "cannot write '" + path + "': " + code.message());
  kept = true;
  return Error::success();
}

bool moe::isSpecialFile(StringRef path) {
  sys::fs::file_status status;
  return !sys::fs::status(path, status) &&
         status.type() != sys::fs::file_type::regular_file &&
         status.type() != sys::fs::file_type::directory_file;
}

Error moe::writeFile(StringRef path, StringRef text) {
  if (path == "-") {
    if (!writeAll(1, text))
      return createStringError("cannot write to standard output");
    return Error::success();
  }
  PendingFile file(path);
  if (isSpecialFile(path))
    return writeTo(path, text, file, /*special=*/true);
  if (Error error = file.write(text))
    return error;
  return file.keep();
}
