#include "runtime/Core/File.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace moe::rt {
namespace {

/// What the signal handler removes: a list that only grows, so that the handler
/// can walk it at any time.
struct Pending {
  char path[4200];
  std::atomic<bool> used{true};
  std::atomic<bool> ready{false}; // the path is complete
  Pending *next = nullptr;
};
std::atomic<Pending *> pendings{nullptr};

Pending *takePending() {
  for (Pending *it = pendings; it; it = it->next)
    if (!it->used.exchange(true))
      return it;
  Pending *made = new (std::nothrow) Pending;
  if (!made)
    return nullptr;
  made->next = pendings;
  while (!pendings.compare_exchange_weak(made->next, made)) {
  }
  return made;
}

void onInterrupt(int) { removePendingAndExit(); }

} // namespace

void removePendingAndExit() {
  // Folders must be empty before they can go.
  for (Pending *it = pendings; it; it = it->next)
    if (it->ready)
      unlink(it->path);
  for (Pending *it = pendings; it; it = it->next)
    if (it->ready)
      rmdir(it->path);
  _exit(130);
}

RemoveOnInterrupt::RemoveOnInterrupt(const std::string &path) {
  if (path.size() >= sizeof(Pending::path))
    return;
  Pending *pending = takePending();
  if (!pending)
    return;
  std::memcpy(pending->path, path.c_str(), path.size() + 1);
  pending->ready = true;
  entry = pending;
}

RemoveOnInterrupt::~RemoveOnInterrupt() {
  if (!entry)
    return;
  auto *pending = static_cast<Pending *>(entry);
  pending->ready = false;
  pending->used = false;
}

void cleanUpOnInterrupt() {
  // A file beyond the limit of sizes is an error of write, not our end.
  std::signal(SIGXFSZ, SIG_IGN);
  struct sigaction action = {};
  action.sa_handler = onInterrupt;
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction old;
    // Whoever started us with a signal ignored (nohup) meant it.
    if (sigaction(signal, nullptr, &old) == 0 && old.sa_handler != SIG_IGN)
      sigaction(signal, &action, nullptr);
  }
}

Status systemError(const char *verb, const std::string &path, int error) {
  return {error == ENOENT ? Code::NotFound : Code::Io,
          text("cannot ", verb, " ", quote(path), ": ", std::strerror(error))};
}

Result<Buffer> Buffer::create(uint64_t size) {
  Buffer buffer;
  buffer.bytes.reset(static_cast<char *>(std::malloc(size ? size : 1)));
  if (!buffer.bytes)
    return {Code::OutOfMemory,
            text("cannot allocate ", bytesText(static_cast<double>(size)))};
  buffer.length = size;
  return buffer;
}

Result<Buffer> readFile(const std::string &path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return systemError("read", path, errno);
  struct stat info;
  // Grows as bytes come, so that sizes reported by odd files do not matter.
  uint64_t capacity = fstat(file, &info) == 0 && S_ISREG(info.st_mode)
                          ? static_cast<uint64_t>(info.st_size) + 1
                          : 1 << 16;
  Buffer buffer;
  for (;;) {
    if (buffer.length == capacity || !buffer.bytes) {
      if (buffer.bytes)
        capacity *= 2;
      void *grown = std::realloc(buffer.bytes.get(), capacity);
      if (!grown) {
        close(file);
        return {Code::OutOfMemory,
                text("cannot allocate ", capacity, " bytes for ", quote(path))};
      }
      static_cast<void>(buffer.bytes.release());
      buffer.bytes.reset(static_cast<char *>(grown));
    }
    ssize_t got = read(file, buffer.bytes.get() + buffer.length,
                       std::min<uint64_t>(capacity - buffer.length, 1 << 30));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      int error = errno;
      close(file);
      return systemError("read", path, error);
    }
    if (got == 0)
      break;
    buffer.length += static_cast<uint64_t>(got);
  }
  close(file);
  return buffer;
}

Result<std::string_view> mapFile(const std::string &path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return systemError("read", path, errno);
  struct stat info;
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || !info.st_size) {
    close(file);
    return {Code::InvalidFile, quote(path) + " is empty or no regular file"};
  }
  size_t size = static_cast<size_t>(info.st_size);
  void *data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  int error = errno;
  close(file);
  if (data == MAP_FAILED)
    return systemError("map", path, error);
  return std::string_view(static_cast<const char *>(data), size);
}

Result<std::unique_ptr<OutputFile>>
OutputFile::create(const std::string &path) {
  std::unique_ptr<OutputFile> file(new OutputFile);
  file->path = path;
  struct stat info;
  bool exists = stat(path.c_str(), &info) == 0;
  // /dev/stdout may lead to a regular file; the name is a device all the same.
  bool device = path.compare(0, 5, "/dev/") == 0;
  if (exists && (device || !S_ISREG(info.st_mode))) {
    file->fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file->fd < 0)
      return systemError("write", path, errno);
    return file;
  }
  std::string temporary = path + ".XXXXXX";
  file->fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (file->fd < 0)
    return systemError("write", path, errno);
  file->pending.reset(new RemoveOnInterrupt(temporary));
  file->temporary = temporary;
  // mkostemp makes private files; ours are ordinary ones.
  mode_t mask = umask(0);
  umask(mask);
  fchmod(file->fd, exists ? info.st_mode & 07777 : 0666 & ~mask);
  return file;
}

Result<std::unique_ptr<OutputFile>> OutputFile::standardOutput() {
  std::unique_ptr<OutputFile> file(new OutputFile);
  file->path = "standard output";
  file->fd = dup(STDOUT_FILENO);
  if (file->fd < 0)
    return systemError("write", file->path, errno);
  return file;
}

OutputFile::~OutputFile() {
  if (fd >= 0)
    close(fd);
  if (!temporary.empty())
    unlink(temporary.c_str());
}

void OutputFile::write(const void *data, uint64_t size) {
  const char *bytes = static_cast<const char *>(data);
  synced = false;
  while (size && failure.ok()) {
    ssize_t put = ::write(fd, bytes, std::min<uint64_t>(size, 1 << 30));
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0) {
      failure = systemError("write", path, errno);
      return;
    }
    bytes += put;
    size -= static_cast<uint64_t>(put);
  }
}

Result<uint64_t> OutputFile::reserve(uint64_t size) {
  off_t at = lseek(fd, 0, SEEK_CUR), end;
  synced = false;
  if (!failure.ok())
    return failure;
  if (at < 0 || __builtin_add_overflow(at, size, &end) ||
      ftruncate(fd, end) != 0 || lseek(fd, end, SEEK_SET) < 0)
    return systemError("write", path, errno ? errno : EFBIG);
  return static_cast<uint64_t>(at);
}

Status OutputFile::sync() {
  if (!failure.ok())
    return failure;
  if (!temporary.empty() && !synced && fsync(fd) != 0)
    failure = systemError("write", path, errno);
  synced = failure.ok();
  return failure;
}

Status OutputFile::commit() {
  if (Status status = sync(); !status.ok())
    return status;
  int closed = close(fd);
  fd = -1;
  if (closed != 0)
    return systemError("write", path, errno);
  if (!temporary.empty()) {
    if (rename(temporary.c_str(), path.c_str()) != 0)
      return systemError("write", path, errno);
    pending.reset();
    temporary.clear();
  }
  return {};
}

} // namespace moe::rt
