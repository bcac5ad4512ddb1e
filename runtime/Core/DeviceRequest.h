// What `--device` says.
#ifndef MOE_RUNTIME_CORE_DEVICEREQUEST_H
#define MOE_RUNTIME_CORE_DEVICEREQUEST_H

#include "runtime/Core/Status.h"

#include <string_view>

namespace moe::rt {

struct DeviceRequest {
  enum Kind { Auto, Cpu, Cuda };
  Kind kind = Auto;
  int ordinal = -1; // of Cuda; -1: the first that is usable
};

/// "auto", "cpu", "cuda" or "cuda:N".
Result<DeviceRequest> parseDevice(std::string_view value);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_DEVICEREQUEST_H
