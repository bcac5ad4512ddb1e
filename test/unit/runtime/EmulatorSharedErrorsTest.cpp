// Kernels with one mistake each in how their threads share memory: races, and
// asynchronous copies that are used or overwritten too early.
#include "test/unit/runtime/EmulatorKernels.h"

using namespace moe::emu;
using namespace moe::test;
using moe::rt::Status;

namespace {

TEST(EmulatorSharedErrors, ReadsWhatNobodyWrote) {
  expectError(
      [](void **) {
        if (moegpu_emu_thread_id() == 0) {
          store(shared<int16_t>(4), int16_t(1));
          load(shared<int16_t>(4));
          load(shared<int32_t>(4), "load");
        }
      },
      {1, 32, 64},
      {"'load'", "reads shared bytes 4 to 7, which nobody in the block has "
                 "written; write them first"});
  // What another block wrote does not count.
  expectError(
      [](void **) {
        if (moegpu_emu_thread_id() != 0)
          return;
        load(shared(), "load");
        store(shared(), 1.0f);
      },
      {2, 32, 64}, {"which nobody in the block has written"});
  expectError(
      [](void **) { moegpu_emu_atomic_add_i32(shared<int32_t>(), 1, "add"); },
      {1, 32, 64}, {"'add'", "nobody in the block has written"});
}

/// Each thread reads what a thread of another warp writes.
template <bool withBarrier>
void exchange(void **arguments) {
  int32_t thread = moegpu_emu_thread_id();
  store(shared() + thread, 1.0f, "give");
  if (withBarrier)
    moegpu_emu_barrier(0, 0, "between");
  store(static_cast<float *>(arguments[0]) + thread,
        load(shared() + (thread + 32) % 64, "take"));
}

TEST(EmulatorSharedErrors, ReadsBeforeTheBarrier) {
  EXPECT_TRUE(runOnFloats(exchange<true>, {1, 64, 256}).ok());
  // Whichever comes first: a read of nothing, a race with the write before, or
  // with the read before.
  for (const Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    Status status = runOnFloats(exchange<false>, {1, 64, 256}, options);
    EXPECT_NE(status.message.find("'take'"), std::string::npos)
        << status.message;
  }
  // Once something was there it is always a race.
  expectError(
      [](void **) {
        int32_t thread = moegpu_emu_thread_id();
        store(shared() + thread, 1.0f, "clear");
        moegpu_emu_barrier(0, 0, "cleared");
        store(shared() + thread, 1.0f, "give");
        load(shared() + (thread + 32) % 64, "take");
      },
      {1, 64, 256},
      {"'give'", "'take'", "with no barrier since (data race)",
       "put a barrier between"});
}

/// In order, warp 0 comes first: each race alone, and who did what.
TEST(EmulatorSharedErrors, NamesBothSidesOfARace) {
  Status status = runOnFloats(
      [](void **) {
        if (moegpu_emu_thread_id() == 5)
          store(shared() + 2, 1.0f, "give");
        if (moegpu_emu_thread_id() == 40)
          load(shared() + 2, "take");
      },
      {1, 64, 256});
  EXPECT_EQ(status.message,
            "kernel 'k', block 0, thread 40 (warp 1, lane 8), at 'take': reads "
            "shared bytes 8 to 11, which thread 5 (warp 0) at 'give' wrote "
            "with no barrier since (data race); put a barrier between");
  status = runOnFloats(
      [](void **) {
        if (moegpu_emu_thread_id() == 5) {
          store(shared(), 1.0f, "give");
          load(shared(), "take");
        }
        moegpu_emu_barrier(1, 64, "between");
        if (moegpu_emu_thread_id() == 6)
          load(shared(), "take again");
        if (moegpu_emu_thread_id() == 40)
          store(shared(), 1.0f, "give again");
      },
      {1, 64, 256});
  EXPECT_EQ(status.message,
            "kernel 'k', block 0, thread 40 (warp 1, lane 8), at 'give again': "
            "writes shared bytes 0 to 3, which thread 6 (warp 0) at 'take "
            "again' read with no barrier since (data race); put a barrier "
            "between");
  status = runOnFloats(
      [](void **) {
        if (moegpu_emu_thread_id() == 5) {
          store(shared<int32_t>(), 1);
          moegpu_emu_atomic_add_i32(shared<int32_t>(), 1, "add");
        }
        if (moegpu_emu_thread_id() == 40)
          load(shared<int32_t>(), "result");
      },
      {1, 64, 256});
  EXPECT_NE(status.message.find("at 'add' wrote with no barrier"),
            std::string::npos)
      << status.message;
}

TEST(EmulatorSharedErrors, WritesOverWhatOthersRead) {
  expectError(
      [](void **) {
        int32_t warp = moegpu_emu_thread_id() / 32;
        if (moegpu_emu_thread_id() == 0)
          store(shared(), 1.0f, "first");
        moegpu_emu_barrier(0, 0, "there");
        if (warp == 1)
          load(shared(), "read");
        if (moegpu_emu_thread_id() == 0)
          store(shared(), 2.0f, "second");
      },
      {1, 64, 64}, {"'read'", "'second'", "(data race)"});
}

TEST(EmulatorSharedErrors, SynchronisesTheWrongWarps) {
  // Warps 0 and 1 meet; warp 2 reads what warp 0 wrote.
  expectError(
      [](void **) {
        int32_t warp = moegpu_emu_thread_id() / 32;
        store(shared() + moegpu_emu_thread_id(), 1.0f);
        moegpu_emu_barrier(0, 0, "all");
        if (warp == 0)
          store(shared() + moegpu_emu_thread_id(), 1.0f, "write");
        if (warp < 2)
          moegpu_emu_barrier(1, 64, "some");
        else
          load(shared() + moegpu_emu_thread_id() - 64, "read");
      },
      {1, 96, 384}, {"'write'", "'read'", "(data race)"});
  // In order, the reader comes after the barrier; it had no part in it.
  Status status = runOnFloats(
      [](void **) {
        if (moegpu_emu_thread_id() == 0)
          store(shared(), 1.0f, "write");
        if (moegpu_emu_thread_id() < 64)
          moegpu_emu_barrier(1, 64, "some");
        else
          load(shared(), "read");
      },
      {1, 96, 4});
  EXPECT_NE(status.message.find("at 'write' wrote with no barrier since"),
            std::string::npos)
      << status.message;
}

TEST(EmulatorSharedErrors, MixesAtomicsAndLoads) {
  expectError(
      [](void **) {
        if (moegpu_emu_thread_id() == 0)
          store(shared<int32_t>(), 0);
        moegpu_emu_barrier(0, 0, "cleared");
        moegpu_emu_atomic_add_i32(shared<int32_t>(), 1, "add");
        load(shared<int32_t>(), "result");
      },
      {1, 64, 64}, {"'add'", "'result'", "(data race)"});
}

TEST(EmulatorSharedErrors, AllowsBytesOfOneWord) {
  EXPECT_TRUE(runOnFloats(
                  [](void **) {
                    int32_t thread = moegpu_emu_thread_id();
                    int32_t at = thread % 32 * 2 + thread / 32;
                    store(shared<int16_t>() + at, int16_t(thread));
                    load(shared<int16_t>() + at);
                  },
                  {1, 64, 128})
                  .ok());
}

//===----------------------------------------------------------------------===//
// Asynchronous copies
//===----------------------------------------------------------------------===//

enum class Copy { Right, NoWait, NoCommit, NoBarrier, ShallowWait };

/// Every thread copies a number and reads its neighbour's.
template <Copy copy>
void copyAround(void **arguments) {
  int32_t thread = moegpu_emu_thread_id();
  const float *x = static_cast<float *>(arguments[0]);
  moegpu_emu_async_copy(shared() + thread, x + thread, 4, 4, "copy");
  if (copy != Copy::NoCommit)
    moegpu_emu_async_commit("commit");
  if (copy != Copy::NoWait)
    moegpu_emu_async_wait(copy == Copy::ShallowWait ? 1 : 0, "wait");
  if (copy != Copy::NoBarrier)
    moegpu_emu_barrier(0, 0, "barrier");
  float value = load(shared() + (thread + 1) % 64, "use");
  store(static_cast<float *>(arguments[1]) + thread, value);
  moegpu_emu_async_commit("last commit");
  moegpu_emu_async_wait(0, "last wait");
}

TEST(EmulatorSharedErrors, UsesCopiesOnTheirWay) {
  Shape shape = {1, 64, 256};
  EXPECT_TRUE(runOnFloats(copyAround<Copy::Right>, shape).ok());
  std::vector<std::string> parts = {
      "'use'", "while an asynchronous copy to them by thread", "'copy'",
      "is on its way", "commit and wait for it"};
  expectError(copyAround<Copy::NoWait>, shape, parts);
  expectError(copyAround<Copy::NoCommit>, shape, parts);
  expectError(copyAround<Copy::ShallowWait>, shape, parts);
  expectError(copyAround<Copy::NoBarrier>, shape, {"'use'"});
}

TEST(EmulatorSharedErrors, NeedsABarrierAfterAnothersWait) {
  // In the same warp, too: that thread's wait is no promise to others.
  Status status = runOnFloats(
      [](void **arguments) {
        if (moegpu_emu_thread_id() == 0) {
          moegpu_emu_async_copy(shared(), arguments[0], 4, 4, "copy");
          moegpu_emu_async_commit("commit");
          moegpu_emu_async_wait(0, "wait");
        } else {
          load(shared(), "use");
        }
      },
      {1, 32, 64});
  EXPECT_NE(status.message.find("which thread 0 (warp 0) at 'copy' copied "
                                "asynchronously with no barrier since"),
            std::string::npos)
      << status.message;
}

TEST(EmulatorSharedErrors, OverwritesABufferInFlight) {
  expectError(
      [](void **arguments) {
        if (moegpu_emu_thread_id() != 0)
          return;
        moegpu_emu_async_copy(shared(), arguments[0], 16, 16, "first");
        moegpu_emu_async_commit("commit");
        moegpu_emu_async_copy(shared(), arguments[1], 16, 16, "second");
      },
      {1, 32, 64},
      {"at 'second': starts an asynchronous copy to shared bytes "
       "0 to 15 while an asynchronous copy to them by thread 0 "
       "(warp 0) at 'first' is on its way; the thread must "
       "commit and wait for it first"});
  expectError(
      [](void **arguments) {
        if (moegpu_emu_thread_id() != 0)
          return;
        moegpu_emu_async_copy(shared(), arguments[0], 16, 16, "copy");
        store(shared(12), 0.0f, "store");
      },
      {1, 32, 64}, {"'store': writes shared bytes 12 to 15 while", "'copy'"});
}

TEST(EmulatorSharedErrors, RefillsABufferInUse) {
  // No barrier between use and the next copy.
  expectError(
      [](void **arguments) {
        int32_t thread = moegpu_emu_thread_id();
        for (int tile = 0; tile < 2; ++tile) {
          moegpu_emu_async_copy(shared() + thread, arguments[0], 4, 4, "fill");
          moegpu_emu_async_commit("commit");
          moegpu_emu_async_wait(0, "wait");
          moegpu_emu_barrier(0, 0, "filled");
          load(shared() + (thread + 32) % 64, "use");
        }
      },
      {1, 64, 256}, {"'use'", "'fill'"});
}

TEST(EmulatorSharedErrors, EndsWithACopyOnItsWay) {
  expectError(
      [](void **arguments) {
        moegpu_emu_async_copy(shared() + moegpu_emu_thread_id(), arguments[0],
                              4, 4, "copy");
        moegpu_emu_async_commit("commit");
      },
      {1, 32, 128},
      {"'copy'", "the thread ends while its asynchronous copy "
                 "is on its way; commit and wait for it"});
}

TEST(EmulatorSharedErrors, CopiesWhatCannotBe) {
  expectError(
      [](void **arguments) {
        moegpu_emu_async_copy(shared(), arguments[0], 12, 12, "copy");
      },
      {1, 32, 64}, {"12 bytes; it takes 4, 8 or 16"});
  expectError(
      [](void **arguments) {
        moegpu_emu_async_copy(shared(), arguments[0], 8, 9, "copy");
      },
      {1, 32, 64}, {"8 bytes of which 9 are valid; it takes 0 to 8"});
  expectError(
      [](void **arguments) {
        moegpu_emu_async_copy(arguments[1], arguments[0], 8, 8, "copy");
      },
      {1, 32, 64}, {"the destination must be shared memory"});
  expectError(
      [](void **) { moegpu_emu_async_copy(shared(), shared(8), 8, 8, "copy"); },
      {1, 32, 64}, {"the source must be global memory"});
  expectError([](void **) { moegpu_emu_async_wait(-1, "wait"); }, {},
              {"it takes 0 or more"});
}

} // namespace
