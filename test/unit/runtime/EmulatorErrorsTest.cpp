// Kernels with one mistake each, which must be found in every schedule, or in
// those that the test names.
#include "test/unit/runtime/EmulatorKernels.h"

using namespace moe::emu;
using namespace moe::test;
using moe::rt::Code;
using moe::rt::Status;

namespace {

TEST(EmulatorErrors, SayWhereAndWhat) {
  Status status = runOnFloats(
      [](void **arguments) {
        if (moegpu_emu_block_id() == 1 && moegpu_emu_thread_id() == 37)
          load(static_cast<float *>(arguments[0]) + 102, "load x");
      },
      {2, 64, 0});
  EXPECT_EQ(status.message,
            "kernel 'k', block 1, thread 37 (warp 1, lane 5), at 'load x': "
            "reads 4 bytes of global memory, 8 bytes after the end of 'x' (400 "
            "bytes); stay within an allocation");
}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

TEST(EmulatorErrors, OutOfGlobalBounds) {
  expectError(
      [](void **arguments) {
        store(static_cast<float *>(arguments[1]) + moegpu_emu_thread_id() * 4,
              0.0f, "store y");
      },
      {1, 32, 0}, {"'store y'", "writes 4 bytes of global memory", "'y' (400"});
  expectError(
      [](void **arguments) {
        load(static_cast<float *>(arguments[0]) - 2, "load x");
      },
      {}, {"8 bytes before 'x' (400 bytes)"});
  // Begins within.
  expectError(
      [](void **arguments) {
        load(reinterpret_cast<Float4 *>(static_cast<float *>(arguments[0]) +
                                        98));
      },
      {}, {"reads 16 bytes", "the last 8 lie after the end of 'x'"});
  expectError([](void **) { load(static_cast<float *>(nullptr)); }, {},
              {"at address 0x0, far from every allocation"});
  expectError(
      [](void **arguments) {
        moegpu_emu_atomic_add_i32(static_cast<int32_t *>(arguments[0]) + 100, 1,
                                  "add");
      },
      {}, {"'add'", "adds to 4 bytes", "0 bytes after the end of 'x'"});
  expectError(
      [](void **arguments) {
        if (moegpu_emu_thread_id() != 0)
          return;
        // Bytes that are not valid are not read.
        const float *end = static_cast<float *>(arguments[0]) + 100;
        moegpu_emu_async_copy(shared(), end - 4, 16, 16, "inside");
        moegpu_emu_async_copy(shared(16), end, 16, 0, "nothing");
        moegpu_emu_async_copy(shared(32), end, 16, 4, "outside");
      },
      {1, 32, 64},
      {"'outside': starts an asynchronous copy of 4 bytes of global memory, 0 "
       "bytes after the end of 'x'"});
}

TEST(EmulatorErrors, FreedAndReadOnlyMemory) {
  Memory memory;
  auto freed = memory.allocate(16, "freed");
  ASSERT_TRUE(freed);
  const float weights[4] = {};
  ASSERT_TRUE(memory.addReadOnly(weights, sizeof weights, "weights").ok());
  void *arguments[] = {const_cast<float *>(weights), *freed};
  ASSERT_TRUE(memory.free(*freed).ok());
  Launch launch;
  launch.name = "k";
  launch.blocks = 1;
  launch.threads = 32;
  launch.arguments = arguments;
  launch.entry = [](void **arguments) {
    load(static_cast<float *>(arguments[0]));
    store(static_cast<float *>(arguments[0]), 1.0f);
  };
  Status status = run(launch, memory, {});
  EXPECT_NE(status.message.find(
                "writes 4 bytes of 'weights', which kernels may only read"),
            std::string::npos)
      << status.message;
  launch.entry = [](void **arguments) {
    load(static_cast<float *>(arguments[1]));
  };
  status = run(launch, memory, {});
  EXPECT_NE(status.message.find("reads 4 bytes of global memory"),
            std::string::npos)
      << status.message;
}

TEST(EmulatorErrors, WritesPastTheChecks) {
  Device device;
  device.argument("x", std::vector<float>(3));
  Status status = device.run(
      [](void **arguments) { static_cast<float *>(arguments[0])[3] = 0; }, {});
  EXPECT_EQ(status.message,
            "kernel 'k': something wrote after the last byte of 'x' (12 "
            "bytes), past the checks");
  EXPECT_FALSE(device.memory.free(device.arguments[0]).ok());
  EXPECT_EQ(device.memory.free(device.arguments[0]).code, Code::NotFound);
}

TEST(EmulatorErrors, OverlappingMemory) {
  Memory memory;
  float values[8];
  ASSERT_TRUE(memory.add(values + 2, 16, "middle").ok());
  EXPECT_EQ(memory.add(values, 12, "front").message,
            "emulated memory 'front' overlaps 'middle'");
  EXPECT_FALSE(memory.add(values + 5, 12, "back").ok());
  EXPECT_FALSE(memory.add(values + 2, 16, "same").ok());
  EXPECT_TRUE(memory.add(values, 8, "before").ok());
  EXPECT_TRUE(memory.add(values + 6, 8, "after").ok());
}

TEST(EmulatorErrors, OutOfSharedBounds) {
  expectError([](void **) { store(shared(64), 0.0f, "store"); }, {1, 32, 64},
              {"'store'", "writes 4 bytes at byte 64 of shared memory; the "
                          "block has 64 bytes"});
  expectError(
      [](void **) {
        int32_t registers[4];
        moegpu_emu_ldmatrix(registers, shared(), 1, 0, "ldmatrix");
      },
      {}, {"'ldmatrix'", "the block has 0 bytes"});
}

TEST(EmulatorErrors, Misaligned) {
  expectError(
      [](void **arguments) {
        load(reinterpret_cast<Float4 *>(static_cast<float *>(arguments[0]) + 1),
             "load x");
      },
      {},
      {"'load x'", "reads 16 bytes at byte 4 of 'x', misaligned; the "
                   "address must be a multiple of 16"});
  expectError([](void **) { store(shared<int16_t>(1), int16_t(0)); },
              {1, 32, 64}, {"byte 1 of shared memory", "a multiple of 2"});
  expectError(
      [](void **arguments) {
        moegpu_emu_async_copy(shared(8), arguments[0], 16, 16, "copy");
      },
      {1, 32, 64}, {"'copy'", "byte 8 of shared memory, misaligned"});
}

//===----------------------------------------------------------------------===//
// Meeting
//===----------------------------------------------------------------------===//

TEST(EmulatorErrors, WrongBarriers) {
  expectError([](void **) { moegpu_emu_barrier(0, 48, "wait"); }, {1, 64, 0},
              {"'wait': waits at barrier 0 for 48 threads; it takes a multiple "
               "of 32, at most the block's 64"});
  expectError([](void **) { moegpu_emu_barrier(0, 128, "wait"); }, {1, 64, 0},
              {"for 128 threads; it takes"});
  expectError([](void **) { moegpu_emu_barrier(16, 0, "wait"); }, {1, 64, 0},
              {"waits at barrier 16; a block has barriers 0 to 15"});
  expectError(
      [](void **) {
        if (moegpu_emu_thread_id() < 32)
          moegpu_emu_barrier(1, 64, "one");
        else
          moegpu_emu_barrier(1, 96, "other");
      },
      {1, 96, 0},
      {"waits at barrier 1 for", "but", "waits there for",
       "all must give the same number"});
}

TEST(EmulatorErrors, Diverges) {
  expectError(
      [](void **) {
        if (moegpu_emu_thread_id() == 7)
          moegpu_emu_ballot(1, "vote");
        else
          moegpu_emu_shuffle(1, 1, 0, "swap");
      },
      {},
      {"divergence: the thread comes to", "'vote'", "'swap'",
       "all lanes of a warp must do it together"});
  expectError(
      [](void **) {
        if (moegpu_emu_thread_id() != 3)
          moegpu_emu_barrier(0, 0, "wait");
      },
      {}, {"divergence", "barrier 0 of 32 threads at 'wait'", "end"});
  // The lanes that have ended are named, or those that wait.
  Status status = runOnFloats(
      [](void **) {
        if (moegpu_emu_thread_id() != 0)
          moegpu_emu_ballot(1, "vote");
      },
      {});
  EXPECT_EQ(status.message,
            "kernel 'k', block 0, thread 1 (warp 0, lane 1), at 'vote': "
            "divergence: the thread comes to the ballot at 'vote', but lane 0 "
            "of its warp has ended; all lanes of a warp must do it together");
  status = runOnFloats(
      [](void **) {
        int32_t thread = moegpu_emu_thread_id();
        if (thread == 31 || (thread > 3 && thread < 7))
          return;
        if (thread == 8)
          moegpu_emu_ballot(1, "vote");
        moegpu_emu_shuffle(1, 1, 0, "swap");
      },
      {});
  EXPECT_EQ(status.message,
            "kernel 'k', block 0, thread 4 (warp 0, lane 4): divergence: the "
            "thread ends while lanes 0 to 3 of its warp wait in the shuffle at "
            "'swap'; all lanes of a warp must do it together");
}

TEST(EmulatorErrors, Deadlocks) {
  // Three warps come to a barrier of two.
  expectError([](void **) { moegpu_emu_barrier(2, 64, "pair"); }, {1, 96, 0},
              {"kernel 'k', block 0: deadlock: 32 threads wait at 'pair' for "
               "barrier 2, which takes 64; 64 threads have ended; as many "
               "threads must come to a barrier as it takes"});
  // Everybody waits for somebody else.
  expectError(
      [](void **) {
        int32_t warp = moegpu_emu_thread_id() / 32;
        if (warp == 0)
          moegpu_emu_barrier(1, 96, "producer");
        else if (warp == 1)
          moegpu_emu_barrier(1, 96, "consumer");
        else
          moegpu_emu_barrier(2, 64, "other");
      },
      {1, 96, 0},
      {"32 threads wait at 'consumer', 32 threads wait at "
       "'producer' for barrier 1, which takes 96; 32 threads wait "
       "at 'other' for barrier 2, which takes 64;"});
}

TEST(EmulatorErrors, WrongLaunches) {
  EXPECT_EQ(runOnFloats([](void **) {}, {1, 33, 0}).message,
            "kernel 'k' is launched with 33 threads a block; it takes a "
            "multiple of 32, at most 1024");
  EXPECT_EQ(runOnFloats([](void **) {}, {1, 2048, 0}).code,
            Code::InvalidArgument);
  EXPECT_EQ(runOnFloats([](void **) {}, {1, 32, 300000}).message,
            "kernel 'k' wants 300000 bytes of shared memory; a block has at "
            "most 232448");
  EXPECT_EQ(runOnFloats(nullptr, {}).message, "kernel 'k' has no code");
}

/// The first error ends the launch: no later block runs.
TEST(EmulatorErrors, StopsTheLaunch) {
  Device device;
  int32_t *count = device.argument("count", std::vector<int32_t>(1));
  auto kernel = [](void **arguments) {
    if (moegpu_emu_thread_id() == 0)
      moegpu_emu_atomic_add_i32(arguments[0], 1, "count");
    if (moegpu_emu_block_id() == 2)
      load(static_cast<float *>(nullptr));
  };
  EXPECT_FALSE(device.run(kernel, {9, 32, 0}).ok());
  EXPECT_EQ(*count, 3);
  // And the next launch is like any other.
  EXPECT_TRUE(device.run(kernel, {2, 32, 0}).ok());
  EXPECT_EQ(*count, 5);
}

} // namespace
