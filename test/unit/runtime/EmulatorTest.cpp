// Kernels without mistakes: their numbers must be right in every schedule.
#include "runtime/Emulator/Numbers.h"
#include "test/unit/runtime/EmulatorKernels.h"

#include <limits>
#include <numeric>
#include <set>
#include <thread>

using namespace moe::emu;
using namespace moe::test;
using moe::rt::Status;

namespace {

/// y[block] = sum of the block's part of x, halving through shared memory.
void reduceBlock(void **arguments) {
  const float *x = static_cast<float *>(arguments[0]);
  float *y = static_cast<float *>(arguments[1]);
  int32_t thread = moegpu_emu_thread_id(), block = moegpu_emu_block_id();
  float *sums = shared();
  store(sums + thread, load(x + block * 128 + thread));
  for (int32_t half = 64; half; half /= 2) {
    moegpu_emu_barrier(0, 0, "halve");
    if (thread < half)
      store(sums + thread, load(sums + thread) + load(sums + thread + half));
  }
  if (thread == 0)
    store(y + block, load(sums));
}

TEST(Emulator, ReducesOverABlock) {
  std::vector<float> x = randomFloats(128 * 5);
  for (const Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    Device device;
    device.argument("x", x);
    float *y = device.argument("y", std::vector<float>(5));
    Status status = device.run(reduceBlock, {5, 128, 512}, options);
    ASSERT_TRUE(status.ok()) << status.message;
    for (int block = 0; block < 5; ++block)
      EXPECT_NEAR(y[block],
                  std::accumulate(x.begin() + block * 128,
                                  x.begin() + (block + 1) * 128, 0.0),
                  1e-5);
  }
}

TEST(Emulator, ShufflesAndVotes) {
  auto kernel = [](void **arguments) {
    int32_t lane = moegpu_emu_thread_id() % 32;
    int32_t *out =
        static_cast<int32_t *>(arguments[0]) + moegpu_emu_thread_id() * 5;
    int32_t sum = lane;
    for (int32_t by = 16; by; by /= 2)
      sum += moegpu_emu_shuffle(sum, by, 0, "xor");
    store(out, sum);
    store(out + 1, moegpu_emu_shuffle(lane, 3, 1, "up"));
    store(out + 2, moegpu_emu_shuffle(lane, 3, 2, "down"));
    store(out + 3, moegpu_emu_shuffle(lane, 31 - lane, 3, "idx"));
    store(out + 4, moegpu_emu_ballot(lane % 3 == 0, "third"));
  };
  for (const Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    Device device;
    int32_t *out = device.argument("out", std::vector<int32_t>(64 * 5));
    Status status = device.run(kernel, {1, 64, 0}, options);
    ASSERT_TRUE(status.ok()) << status.message;
    for (int thread = 0; thread < 64; ++thread) {
      int lane = thread % 32;
      int expected[5] = {496, lane < 3 ? lane : lane - 3,
                         lane < 29 ? lane + 3 : lane, 31 - lane, 0x49249249};
      for (int i = 0; i < 5; ++i)
        EXPECT_EQ(out[thread * 5 + i], expected[i]) << thread << " " << i;
    }
  }
}

/// y = 2 x of 8 tiles of 256 floats, two buffers, 64 threads. The last tile
/// has 250 numbers; the rest is filled with zeros.
void doubleTiles(void **arguments) {
  const float *x = static_cast<float *>(arguments[0]);
  float *y = static_cast<float *>(arguments[1]);
  int32_t thread = moegpu_emu_thread_id();
  auto fetch = [&](int32_t tile) {
    int32_t at = tile * 256 + thread * 4;
    int32_t valid = std::min(std::max(2042 - at, 0), 4) * 4;
    moegpu_emu_async_copy(shared(tile % 2 * 1024 + thread * 16), x + at, 16,
                          valid, "fetch");
    moegpu_emu_async_commit("fetched");
  };
  fetch(0);
  for (int32_t tile = 0; tile < 8; ++tile) {
    if (tile < 7)
      fetch(tile + 1);
    moegpu_emu_async_wait(tile < 7 ? 1 : 0, "wait");
    moegpu_emu_barrier(0, 0, "landed");
    // Of another thread's copy.
    for (int32_t i = 0; i < 4; ++i) {
      int32_t at = 255 - thread - i * 64;
      store(y + tile * 256 + at, 2 * load(shared(tile % 2 * 1024) + at));
    }
    moegpu_emu_barrier(0, 0, "used");
  }
}

TEST(Emulator, CopiesAsynchronously) {
  std::vector<float> x = randomFloats(2042);
  for (const Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    Device device;
    device.argument("x", x);
    float *y = device.argument("y", std::vector<float>(2048));
    Status status = device.run(doubleTiles, {1, 64, 2048}, options);
    ASSERT_TRUE(status.ok()) << status.message;
    for (size_t i = 0; i < 2048; ++i)
      ASSERT_EQ(y[i], i < 2042 ? 2 * x[i] : 0) << i;
  }
}

/// A copy reads its source when it lands: late ones may see what was written
/// after they were issued, and eager ones do not.
TEST(Emulator, LandsLate) {
  auto kernel = [](void **arguments) {
    float *x = static_cast<float *>(arguments[0]);
    if (moegpu_emu_thread_id() != 0)
      return;
    moegpu_emu_async_copy(shared(), x, 4, 4, "copy");
    store(x, 2.0f);
    moegpu_emu_async_commit("commit");
    moegpu_emu_async_wait(0, "wait");
    store(x + 1, load(shared()));
  };
  for (const Options &options : schedules()) {
    Device device;
    float *x = device.argument("x", std::vector<float>{1, 0});
    Status status = device.run(kernel, {1, 32, 4}, options);
    ASSERT_TRUE(status.ok()) << status.message;
    EXPECT_EQ(x[1], options.late ? 2 : 1);
  }
}

TEST(Emulator, LandsAtAnyTime) {
  auto kernel = [](void **arguments) {
    int32_t *x = static_cast<int32_t *>(arguments[0]);
    int32_t thread = moegpu_emu_thread_id();
    if (thread == 0)
      moegpu_emu_async_copy(shared(), x, 4, 4, "copy");
    moegpu_emu_async_commit("commit");
    for (int32_t i = 1; i < 8; ++i) {
      moegpu_emu_ballot(1, "take turns");
      if (thread == 0)
        store(x, i);
    }
    moegpu_emu_async_wait(0, "wait");
    if (thread == 0)
      store(x + 1, load(shared<int32_t>()));
  };
  std::set<int32_t> seen;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Device device;
    int32_t *x = device.argument("x", std::vector<int32_t>(2));
    Status status = device.run(kernel, {1, 32, 4}, {seed, true, false});
    ASSERT_TRUE(status.ok()) << status.message;
    seen.insert(x[1]);
  }
  EXPECT_GT(seen.size(), 3u);
}

