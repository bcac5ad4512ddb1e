#include "runtime/Core/DeviceRequest.h"

#include "runtime/Core/Text.h"

namespace moe::rt {

Result<DeviceRequest> parseDevice(std::string_view value) {
  if (value == "auto")
    return DeviceRequest{DeviceRequest::Auto, -1};
  if (value == "cpu")
    return DeviceRequest{DeviceRequest::Cpu, -1};
  if (value == "cuda")
    return DeviceRequest{DeviceRequest::Cuda, -1};
  std::string_view digits =
      value.substr(0, 5) == "cuda:" ? value.substr(5) : "";
  int ordinal = 0;
  bool good = !digits.empty() && digits.size() <= 4;
  for (char digit : digits) {
    good = good && digit >= '0' && digit <= '9';
    ordinal = good ? ordinal * 10 + (digit - '0') : 0;
  }
  if (!good)
    return {Code::InvalidArgument,
            text("unknown device ", quote(value),
                 "; use auto, cpu, cuda or cuda:N (N from 0)")};
  return DeviceRequest{DeviceRequest::Cuda, ordinal};
}

} // namespace moe::rt
