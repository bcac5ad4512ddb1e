#include "runtime/FakeDriver/FakeDriverState.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace moe;
using namespace moe::rt;
using namespace moe::fakecuda;

namespace {

thread_local CuContext current = nullptr;

CuResult runNext(FakeStream &stream) {
  CuResult result = stream.pending.front()();
  stream.pending.pop_front();
  if (result) {
    stream.context->failure = result;
    stream.pending.clear();
  }
  return result;
}

CuResult runAll(FakeStream &stream) {
  while (!stream.pending.empty())
    if (CuResult result = runNext(stream))
      return result;
  return stream.context->failure;
}

/// Where bytes lie in a device's memory; null: nowhere.
char *bytesAt(CuPointer pointer, size_t bytes) {
  uintptr_t address = static_cast<uintptr_t>(pointer);
  return currentContext()->memory.find(address, bytes)
             ? reinterpret_cast<char *>(address)
             : nullptr;
}

/// Copies once the stream gets there; null is nowhere.
CuResult enqueueCopy(CuStream stream, void *to, const void *from,
                     size_t bytes) {
  return to && from ? enqueue(stream,
                              [=] {
                                std::memcpy(to, from, bytes);
                                return CuSuccess;
                              })
                    : CuInvalidValue;
}

} // namespace

FakeDriver *moe::fakecuda::fake = nullptr;

FakeContext *moe::fakecuda::currentContext() {
  return object<FakeContext>(current);
}

CuResult moe::fakecuda::enqueue(CuStream to, std::function<CuResult()> work) {
  auto *stream = object<FakeStream>(to);
  if (!stream || stream->context != currentContext())
    return CuInvalidHandle;
  stream->pending.push_back(std::move(work));
  size_t seen = fake->mostPending;
  fake->mostPending = std::max(seen, stream->pending.size());
  return CuSuccess;
}

const FakeDevice *moe::fakecuda::deviceAt(CuDevice device) {
  bool known =
      device >= 0 && static_cast<size_t>(device) < fake->devices.size();
  return known ? &fake->devices[static_cast<size_t>(device)] : nullptr;
}

CuResult moe::fakecuda::fail(const std::string &words) {
  std::lock_guard<std::mutex> lock(fake->mutex);
  fake->error = words;
  if (fake->isTelling)
    fprintf(stderr, "emulated GPU: %s\n", words.c_str());
  return CuLaunchFailed;
}

FakeDriver::FakeDriver() { fake = this; }

FakeDriver::~FakeDriver() {
  if (fake == this)
    fake = nullptr;
}

Driver FakeDriver::table() const {
  Driver driver;
#define ENTER(member, symbol, parameters) driver.member = symbol;
  MOE_CUDA_REQUIRED(ENTER)
  MOE_CUDA_OPTIONAL(ENTER)
#undef ENTER
  driver.version = version;
  return driver;
}

std::string FakeDriver::lastError() const {
  std::lock_guard<std::mutex> lock(mutex);
  return error;
}

std::string FakeDriver::leftovers() const {
  const char *names[] = {"buffers", "pinned",  "streams",  "events",
                         "modules", "linkers", "contexts", "graphs"};
  std::string left;
  for (int kind = 0; kind < NumKinds; ++kind)
    if (live[kind])
      left += std::to_string(live[kind]) + " " + names[kind] + " ";
  return left;
}

