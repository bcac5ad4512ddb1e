// What sm_90a has: counting barriers, tensor copies, products of warpgroups;
// each mistake in using them is found, in every schedule.
#include "test/unit/runtime/EmulatorPipeline.h"

#include <cmath>
#include <cstring>

using namespace moe;
using namespace moe::test;

namespace {

TEST(EmulatorHopper, MultipliesWhatArrives) {
  for (const emu::Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    PipelineRun pipeline;
    rt::Status status = pipeline.run(Pipeline::run<Mistake::None>, options);
    ASSERT_TRUE(status.ok()) << status.message;
    for (int64_t r = 0; r < Pipeline::rows; ++r)
      for (int64_t c = 0; c < Pipeline::columns; ++c) {
        double sum = 0;
        for (int64_t k = 0; k < Pipeline::depth; ++k)
          sum += double(emu::fromBf16(pipeline.a[r * Pipeline::depth + k])) *
                 double(emu::fromBf16(pipeline.b[c * Pipeline::depth + k]));
        ASSERT_NEAR(pipeline.out[r * Pipeline::columns + c], sum, 1e-4);
      }
  }
}

/// What a thread waits for may land while it looks for another to go on: then
/// it goes on itself.
TEST(EmulatorHopper, ThreadsWaitForTheirOwnCopies) {
  constexpr size_t barrier = 512;
  auto kernel = [](void **arguments) {
    auto *from = static_cast<float *>(arguments[0]);
    int32_t thread = moegpu_emu_thread_id();
    if (thread == 0)
      moegpu_emu_mbarrier_init(shared<void>(barrier), 32, "make");
    moegpu_emu_barrier(0, 0, "barrier");
    moegpu_emu_async_copy(shared<float>(size_t(thread) * 16), from + thread * 4,
                          16, 16, "copy");
    moegpu_emu_mbarrier_arrive_copies(shared<void>(barrier), "arrive");
    moegpu_emu_mbarrier_wait(shared<void>(barrier), 0, "wait");
    float last = load(shared<float>(size_t(thread) * 16 + 12), "last");
    store(static_cast<float *>(arguments[1]) + thread, last);
  };
  std::vector<float> x = randomFloats(128);
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Device device;
    device.argument("x", x);
    float *y = device.argument("y", std::vector<float>(32));
    rt::Status status = device.run(kernel, {1, 32, 520}, {seed, true, false});
    ASSERT_TRUE(status.ok()) << seed << ": " << status.message;
    for (int i = 0; i < 32; ++i)
      ASSERT_EQ(y[i], x[size_t(i) * 4 + 3]);
  }
}