TEST(Emulator, AddsAtomically) {
  auto kernel = [](void **arguments) {
    int32_t *bins = static_cast<int32_t *>(arguments[0]);
    float *sum = static_cast<float *>(arguments[1]);
    int32_t thread = moegpu_emu_thread_id();
    if (thread < 8)
      store(shared<int32_t>() + thread, 0);
    moegpu_emu_barrier(0, 0, "cleared");
    moegpu_emu_atomic_add_i32(shared<int32_t>() + thread * 5 % 8, 1, "count");
    moegpu_emu_barrier(0, 0, "counted");
    if (thread < 8)
      moegpu_emu_atomic_add_i32(bins + thread, load(shared<int32_t>() + thread),
                                "merge");
    moegpu_emu_atomic_add_f32(sum, 0.5f, "sum");
  };
  for (const Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    Device device;
    int32_t *bins = device.argument("bins", std::vector<int32_t>(8));
    float *sum = device.argument("sum", std::vector<float>(1));
    Status status = device.run(kernel, {3, 96, 32}, options);
    ASSERT_TRUE(status.ok()) << status.message;
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(bins[i], 36);
    EXPECT_EQ(*sum, 144);
  }
}

/// Two warps hand numbers to two others through a barrier of 128 threads,
/// while the last warp is elsewhere.
TEST(Emulator, SynchronisesSomeWarps) {
  auto kernel = [](void **arguments) {
    int32_t *out = static_cast<int32_t *>(arguments[0]);
    int32_t thread = moegpu_emu_thread_id();
    if (thread >= 128)
      return;
    if (thread < 64)
      store(shared<int32_t>() + thread, thread);
    moegpu_emu_barrier(1, 128, "handed over");
    if (thread >= 64)
      store(out + thread - 64, load(shared<int32_t>() + thread - 64));
  };
  for (const Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    Device device;
    int32_t *out = device.argument("out", std::vector<int32_t>(64));
    Status status = device.run(kernel, {1, 160, 256}, options);
    ASSERT_TRUE(status.ok()) << status.message;
    for (int i = 0; i < 64; ++i)
      EXPECT_EQ(out[i], i);
  }
}

TEST(Emulator, RunsNoBlocks) {
  Device device;
  Status status = device.run([](void **) { FAIL(); }, {0, 32, 0});
  EXPECT_TRUE(status.ok()) << status.message;
}

