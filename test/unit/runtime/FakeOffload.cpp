#include "test/unit/runtime/FakeOffload.h"

#include "runtime/Core/ChooseToken.h"

#include <cstdlib>
#include <cstring>

using namespace moe::rt;

namespace moe::test {
namespace {

FakeOffload *latest = nullptr;
std::shared_ptr<FakeOffload> shared;

Result<OffloadChoice> openFake(const moert_model &, const OffloadRequest &) {
  auto made = shared ? shared : std::make_shared<FakeOffload>();
  latest = made.get();
  return OffloadChoice{made, "a device that a test plays"};
}

} // namespace

const moert_device_runtime &fakeOffloadRuntime() {
  static const moert_device_runtime runtime = {openFake};
  return runtime;
}

FakeOffload &lastOffload() { return *latest; }

void shareOffload(std::shared_ptr<FakeOffload> offload) {
  shared = std::move(offload);
}

char *FakeOffload::bytesAt(const void *address, int64_t bytes) {
  auto at = reinterpret_cast<uintptr_t>(address);
  auto after = memory.upper_bound(at);
  if (after == memory.begin())
    std::abort();
  auto &[begin, held] = *std::prev(after);
  if (bytes < 0 || at - begin + static_cast<uintptr_t>(bytes) > held.size())
    std::abort();
  return held.data() + (at - begin);
}

Result<void *> FakeOffload::allocate(int64_t bytes) {
  std::thread::id self = std::this_thread::get_id();
  interruptions += user != std::thread::id() && user != self;
  user = self;
  std::this_thread::yield(); // others come as soon as they may
  if (bytes < 0 || bytes > limit - used)
    return {Code::OutOfMemory, "the device that a test plays is full"};
  used += bytes;
  uintptr_t address = next;
  memory[address].assign(static_cast<size_t>(bytes), char(0x5a));
  next += static_cast<uintptr_t>(bytes) + 256;
  return reinterpret_cast<void *>(address);
}

void FakeOffload::release(void *given) {
  auto found = memory.find(reinterpret_cast<uintptr_t>(given));
  if (found == memory.end())
    std::abort();
  used -= static_cast<int64_t>(found->second.size());
  memory.erase(found);
}

Result<void *> FakeOffload::constant(const void *data, int64_t bytes,
                                     Recorder *) {
  auto made = allocate(bytes);
  if (made)
    std::memcpy(bytesAt(*made, bytes), data, static_cast<size_t>(bytes));
  return made;
}

Status FakeOffload::upload(void *to, const void *from, int64_t bytes,
                           Recorder *) {
  return copy(Up, {to, from, bytes, bytes, 1, bytes}, nullptr);
}

Status FakeOffload::download(void *to, const void *from, int64_t bytes,
                             Recorder *) {
  return copy(Down, {to, from, bytes, bytes, 1, bytes}, nullptr);
}

Status FakeOffload::copy(Direction direction, const BlockCopy &blocks,
                         Recorder *) {
  downloads += direction == Down;
  for (int64_t b = 0; b < blocks.blocks; ++b) {
    char *to = static_cast<char *>(blocks.to) + b * blocks.toStride;
    const char *from =
        static_cast<const char *>(blocks.from) + b * blocks.fromStride;
    if (blocks.bytes > 0)
      std::memcpy(direction == Down ? to : bytesAt(to, blocks.bytes),
                  direction == Up ? from : bytesAt(from, blocks.bytes),
                  static_cast<size_t>(blocks.bytes));
  }
  return {};
}

Status FakeOffload::launch(int32_t, void **, Recorder *) {
  return {Code::Unsupported, "the device that a test plays has no kernels"};
}

Status FakeOffload::layer(int32_t, int64_t, const Rows &, Recorder *) {
  return {Code::Unsupported, "the device that a test plays has no layers"};
}

Status FakeOffload::wait() {
  ++waits;
  user = std::thread::id();
  return {};
}

Status FakeOffload::sample(const LogitRows &logits, const TokenChoice &choice,
                           int64_t *tokens, Recorder *) {
  for (int64_t s = 0; s < logits.sequences; ++s) {
    const char *at = static_cast<const char *>(logits.data) +
                     s * logits.stride * static_cast<int64_t>(sizeof(float));
    auto *row = reinterpret_cast<const float *>(
        bytesAt(at, logits.width * static_cast<int64_t>(sizeof(float))));
    std::vector<double> numbers(row, row + logits.width);
    tokens[s] =
        chooseToken(numbers.data(), logits.width, choice.temperature,
                    static_cast<uint64_t>(choice.topK), choice.uniform[s]);
  }
  return {};
}

} // namespace moe::test