/// 64 rows of 32 numbers in registers times 8 of the middle of 64; what lies
/// beside those is not even looked at.
TEST(EmulatorHopper, MultipliesRowsInRegisters) {
  constexpr int64_t first = 1, steps = 2, depth = 16 * steps;
  auto kernel = [](void **arguments) {
    auto *a = static_cast<float *>(arguments[0]);
    auto *b = static_cast<float *>(arguments[1]);
    int32_t thread = moegpu_emu_thread_id();
    for (int32_t word = 2 * thread; word < 2 * thread + 2; ++word) {
      int32_t row = word / 32, chunk = word % 32 / 4;
      store(
          shared<float>(size_t(row * 128 + (chunk ^ row) * 16 + word % 4 * 4)),
          load(b + word, "b"));
    }
    moegpu_emu_proxy_fence();
    moegpu_emu_barrier(0, 0, "barrier");
    int32_t registers[4 * steps];
    for (int32_t i = 0; i < 4 * steps; ++i) {
      float bits = load(a + thread * 4 * steps + i, "a");
      std::memcpy(registers + i, &bits, 4);
    }
    float sums[4] = {1, 2, 3, 4};
    moegpu_emu_wgmma_fence("fence");
    moegpu_emu_wgmma_registers(sums, registers, shared<void>(), sums, 8, first,
                               steps, 0, "multiply");
    moegpu_emu_wgmma_commit("commit");
    moegpu_emu_wgmma_finish(sums, sums, 4, "finish");
    for (int32_t i = 0; i < 4; ++i)
      store(static_cast<float *>(arguments[2]) + thread * 4 + i, sums[i]);
  };
  auto left = [](int64_t row, int64_t k) { return row % 7 - 3 + k % 5; };
  auto right = [](int64_t row, int64_t k) { return k % 3 - row % 2; };
  auto pair = [](double low, double high) {
    uint16_t halves[] = {emu::toBf16(float(low)), emu::toBf16(float(high))};
    float both;
    std::memcpy(&both, halves, 4);
    return both;
  };
  std::vector<float> a, b;
  for (int64_t thread = 0; thread < 128; ++thread)
    for (int64_t i = 0; i < 4 * steps; ++i) {
      int64_t row = thread / 32 * 16 + thread % 32 / 4 + i % 2 * 8;
      int64_t k = i / 4 * 16 + thread % 4 * 2 + i / 2 % 2 * 8;
      a.push_back(pair(left(row, k), left(row, k + 1)));
    }
  for (int64_t row = 0; row < 8; ++row)
    for (int64_t k = -16 * first; k < 64 - 16 * first; k += 2)
      b.push_back(k < 0 || k >= depth ? pair(NAN, NAN)
                                      : pair(right(row, k), right(row, k + 1)));
  for (const emu::Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    Device device;
    device.argument("a", a);
    device.argument("b", b);
    float *out = device.argument("out", std::vector<float>(128 * 4));
    rt::Status status = device.run(kernel, {1, 128, 1024}, options);
    ASSERT_TRUE(status.ok()) << status.message;
    for (int64_t i = 0; i < 128 * 4; ++i) {
      int64_t row = i / 128 * 16 + i / 4 % 32 / 4 + i % 4 / 2 * 8;
      int64_t column = i / 4 % 4 * 2 + i % 2;
      double sum = double(i % 4 + 1);
      for (int64_t k = 0; k < depth; ++k)
        sum += double(left(row, k) * right(column, k));
      ASSERT_EQ(out[i], sum) << i;
    }
  }
}

enum class ByteMistake { None, NoFence, Overwrites, OtherKind };

/// 64 rows of 128 E4M3 numbers times 8 such rows; or the second and third 32 of
/// them, with the 64 rows in registers.
template <bool isInRegisters, ByteMistake mistake>
void multiplyBytes(void **arguments) {
  constexpr int32_t first = 1, steps = 2;
  int32_t thread = moegpu_emu_thread_id();
  auto *a = static_cast<float *>(arguments[0]);
  auto *b = static_cast<float *>(arguments[1]);
  // Words of rows, where wgmma looks for them.
  auto bring = [&](const float *from, size_t to, int32_t rows) {
    for (int32_t word = thread; word < rows * 32; word += 128) {
      int32_t row = word / 32, chunk = word % 32 / 4;
      store(shared<float>(
                to + size_t(row * 128 + (chunk ^ row % 8) * 16 + word % 4 * 4)),
            load(from + word), "bring");
    }
  };
  if (!isInRegisters)
    bring(a, 1024, 64);
  bring(b, 0, 8);
  if (mistake != ByteMistake::NoFence)
    moegpu_emu_proxy_fence();
  moegpu_emu_barrier(0, 0, "barrier");
  int32_t registers[4 * steps];
  for (int32_t i = 0; isInRegisters && i < 4 * steps; ++i) {
    int32_t row = thread / 32 * 16 + thread % 32 / 4 + i % 2 * 8;
    int32_t word = (first + i / 4) * 8 + thread % 4 + i % 4 / 2 * 4;
    float bits = load(a + row * 32 + word, "a");
    std::memcpy(registers + i, &bits, 4);
  }
  float sums[4] = {1, 2, 3, 4};
  int32_t kind = mistake == ByteMistake::OtherKind ? 2 : 3;
  moegpu_emu_wgmma_fence("fence");
  if (isInRegisters)
    moegpu_emu_wgmma_registers(sums, registers, shared<void>(), sums, 8, first,
                               steps, kind, "multiply");
  else
    moegpu_emu_wgmma(sums, shared<void>(1024), shared<void>(), sums, 8, kind,
                     "multiply");
  moegpu_emu_wgmma_commit("commit");
  if (mistake == ByteMistake::Overwrites && thread == 0)
    store(shared<float>(64), 0.0f, "overwrite");
  moegpu_emu_wgmma_finish(sums, sums, 4, "finish");
  for (int32_t i = 0; i < 4; ++i)
    store(static_cast<float *>(arguments[2]) + thread * 4 + i, sums[i]);
}

