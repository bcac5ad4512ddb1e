// What the parts of the fake driver share.
#ifndef MOE_RUNTIME_FAKEDRIVER_FAKEDRIVERSTATE_H
#define MOE_RUNTIME_FAKEDRIVER_FAKEDRIVERSTATE_H

#include "runtime/FakeDriver/FakeDriver.h"

#include <deque>
#include <functional>
#include <set>

namespace moe::fakecuda {

/// The primary context of a device, with its memory.
struct FakeContext {
  int ordinal = 0;
  int users = 0;
  std::recursive_mutex mutex; // of all that follows
  emu::Memory memory;
  uint64_t used = 0;
  std::map<rt::CuPointer, uint64_t> sizes;
  std::set<struct FakeStream *> streams;
  rt::CuResult failure = rt::CuSuccess; // for good
};

struct FakeStream {
  FakeContext *context;
  std::deque<std::function<rt::CuResult()>> pending;
};

struct FakeEvent {
  FakeStream *stream = nullptr;
  uint64_t recorded = 0, passed = 0;
};

struct FakeFunction {
  FakeContext *context;
  std::string name;
  const FakeKernel *kernel;
  int dynamicBytes = 48 << 10;
};

/// A launch that waits, or a node of a graph.
struct FakeLaunch {
  struct Argument {
    alignas(64) void *bytes[16] = {};
  };
  FakeFunction function;
  unsigned blocks = 0, threads = 0, sharedBytes = 0;
  std::vector<Argument> arguments;
};

/// Either side of instantiation.
struct FakeGraph {
  std::vector<FakeLaunch> launches;
  std::vector<rt::CuGraphNode> nodes;
};

struct FakeModule {
  FakeContext *context;
  std::string text;
  std::map<std::string, FakeKernel> kernels; // compiled for it
  std::map<std::string, FakeFunction> functions;
};

struct FakeLink {
  std::string ptx, cubin;
  char *log = nullptr;
  size_t logBytes = 0;
};

/// The one that was made last.
extern FakeDriver *fake;
/// Of the thread; null: none.
FakeContext *currentContext();

template <typename Handle, typename T>
Handle handle(T *object) {
  return reinterpret_cast<Handle>(object);
}
template <typename T, typename Handle>
T *object(Handle handle) {
  return reinterpret_cast<T *>(handle);
}

/// The current context, locked; with `error` if there is none or it failed.
struct Entered {
  Entered() : at(currentContext()) {
    if (!at)
      return;
    lock = std::unique_lock<std::recursive_mutex>(at->mutex);
    error = at->failure;
  }
  FakeContext *operator->() const { return at; }

  FakeContext *at;
  std::unique_lock<std::recursive_mutex> lock;
  rt::CuResult error = rt::CuInvalidContext;
};

/// Adds work to a stream of the current context.
rt::CuResult enqueue(rt::CuStream to, std::function<rt::CuResult()> work);
const FakeDevice *deviceAt(rt::CuDevice device);
/// Keeps the words for FakeDriver::lastError().
rt::CuResult fail(const std::string &words);

} // namespace moe::fakecuda

namespace moe::rt {
extern "C" {
#define DECLARE(member, symbol, parameters) CuResult symbol parameters;
MOE_CUDA_REQUIRED(DECLARE)
MOE_CUDA_OPTIONAL(DECLARE)
#undef DECLARE
}
} // namespace moe::rt

#endif // MOE_RUNTIME_FAKEDRIVER_FAKEDRIVERSTATE_H