namespace moe::rt {

// The driver and its devices.

CuResult cuInit(unsigned flags) {
  return flags ? CuInvalidValue : fake->initResult;
}

CuResult cuDriverGetVersion(int *version) {
  *version = fake->version;
  return CuSuccess;
}

CuResult cuGetErrorName(CuResult result, const char **name) {
  static const std::map<int, const char *> names = {
      {CuInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
      {CuOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
      {CuNoDevice, "CUDA_ERROR_NO_DEVICE"},
      {CuInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
      {CuInvalidPtx, "CUDA_ERROR_INVALID_PTX"},
      {CuInvalidImage, "CUDA_ERROR_INVALID_IMAGE"},
      {CuIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {CuLaunchOutOfResources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
      {CuLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"}};
  auto found = names.find(result);
  *name = found == names.end() ? nullptr : found->second;
  return *name ? CuSuccess : CuInvalidValue;
}

CuResult cuGetErrorString(CuResult result, const char **text) {
  *text = result == CuLaunchFailed     ? "unspecified launch failure"
          : result == CuIllegalAddress ? "an illegal memory access was "
                                         "encountered"
          : result == CuNoDevice       ? "no CUDA-capable device is detected"
                                       : "fake words";
  return CuSuccess;
}

CuResult cuDeviceGetCount(int *count) {
  *count = static_cast<int>(fake->devices.size());
  return CuSuccess;
}

CuResult cuDeviceGet(CuDevice *device, int ordinal) {
  *device = ordinal;
  return deviceAt(ordinal) ? CuSuccess : CuInvalidDevice;
}

CuResult cuDeviceGetName(char *name, int size, CuDevice device) {
  std::strncpy(name, deviceAt(device)->name.c_str(), static_cast<size_t>(size));
  return CuSuccess;
}

CuResult cuDeviceGetAttribute(int *value, CuDeviceAttribute attribute,
                              CuDevice ordinal) {
  const FakeDevice &device = *deviceAt(ordinal);
  switch (attribute) {
  case CuMaxThreadsPerBlock:
    *value = 1024;
    return CuSuccess;
  case CuMaxSharedBytesPerBlock:
    *value = 48 << 10;
    return CuSuccess;
  case CuNumMultiprocessors:
    *value = static_cast<int>(fake->multiprocessors);
    return CuSuccess;
  case CuComputeMode:
    *value = device.prohibited ? CuComputeModeProhibited : 0;
    return CuSuccess;
  case CuCapabilityMajor:
    *value = device.major;
    return CuSuccess;
  case CuCapabilityMinor:
    *value = device.minor;
    return CuSuccess;
  case CuMaxSharedBytesPerBlockOptIn:
    *value = 227 << 10;
    return CuSuccess;
  }
  return CuInvalidValue;
}

CuResult cuDeviceTotalMem_v2(size_t *bytes, CuDevice device) {
  *bytes = deviceAt(device)->memory;
  return CuSuccess;
}

// Contexts.

CuResult cuDevicePrimaryCtxRetain(CuContext *made, CuDevice device) {
  if (CuResult result = deviceAt(device)->openResult)
    return result;
  std::lock_guard<std::mutex> lock(fake->mutex);
  auto &context = fake->contexts[device];
  if (!context) {
    context.reset(new FakeContext);
    context->ordinal = device;
  }
  ++context->users;
  ++fake->live[FakeDriver::Contexts];
  *made = handle<CuContext>(context.get());
  return CuSuccess;
}

CuResult cuDevicePrimaryCtxRelease_v2(CuDevice device) {
  std::lock_guard<std::mutex> lock(fake->mutex);
  --fake->live[FakeDriver::Contexts];
  if (--fake->contexts[device]->users == 0)
    fake->contexts.erase(device);
  return CuSuccess;
}

CuResult cuCtxGetCurrent(CuContext *context) {
  *context = current;
  return CuSuccess;
}

CuResult cuCtxSetCurrent(CuContext context) {
  current = context;
  return CuSuccess;
}

// Memory.

CuResult cuMemGetInfo_v2(size_t *free, size_t *total) {
  Entered entered;
  if (entered.error)
    return entered.error;
  *total = deviceAt(entered->ordinal)->memory;
  *free = *total - entered->used;
  return CuSuccess;
}

CuResult cuMemAlloc_v2(CuPointer *pointer, size_t bytes) {
  Entered entered;
  if (entered.error)
    return entered.error;
  if (!bytes)
    return CuInvalidValue;
  if (bytes > deviceAt(entered->ordinal)->memory - entered->used)
    return CuOutOfMemory;
  auto made = entered->memory.allocate(
      bytes, "buffer " + std::to_string(entered->sizes.size()));
  if (!made)
    return CuOutOfMemory;
  *pointer = reinterpret_cast<uintptr_t>(*made);
  entered->used += bytes;
  entered->sizes[*pointer] = bytes;
  ++fake->live[FakeDriver::Buffers];
  return CuSuccess;
}

CuResult cuMemFree_v2(CuPointer pointer) {
  Entered entered;
  if (!entered.at)
    return entered.error;
  auto found = entered->sizes.find(pointer);
  if (found == entered->sizes.end())
    return CuInvalidValue;
  for (FakeStream *stream : entered->streams)
    static_cast<void>(runAll(*stream));
  entered->used -= found->second;
  entered->sizes.erase(found);
  --fake->live[FakeDriver::Buffers];
  Status status = entered->memory.free(
      reinterpret_cast<void *>(static_cast<uintptr_t>(pointer)));
  return status.ok() ? entered->failure : fail(status.message);
}

CuResult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  Entered entered;
  if (entered.error || fake->hostAllocResult)
    return entered.error ? entered.error : fake->hostAllocResult;
  ++fake->live[FakeDriver::Pinned];
  *pointer = std::malloc(bytes);
  return flags & ~CuMemHostPortable ? CuInvalidValue : CuSuccess;
}

CuResult cuMemFreeHost(void *pointer) {
  --fake->live[FakeDriver::Pinned];
  std::free(pointer);
  return CuSuccess;
}

CuResult cuMemcpyHtoDAsync_v2(CuPointer to, const void *from, size_t bytes,
                              CuStream stream) {
  Entered entered;
  if (entered.error)
    return entered.error;
  return enqueueCopy(stream, bytesAt(to, bytes), from, bytes);
}

CuResult cuMemcpyDtoHAsync_v2(void *to, CuPointer from, size_t bytes,
                              CuStream stream) {
  Entered entered;
  if (entered.error)
    return entered.error;
  return enqueueCopy(stream, to, bytesAt(from, bytes), bytes);
}

CuResult cuMemcpyDtoDAsync_v2(CuPointer to, CuPointer from, size_t bytes,
                              CuStream stream) {
  Entered entered;
  if (entered.error)
    return entered.error;
  return enqueueCopy(stream, bytesAt(to, bytes), bytesAt(from, bytes), bytes);
}

CuResult cuMemsetD8Async(CuPointer to, unsigned char value, size_t bytes,
                         CuStream stream) {
  Entered entered;
  if (entered.error)
    return entered.error;
  char *where = bytesAt(to, bytes);
  return where ? enqueue(stream,
                         [=] {
                           std::memset(where, value, bytes);
                           return CuSuccess;
                         })
               : CuInvalidValue;
}

// Streams and events.

CuResult cuStreamCreate(CuStream *stream, unsigned) {
  Entered entered;
  if (entered.error)
    return entered.error;
  auto *made = new FakeStream{entered.at, {}};
  entered->streams.insert(made);
  ++fake->live[FakeDriver::Streams];
  *stream = handle<CuStream>(made);
  return CuSuccess;
}

CuResult cuStreamDestroy_v2(CuStream stream) {
  Entered entered;
  if (!entered.at)
    return entered.error;
  entered->streams.erase(object<FakeStream>(stream));
  delete object<FakeStream>(stream);
  --fake->live[FakeDriver::Streams];
  return CuSuccess;
}

CuResult cuStreamSynchronize(CuStream stream) {
  Entered entered;
  if (entered.error)
    return entered.error;
  CuResult result = runAll(*object<FakeStream>(stream));
  return result ? result : fake->synchronizeResult;
}

CuResult cuEventCreate(CuEvent *event, unsigned) {
  Entered entered;
  if (entered.error)
    return entered.error;
  ++fake->live[FakeDriver::Events];
  *event = handle<CuEvent>(new FakeEvent);
  return CuSuccess;
}

CuResult cuEventDestroy_v2(CuEvent event) {
  delete object<FakeEvent>(event);
  --fake->live[FakeDriver::Events];
  return CuSuccess;
}

CuResult cuEventRecord(CuEvent handle, CuStream stream) {
  Entered entered;
  if (entered.error)
    return entered.error;
  auto *event = object<FakeEvent>(handle);
  event->stream = object<FakeStream>(stream);
  uint64_t turn = ++event->recorded;
  return enqueue(stream, [=] {
    event->passed = turn;
    return CuSuccess;
  });
}

CuResult cuEventSynchronize(CuEvent handle) {
  Entered entered;
  if (entered.error)
    return entered.error;
  auto *event = object<FakeEvent>(handle);
  while (event->passed != event->recorded)
    if (CuResult result = runNext(*event->stream))
      return result;
  return CuSuccess;
}

} // namespace moe::rt