struct ByteRun {
  std::vector<uint8_t> a, b;
  float *out = nullptr;
  Device device;

  /// What lies before number `first` and from `end` on is none.
  ByteRun(int64_t first, int64_t end) {
    for (int64_t i = 0; i < 72 * 128; ++i) {
      bool isThere = i % 128 >= first && i % 128 < end;
      (i < 64 * 128 ? a : b)
          .push_back(isThere ? emu::toE4M3(float(i * 7 % 23 - 11) * 0.25f)
                             : 0x7F);
    }
  }
  rt::Status run(void (*kernel)(void **), const emu::Options &options) {
    device.argument("a", a);
    device.argument("b", b);
    out = device.argument("out", std::vector<float>(128 * 4));
    return device.run(kernel, {1, 128, 1024 * 9}, options);
  }
};

TEST(EmulatorHopper, MultipliesBytes) {
  for (bool isInRegisters : {false, true})
    for (const emu::Options &options : schedules()) {
      SCOPED_TRACE(describe(options));
      int64_t first = isInRegisters ? 32 : 0, end = isInRegisters ? 96 : 128;
      ByteRun run(first, end);
      rt::Status status =
          run.run(isInRegisters ? multiplyBytes<true, ByteMistake::None>
                                : multiplyBytes<false, ByteMistake::None>,
                  options);
      ASSERT_TRUE(status.ok()) << status.message;
      for (int64_t i = 0; i < 128 * 4; ++i) {
        int64_t row = i / 128 * 16 + i / 4 % 32 / 4 + i % 4 / 2 * 8;
        int64_t column = i / 4 % 4 * 2 + i % 2;
        double sum = double(i % 4 + 1);
        for (int64_t k = first; k < end; ++k)
          sum += double(emu::fromE4M3(run.a[size_t(row * 128 + k)])) *
                 double(emu::fromE4M3(run.b[size_t(column * 128 + k)]));
        ASSERT_EQ(run.out[i], sum) << i;
      }
    }
}

TEST(EmulatorHopper, FindsMistakesWithBytes) {
  auto expect = [](void (*kernel)(void **), const char *part) {
    for (const emu::Options &options : schedules()) {
      rt::Status status = ByteRun(0, 128).run(kernel, options);
      EXPECT_NE(status.message.find(part), std::string::npos)
          << describe(options) << ": " << status.message;
    }
  };
  expect(multiplyBytes<true, ByteMistake::NoFence>,
         "with no proxy fence since; put one between");
  expect(multiplyBytes<true, ByteMistake::Overwrites>,
         "an operand of the wgmma on its way at 'multiply'");
  expect(multiplyBytes<false, ByteMistake::Overwrites>,
         "an operand of the wgmma on its way at 'multiply'");
  expect(multiplyBytes<true, ByteMistake::OtherKind>,
         "multiplies numbers of kind 2; there are kinds 0 (bf16), 1 (f16) and "
         "3 (e4m3)");
}

TEST(EmulatorHopper, CountsProductsAndBytes) {
  PipelineRun pipeline;
  emu::Counts counts;
  ASSERT_TRUE(
      pipeline.run(Pipeline::run<Mistake::None>, {0, false, true}, &counts)
          .ok());
  EXPECT_EQ(counts.find("multiply")->mma, uint64_t(Pipeline::steps));
  EXPECT_EQ(counts.find("load box")->global.bytesRead,
            uint64_t(2 * Pipeline::columns * Pipeline::depth));
  EXPECT_EQ(counts.find("load box")->shared.bytesWritten,
            uint64_t(2 * Pipeline::columns * Pipeline::depth));
  EXPECT_EQ(counts.find("copy")->bankConflicts, 0u);
}

/// Fails in every schedule; the message has one of the lists of parts.
void expectMistake(void (*kernel)(void **),
                   const std::vector<std::vector<std::string>> &findings) {
  for (const emu::Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    PipelineRun pipeline;
    rt::Status status = pipeline.run(kernel, options);
    EXPECT_EQ(status.code, rt::Code::ModelFailed);
    bool isFound = false;
    for (const auto &parts : findings) {
      bool hasAll = true;
      for (const std::string &part : parts)
        hasAll &= status.message.find(part) != std::string::npos;
      isFound |= hasAll;
    }
    EXPECT_TRUE(isFound) << status.message;
  }
}

