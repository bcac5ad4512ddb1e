// Reading files whole and writing them so that nothing half-written stays.
#ifndef MOE_RUNTIME_CORE_FILE_H
#define MOE_RUNTIME_CORE_FILE_H

#include "runtime/Core/Status.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace moe::rt {

/// Owned bytes, 16-byte aligned. Unlike std::vector it can fail to be made, and
/// its bytes start out undefined.
class Buffer {
public:
  static Result<Buffer> create(uint64_t size);

  char *data() { return bytes.get(); }
  const char *data() const { return bytes.get(); }
  uint64_t size() const { return length; }
  std::string_view view() const { return {bytes.get(), length}; }

private:
  struct Free {
    void operator()(char *data) const { std::free(data); }
  };
  std::unique_ptr<char, Free> bytes;
  uint64_t length = 0;
  friend Result<Buffer> readFile(const std::string &path);
};

/// The whole file; streams work too.
Result<Buffer> readFile(const std::string &path);

/// A read-only mapping of a regular file that is not empty. It stays until the
/// process ends: tables and weights point into it.
Result<std::string_view> mapFile(const std::string &path);

/// While it lives, an interrupt removes the file at `path`, or the folder where
/// nothing is left in it; see cleanUpOnInterrupt().
class RemoveOnInterrupt {
public:
  explicit RemoveOnInterrupt(const std::string &path);
  ~RemoveOnInterrupt();
  RemoveOnInterrupt(const RemoveOnInterrupt &) = delete;
  RemoveOnInterrupt &operator=(const RemoveOnInterrupt &) = delete;

private:
  void *entry = nullptr;
};

/// A file that appears under its name when commit() succeeds, not before:
/// temporary beside it, fsync, rename. What is no regular file (a terminal, a
/// pipe) is written to directly. Destroying it uncommitted leaves nothing.
class OutputFile {
public:
  static Result<std::unique_ptr<OutputFile>> create(const std::string &path);
  /// Standard output, whatever that is; written to directly.
  static Result<std::unique_ptr<OutputFile>> standardOutput();
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  /// Errors are kept until commit(), so that writers need not check each call.
  void write(const void *data, uint64_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  Status commit();
  /// All of commit() that a full disk can still spoil: of a pair of files, both
  /// are synced before one appears.
  Status sync();

  /// Makes room for `size` bytes, which others may fill through descriptor()
  /// in any order; returns where. Regular files only.
  Result<uint64_t> reserve(uint64_t size);
  int descriptor() const { return fd; }

private:
  OutputFile() = default;
  std::string path;
  std::string temporary; // empty when writing directly
  std::unique_ptr<RemoveOnInterrupt> pending;
  int fd = -1;
  bool synced = false;
  Status failure;
};

/// Removes what RemoveOnInterrupt names and ends the process with code 130 on
/// SIGINT, SIGTERM and SIGHUP. Writing beyond the limit of file sizes becomes
/// an error as others are.
void cleanUpOnInterrupt();

/// What that handler does, for handlers of others. Async-signal-safe.
[[noreturn]] void removePendingAndExit();

/// "cannot read 'x': No such file or directory", with a fitting code.
Status systemError(const char *verb, const std::string &path, int error);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_FILE_H
