// Errors as values: an enumerated code and a message that names the thing.
#ifndef MOE_RUNTIME_CORE_STATUS_H
#define MOE_RUNTIME_CORE_STATUS_H

#include "runtime/moe_runtime.h"

#include <string>
#include <utility>

namespace moe::rt {

/// What went wrong, in the words of moe_runtime.h.
enum class Code {
  Ok = MOE_OK,
  InvalidArgument = MOE_INVALID_ARGUMENT,
  NotFound = MOE_NOT_FOUND,
  InvalidFile = MOE_INVALID_FILE,
  Unsupported = MOE_UNSUPPORTED,
  OutOfMemory = MOE_OUT_OF_MEMORY,
  Io = MOE_IO,
  ModelFailed = MOE_MODEL_FAILED,
  Internal = MOE_INTERNAL
};

/// Success, or a code with a message.
struct [[nodiscard]] Status {
  Code code = Code::Ok;
  std::string message;

  Status() = default;
  Status(Code code, std::string message)
      : code(code), message(std::move(message)) {}

  bool ok() const { return code == Code::Ok; }
};

/// A value, or the Status that explains why there is none. Default-constructs
/// T in the failing case, which all our values can afford.
template <typename T>
class [[nodiscard]] Result {
public:
  Result(T value) : stored(std::move(value)) {}
  Result(Status error) : failure(std::move(error)) {
    if (failure.ok())
      failure = Status(Code::Internal, "a success without a value");
  }
  Result(Code code, std::string message) : failure(code, std::move(message)) {}

  explicit operator bool() const { return failure.ok(); }
  T &operator*() { return stored; }
  const T &operator*() const { return stored; }
  T *operator->() { return &stored; }
  const T *operator->() const { return &stored; }
  const Status &error() const { return failure; }

private:
  T stored{};
  Status failure;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_STATUS_H