TEST(EmulatorHopper, BarriersAreFencedBeforeBoxes) {
  expectMistake(Pipeline::run<Mistake::NoFenceAfterInit>,
                {{"'load box'", "copies with the barrier in shared bytes",
                  "'make full'", "no proxy fence since"}});
}

TEST(EmulatorHopper, WaitsForCopies) {
  expectMistake(
      Pipeline::run<Mistake::NoWaitForFull>,
      {{"'multiply'", "which nobody in the block has written"},
       {"'multiply'", "while an asynchronous copy to them", "is on its way"},
       {"'multiply'", "copied asynchronously; wait for the barrier that counts "
                      "the copy"}});
}

TEST(EmulatorHopper, FindsOverwrittenOperands) {
  expectMistake(
      Pipeline::run<Mistake::NoWaitForEmpty>,
      {{"an operand of the wgmma on its way at 'multiply'"},
       {"starts an asynchronous copy to", "'multiply'", "(data race)"},
       {"starts an asynchronous copy to", "copied asynchronously"},
       {"starts an asynchronous copy to", "is on its way"},
       {"whose 129 arrivals of this phase have been"}});
  expectMistake(Pipeline::run<Mistake::EarlyRelease>,
                {{"overwrites", "an operand of the wgmma on its way at "
                                "'multiply'; wait for it first"}});
}

TEST(EmulatorHopper, NeedsFences) {
  expectMistake(Pipeline::run<Mistake::NoProxyFence>,
                {{"'multiply'", "multiplies shared bytes", "'copy'",
                  "with no proxy fence since; put one between"}});
  expectMistake(Pipeline::run<Mistake::NoWgmmaFence>,
                {{"'multiply'", "with no wgmma fence before"}});
}

TEST(EmulatorHopper, ChecksTheBytesOfTransactions) {
  expectMistake(Pipeline::run<Mistake::ExpectsLess>,
                {{"has got 64 bytes more than were expected"}});
  expectMistake(Pipeline::run<Mistake::ExpectsMore>,
                {{"deadlock", "128 threads wait at 'wait full' (thread ",
                  "phase 0 lacks 0 of 129 arrivals and 64 bytes"}});
}

TEST(EmulatorHopper, ChecksArrivals) {
  expectMistake(Pipeline::run<Mistake::CountsMore>,
                {{"deadlock", "128 threads wait at 'wait full'",
                  "lacks 1 of 130 arrivals"}});
  // The last one is the next phase's.
  expectMistake(Pipeline::run<Mistake::CountsLess>,
                {{"'multiply'", "while an asynchronous copy to them"},
                 {"'multiply'", "copied asynchronously; wait for the barrier"},
                 {"'multiply'", "which nobody in the block has written"},
                 {"whose 128 arrivals of this phase have been"}});
}

TEST(EmulatorHopper, FinishesProducts) {
  expectMistake(Pipeline::run<Mistake::FinishesUncommitted>,
                {{"'finish'", "the product at 'multiply' is in no group"}});
  PipelineRun pipeline;
  ASSERT_TRUE(pipeline.run(Pipeline::run<Mistake::UsesUnfinished>, {}).ok());
  for (float x : pipeline.out)
    EXPECT_TRUE(std::isnan(x));
}

TEST(EmulatorHopper, ThreadsOutliveTheirCopies) {
  // Copies may have landed: seen where they come late.
  int found = 0;
  for (const emu::Options &options : schedules()) {
    PipelineRun pipeline;
    rt::Status status =
        pipeline.run(Pipeline::run<Mistake::EndsEarly>, options);
    found += !status.ok();
    if (!status.ok())
      EXPECT_NE(status.message.find("ends while"), std::string::npos)
          << status.message;
  }
  EXPECT_GT(found, 0);
}

