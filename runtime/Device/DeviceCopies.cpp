// Copies to, from and within a device.
#include "runtime/Core/Text.h"
#include "runtime/Device/Device.h"

#include <algorithm>
#include <cstring>

namespace moe::rt {
namespace {

// Long enough that starting a copy (some microseconds) does not count, short
// enough that the first and the last, which overlap with nothing, do not.
constexpr uint64_t portionBytes = uint64_t(4) << 20;

} // namespace

Status Device::prepareStaging() {
  for (Staging &half : staging) {
    if (!half.data)
      if (CuResult result =
              api.memHostAlloc(&half.data, portionBytes, CuMemHostPortable)) {
        half.data = nullptr;
        return explain(result, text("pin ", bytesText(portionBytes),
                                    " of the machine's memory for copies"));
      }
    if (!half.free)
      if (CuResult result = api.eventCreate(&half.free, CuEventDisableTiming)) {
        half.free = nullptr;
        return explain(result, "create an event");
      }
  }
  return {};
}

Status Device::waitFor(Staging &half) {
  if (!half.used)
    return {};
  if (CuResult result = api.eventSynchronize(half.free))
    return explain(result, "copy");
  half.used = false;
  return {};
}

Status Device::checkRange(const DeviceBuffer &buffer, uint64_t offset,
                          uint64_t bytes, const char *verb) const {
  if (buffer.device() && buffer.device()->info().ordinal != facts.ordinal)
    return {Code::InvalidArgument,
            text(facts.text(), ": cannot ", verb, " ", quote(buffer.name()),
                 ", which lies on ", buffer.device()->info().text())};
  if (offset > buffer.size() || bytes > buffer.size() - offset)
    return {Code::InvalidArgument,
            text("cannot ", verb, " ", bytes, " bytes at ", offset, " of ",
                 quote(buffer.name()), ", which has ", buffer.size())};
  return {};
}

Status Device::upload(const DeviceBuffer &to, uint64_t offset, const void *from,
                      uint64_t bytes, const Progress &progress) {
  if (Status status = checkRange(to, offset, bytes, "upload"); !status.ok())
    return status;
  if (!broken.ok() || !bytes)
    return broken;
  Scope scope(*this);
  if (Status status = prepareStaging(); !status.ok())
    return status;
  for (uint64_t done = 0, turn = 0; done < bytes; ++turn) {
    Staging &half = staging[turn % 2];
    uint64_t size = std::min(portionBytes, bytes - done);
    if (Status status = waitFor(half); !status.ok())
      return status;
    std::memcpy(half.data, static_cast<const char *>(from) + done, size);
    CuResult result = api.memcpyHtoDAsync(to.pointer() + offset + done,
                                          half.data, size, queue);
    if (!result)
      result = api.eventRecord(half.free, queue);
    if (result)
      return explain(result, text("upload to ", quote(to.name())));
    half.used = true;
    done += size;
    if (progress.tell)
      progress.tell(progress.user, done, bytes);
  }
  return {};
}

Status Device::download(void *to, const DeviceBuffer &from, uint64_t offset,
                        uint64_t bytes, const Progress &progress) {
  if (Status status = checkRange(from, offset, bytes, "download"); !status.ok())
    return status;
  if (!broken.ok())
    return broken;
  if (!bytes)
    return synchronize();
  Scope scope(*this);
  if (Status status = prepareStaging(); !status.ok())
    return status;
  uint64_t numPortions = (bytes + portionBytes - 1) / portionBytes;
  auto sizeOf = [&](uint64_t portion) {
    return std::min(portionBytes, bytes - portion * portionBytes);
  };
  // Portion `turn` comes while the one before it is taken out.
  for (uint64_t turn = 0; turn <= numPortions; ++turn) {
    if (turn < numPortions) {
      Staging &half = staging[turn % 2];
      if (Status status = waitFor(half); !status.ok())
        return status;
      CuResult result = api.memcpyDtoHAsync(
          half.data, from.pointer() + offset + turn * portionBytes,
          sizeOf(turn), queue);
      if (!result)
        result = api.eventRecord(half.free, queue);
      if (result)
        return explain(result, text("download from ", quote(from.name())));
      half.used = true;
    }
    if (turn == 0)
      continue;
    uint64_t taken = turn - 1;
    Staging &half = staging[taken % 2];
    if (Status status = waitFor(half); !status.ok())
      return status;
    std::memcpy(static_cast<char *>(to) + taken * portionBytes, half.data,
                sizeOf(taken));
    if (progress.tell)
      progress.tell(progress.user, taken * portionBytes + sizeOf(taken), bytes);
  }
  // The stream is in order, so all that came before is done too.
  numLaunches = 0;
  return {};
}

Status Device::copy(const DeviceBuffer &to, uint64_t toOffset,
                    const DeviceBuffer &from, uint64_t fromOffset,
                    uint64_t bytes) {
  if (Status status = checkRange(to, toOffset, bytes, "copy to"); !status.ok())
    return status;
  if (Status status = checkRange(from, fromOffset, bytes, "copy from");
      !status.ok())
    return status;
  if (!broken.ok() || !bytes)
    return broken;
  Scope scope(*this);
  if (CuResult result = api.memcpyDtoDAsync(
          to.pointer() + toOffset, from.pointer() + fromOffset, bytes, queue))
    return explain(result, text("copy from ", quote(from.name()), " to ",
                                quote(to.name())));
  return {};
}

Status Device::fill(const DeviceBuffer &to, uint64_t offset, uint8_t value,
                    uint64_t bytes) {
  if (Status status = checkRange(to, offset, bytes, "fill"); !status.ok())
    return status;
  if (!broken.ok() || !bytes)
    return broken;
  Scope scope(*this);
  if (CuResult result =
          api.memsetD8Async(to.pointer() + offset, value, bytes, queue))
    return explain(result, text("fill ", quote(to.name())));
  return {};
}

} // namespace moe::rt
