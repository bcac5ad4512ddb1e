// A device that the tests play, without a driver.
#ifndef MOE_TEST_UNIT_RUNTIME_FAKEOFFLOAD_H
#define MOE_TEST_UNIT_RUNTIME_FAKEOFFLOAD_H

#include "runtime/Core/Offload.h"

#include <map>
#include <memory>
#include <thread>
#include <vector>

namespace moe::test {

/// Its addresses are none of the processor's: who reads them crashes.
class FakeOffload : public rt::Offload {
public:
  rt::Result<void *> allocate(int64_t bytes) override;
  void release(void *memory) override;
  rt::Result<void *> constant(const void *data, int64_t bytes,
                              rt::Recorder *) override;
  rt::Status upload(void *to, const void *from, int64_t bytes,
                    rt::Recorder *) override;
  rt::Status download(void *to, const void *from, int64_t bytes,
                      rt::Recorder *) override;
  rt::Status copy(Direction direction, const rt::BlockCopy &blocks,
                  rt::Recorder *) override;
  rt::Status launch(int32_t kernel, void **arguments, rt::Recorder *) override;
  rt::Status layer(int32_t number, int64_t count, const Rows &rows,
                   rt::Recorder *) override;
  rt::Status wait() override;
  bool canSample(int32_t dtype) const override {
    return samples && dtype == MOE_F32;
  }
  rt::Status sample(const rt::LogitRows &, const rt::TokenChoice &, int64_t *,
                    rt::Recorder *) override;

  int64_t limit = INT64_MAX; // bytes
  int64_t used = 0;
  int64_t downloads = 0, waits = 0;
  /// How often one thread came between two calls of another, of which the
  /// second was no `wait`.
  int64_t interruptions = 0;
  bool samples = true; ///< whether it chooses tokens

private:
  std::thread::id user; // since the last `wait`

  /// Where so many bytes are; ends the test where they are not.
  char *bytesAt(const void *address, int64_t bytes);

  std::map<uintptr_t, std::vector<char>> memory;
  uintptr_t next = uintptr_t(1) << 60;
};

/// What models name for it; the device of the session opened last is
/// `lastOffload()`.
const moert_device_runtime &fakeOffloadRuntime();
FakeOffload &lastOffload();
/// Has all sessions take this one; null: each its own.
void shareOffload(std::shared_ptr<FakeOffload> offload);

} // namespace moe::test

#endif // MOE_TEST_UNIT_RUNTIME_FAKEOFFLOAD_H