TEST(EmulatorHopper, ChecksOperands) {
  auto fails = [](void (*kernel)(void **), Shape shape,
                  std::vector<std::string> parts) {
    expectError(kernel, shape, parts);
  };
  fails([](void **) { moegpu_emu_mbarrier_wait(shared(), 0, "wait"); },
        {1, 32, 64},
        {"'wait'", "waits at byte 0 of shared memory, where no barrier that "
                   "counts was made"});
  fails(
      [](void **) {
        if (moegpu_emu_thread_id())
          return;
        moegpu_emu_mbarrier_init(shared(), 1, "make");
        moegpu_emu_mbarrier_init(shared(), 1, "again");
      },
      {1, 32, 64}, {"'again'", "where"});
  fails(
      [](void **) {
        if (moegpu_emu_thread_id())
          return;
        moegpu_emu_mbarrier_init(shared(), 1, "make");
        store(shared(1), 1.0f, "clear");
      },
      {1, 32, 64}, {"misaligned"});
  fails(
      [](void **) {
        if (moegpu_emu_thread_id())
          return;
        moegpu_emu_mbarrier_init(shared(), 1, "make");
        store(shared(4), 1.0f, "clear");
      },
      {1, 32, 64}, {"'clear'", "where a barrier that counts is"});
  fails(
      [](void **) {
        if (moegpu_emu_thread_id() == 0)
          moegpu_emu_mbarrier_init(shared(), 1, "make");
        moegpu_emu_mbarrier_arrive(shared(), 0, "arrive");
      },
      {1, 64, 64}, {"'arrive'"});
  fails(
      [](void **arguments) {
        moegpu_emu_tensor_load(arguments[0], 0, 0, 0, shared(), shared(),
                               "load");
      },
      {1, 32, 64}, {"'load'", "no tensor map"});
  fails(
      [](void **) {
        float sums[4] = {};
        moegpu_emu_wgmma(sums, shared(512), shared(1024), sums, 8, 0,
                         "multiply");
      },
      {1, 128, 65536},
      {"'multiply'", "begin at a multiple of 1024 in shared memory"});
  fails(
      [](void **) {
        float sums[4] = {};
        int32_t second = moegpu_emu_thread_id() == 77;
        moegpu_emu_wgmma(sums, shared(size_t(second) * 1024), shared(1024),
                         sums, 8, 0, "multiply");
      },
      {1, 128, 65536}, {"other rows than another thread"});
  fails(
      [](void **) {
        float sums[4] = {};
        int32_t rows[16] = {};
        moegpu_emu_wgmma_registers(sums, rows, shared(), sums, 8, 2, 3, 0,
                                   "multiply");
      },
      {1, 128, 65536},
      {"'multiply'", "multiplies 3 steps from step 2; there are four"});
  fails([](void **) { moegpu_emu_wgmma_fence("fence"); }, {1, 96, 0},
        {"'fence'", "a block of 96 threads"});
  fails(
      [](void **) {
        if (moegpu_emu_thread_id() < 96)
          moegpu_emu_wgmma(nullptr, shared(), shared(), nullptr, 8, 0,
                           "multiply");
      },
      {1, 128, 65536},
      {"deadlock", "3 warps of warpgroup 0 wait at 'multiply' for the others"});
  fails([](void **) { moegpu_emu_max_registers(240, "take"); }, {1, 384, 0},
        {"'take'", "; it started with 64512"});
}

TEST(EmulatorHopper, RefusesMapsAsTheDriverDoes) {
  alignas(16) static uint8_t memory[64];
  uint64_t sizes[] = {64, 16, 2}, strides[] = {128, 2048};
  uint32_t box[] = {64, 16, 1};
  auto message = [&](const void *begin) {
    auto map = emu::encodeTensorMap(begin, 2, sizes, strides, box);
    return map ? std::string() : map.error().message;
  };
  EXPECT_EQ(message(memory), "");
  EXPECT_EQ(message(memory + 2),
            "tensor map: the address is not a multiple of 16");
  strides[0] = 130;
  EXPECT_EQ(message(memory), "tensor map: stride 0 is 130; it can be a "
                             "multiple of 16 below 2^40");
  strides[0] = 128, box[0] = 32;
  EXPECT_EQ(message(memory),
            "tensor map: rows of the box have 64 bytes, not the swizzle's 128");
  box[0] = 64, box[1] = 257;
  EXPECT_EQ(message(memory),
            "tensor map: size 1 of the box is 257; it can be 1 to 256");
  box[1] = 16, sizes[2] = 0;
  EXPECT_EQ(message(memory),
            "tensor map: size 2 is 0; it can be 1 to 4294967296");
}

} // namespace