TEST(Emulator, RunsBlocksInAnyOrder) {
  auto kernel = [](void **arguments) {
    int32_t *count = static_cast<int32_t *>(arguments[0]);
    int32_t *order = static_cast<int32_t *>(arguments[1]);
    if (moegpu_emu_thread_id() == 0)
      store(order + moegpu_emu_block_id(),
            moegpu_emu_atomic_add_i32(count, 1, "turn"));
  };
  auto orderWith = [&](const Options &options) {
    Device device;
    device.argument("count", std::vector<int32_t>(1));
    int32_t *order = device.argument("order", std::vector<int32_t>(20));
    EXPECT_TRUE(device.run(kernel, {20, 32, 0}, options).ok());
    return std::vector<int32_t>(order, order + 20);
  };
  std::vector<int32_t> rising(20);
  std::iota(rising.begin(), rising.end(), 0);
  EXPECT_EQ(orderWith({5, false, false}), rising);
  EXPECT_NE(orderWith({5, true, false}), rising);
  EXPECT_EQ(orderWith({5, true, false}), orderWith({5, true, false}));
}

/// Launches of a host thread share memory, but nothing that was in it.
TEST(Emulator, ForgetsTheLastLaunch) {
  auto writes = [](void **) {
    auto *words = static_cast<int32_t *>(moegpu_emu_shared());
    store(words + moegpu_emu_thread_id(), 7);
    moegpu_emu_barrier(0, 0, "barrier");
    load(words + (moegpu_emu_thread_id() + 1) % 64);
  };
  auto reads = [](void **) {
    load(static_cast<int32_t *>(moegpu_emu_shared()) + moegpu_emu_thread_id());
  };
  auto fails = [](void **arguments) {
    moegpu_emu_barrier(0, 0, "barrier");
    store(static_cast<int32_t *>(arguments[0]) + 1, 7);
  };
  for (int i = 0; i < 2; ++i) {
    Device device;
    device.argument("x", std::vector<int32_t>(1));
    EXPECT_TRUE(device.run(writes, {2, 64, 256}).ok());
    EXPECT_NE(device.run(fails, {1, 512, 0}).message.find("after the end"),
              std::string::npos);
    EXPECT_NE(device.run(reads, {1, 64, 256}).message.find("nobody"),
              std::string::npos);
    EXPECT_TRUE(device.run(writes, {1, 64, 1024}).ok());
  }
}

TEST(Emulator, RunsOnSeveralHostThreads) {
  std::vector<float> x = randomFloats(128 * 5);
  std::vector<std::thread> hosts;
  std::vector<std::vector<float>> results(4);
  for (auto &result : results)
    hosts.emplace_back([&] {
      Device device;
      device.argument("x", x);
      float *y = device.argument("y", std::vector<float>(5));
      EXPECT_TRUE(
          device.run(reduceBlock, {5, 128, 512}, {3, true, false}).ok());
      result.assign(y, y + 5);
    });
  for (std::thread &host : hosts)
    host.join();
  for (const auto &result : results)
    EXPECT_EQ(result, results[0]);
}

TEST(Emulator, ApproximatesLikeTheGpu) {
  EXPECT_EQ(moegpu_emu_exp2(3), 8);
  EXPECT_EQ(moegpu_emu_exp2(-140), 0);
  EXPECT_EQ(moegpu_emu_reciprocal(4), 0.25f);
  EXPECT_EQ(moegpu_emu_reciprocal(1e-40f),
            std::numeric_limits<float>::infinity());
}

TEST(Emulator, ApproximatesAsRoughlyAsTheGpuMay) {
  constexpr int kCount = 32;
  auto kernel = [](void **a) {
    int i = moegpu_emu_thread_id();
    auto *y = static_cast<float *>(a[0]);
    store(y + i, moegpu_emu_exp2(static_cast<float>(i) * 0.37f - 5));
    store(y + kCount + i,
          moegpu_emu_reciprocal(static_cast<float>(i) * 0.37f + 1));
    store(y + 2 * kCount + i, moegpu_emu_exp2(0));
  };
  auto with = [&](uint64_t roughness) {
    Device device;
    float *y = device.argument("y", std::vector<float>(3 * kCount));
    Options options;
    options.roughness = roughness;
    EXPECT_TRUE(device.run(kernel, {1, kCount, 0}, options).ok());
    return std::vector<float>(y, y + 3 * kCount);
  };
  std::vector<float> exact = with(0), one = with(1);
  EXPECT_EQ(one, with(1));
  EXPECT_NE(one, with(2));
  int above = 0;
  for (int i = 0; i < 2 * kCount; ++i) {
    int32_t off = static_cast<int32_t>(bitsOf(one[i])) -
                  static_cast<int32_t>(bitsOf(exact[i]));
    EXPECT_EQ(std::abs(off), i < kCount ? 2 : 1) << i;
    above += off > 0;
  }
  EXPECT_GT(above, kCount / 2);
  EXPECT_LT(above, kCount * 3 / 2);
  for (int i = 2 * kCount; i < 3 * kCount; ++i)
    EXPECT_EQ(one[i], 1);
}

} // namespace
