// Launches that wait, and start together.
#include "runtime/Device/LaunchQueue.h"
#include "runtime/Device/Ptx.h"
#include "test/unit/runtime/DeviceFixture.h"

#include <gtest/gtest.h>

namespace moe::test {
using namespace rt;
namespace {

using Sizes = std::vector<uint32_t>;

/// y[i] = factor x[i], and one more.
class LaunchQueueFixture : public DeviceFixture {
protected:
  void SetUp() override {
    DeviceFixture::SetUp();
    device = open();
    auto loaded = Module::load(*device, "m", ptxOf("scale"));
    ASSERT_TRUE(loaded);
    module = std::move(*loaded);
    kernel = kernelWith({8, 8, 4, 4});
    x = allocate(*device, sizeof(float) * kCount);
  }
  void TearDown() override {
    x.free();
    module.unload();
    device.reset();
    DeviceFixture::TearDown();
  }

  Kernel kernelWith(const Sizes &sizes) {
    Kernel made = *module.kernel("scale", 64, 0);
    made.hasParameters = true;
    made.parameterBytes = sizes;
    return made;
  }

  /// Multiplies x by each factor in turn.
  void add(LaunchQueue &queue, const std::vector<float> &factors) {
    for (float factor : factors) {
      CuPointer at = x.pointer();
      int32_t count = kCount;
      void *arguments[] = {&at, &at, &count, &factor};
      EXPECT_OK(queue.add(kernel, kCount / 64, arguments));
      // What was given is the queue's by now.
      at = 0, count = -1;
    }
  }

  void expect(LaunchQueue &queue, const std::vector<float> &factors) {
    std::vector<float> in = randomFloats(kCount, 7), out(kCount);
    EXPECT_OK(device->upload(x, 0, in.data(), x.size()));
    add(queue, factors);
    EXPECT_OK(queue.flush());
    EXPECT_OK(device->download(out.data(), x, 0, x.size()));
    for (int i = 0; i < kCount; ++i) {
      for (float factor : factors)
        in[i] *= factor;
      ASSERT_EQ(out[i], in[i]);
    }
  }

  static constexpr int kCount = 128;
  std::unique_ptr<rt::Device> device;
  Module module;
  Kernel kernel;
  DeviceBuffer x;
};

const std::vector<float> nine = {1, 2, 3, 4, 5, -1, 0.5f, 2, 2};

TEST_F(LaunchQueueFixture, WhatComesBackIsAGraph) {
  LaunchQueue queue(*device);
  expect(queue, nine);
  EXPECT_EQ(queue.graphLaunches(), 0u);
  EXPECT_EQ(fake.numLaunched, 9);
  expect(queue, nine);
  EXPECT_EQ(queue.graphLaunches(), 1u);
  EXPECT_EQ(fake.numUpdated, 0);
  // What differs is changed, and changed back.
  std::vector<float> other = nine;
  other[0] = 7, other[8] = -2;
  expect(queue, other);
  EXPECT_EQ(fake.numUpdated, 2);
  expect(queue, other);
  EXPECT_EQ(fake.numUpdated, 2);
  expect(queue, nine);
  EXPECT_EQ(fake.numUpdated, 4);
  EXPECT_EQ(queue.graphLaunches(), 4u);
}

TEST_F(LaunchQueueFixture, FewAreNone) {
  LaunchQueue queue(*device);
  for (int i = 0; i < 3; ++i)
    expect(queue, {1, 2, 3, 4, 5, 6, 7});
  expect(queue, {});
  EXPECT_EQ(queue.graphLaunches(), 0u);
}

TEST_F(LaunchQueueFixture, KeepsTheLatest) {
  LaunchQueue queue(*device);
  for (size_t count = 9; count < 40; ++count) {
    std::vector<float> factors(count, -1);
    expect(queue, factors);
    expect(queue, factors);
  }
  // Graphs, and what they were made of.
  EXPECT_EQ(fake.live[FakeDriver::Graphs], 2 * 16);
  EXPECT_EQ(queue.graphLaunches(), 31u);
  // Those that went have to come twice again.
  expect(queue, std::vector<float>(9, -1));
  EXPECT_EQ(queue.graphLaunches(), 31u);
  expect(queue, std::vector<float>(9, -1));
  EXPECT_EQ(queue.graphLaunches(), 32u);
}

TEST_F(LaunchQueueFixture, RunsAllTheSameWithout) {
  setenv("MOE_CUDA_GRAPHS", "0", 1);
  LaunchQueue unwanted(*device);
  unsetenv("MOE_CUDA_GRAPHS");
  for (int i = 0; i < 3; ++i)
    expect(unwanted, nine);
  EXPECT_EQ(unwanted.graphLaunches(), 0u);

  // The device looks it up there.
  auto graphLaunch = std::exchange(table.graphLaunch, nullptr);
  LaunchQueue old(*device);
  for (int i = 0; i < 3; ++i)
    expect(old, nine);
  EXPECT_EQ(old.graphLaunches(), 0u);
  table.graphLaunch = graphLaunch;

  LaunchQueue refused(*device);
  fake.graphResult = CuInvalidValue;
  for (int i = 0; i < 3; ++i)
    expect(refused, nine);
  EXPECT_EQ(refused.graphLaunches(), 0u);
  fake.graphResult = CuSuccess;
  expect(refused, nine);
  EXPECT_EQ(refused.graphLaunches(), 0u); // it is not asked again

  LaunchQueue stuck(*device);
  expect(stuck, nine);
  expect(stuck, nine);
  EXPECT_EQ(stuck.graphLaunches(), 1u);
  fake.graphUpdateResult = CuInvalidValue;
  std::vector<float> other = nine;
  other[3] = 11;
  expect(stuck, other);
  EXPECT_EQ(stuck.graphLaunches(), 1u);
}

TEST_F(LaunchQueueFixture, LaunchesAtOnceWhatItCannotKeep) {
  LaunchQueue queue(*device);
  kernel.hasParameters = false;
  for (int i = 0; i < 3; ++i)
    expect(queue, nine);
  EXPECT_EQ(queue.graphLaunches(), 0u);
  kernel.hasParameters = true;
  EXPECT_FAILS(queue.add(kernel, uint64_t(1) << 31, nullptr), InvalidArgument,
               "kernel 'scale' cannot run 2147483648 blocks; a device runs up "
               "to 2147483647");
  EXPECT_OK(queue.add(kernel, 0, nullptr)); // nothing
}

TEST_F(LaunchQueueFixture, SaysWhatFailed) {
  LaunchQueue queue(*device);
  expect(queue, nine);
  expect(queue, nine);
  fake.launchResult = CuLaunchOutOfResources;
  add(queue, nine);
  EXPECT_FAILS(queue.flush(), Internal,
               "device 0 (Fake H200): cannot launch a graph of 9 kernels: fake "
               "words (CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)");
  fake.launchResult = CuSuccess;
  // Some of them may have been others', who have to hear of it.
  Status broken = device->failure();
  EXPECT_EQ(broken.code, Code::Internal);
  CuPointer at = x.pointer();
  int32_t count = 1;
  float factor = 1;
  void *arguments[] = {&at, &at, &count, &factor};
  EXPECT_EQ(queue.add(kernel, 1, arguments).message, broken.message);
  EXPECT_EQ(device->synchronize().message, broken.message);
}

TEST_F(LaunchQueueFixture, SaysWhatFailedInAGraph) {
  LaunchQueue queue(*device);
  expect(queue, nine);
  expect(queue, nine);
  add(queue, std::vector<float>(9, 1));
  // Reads beyond x.
  CuPointer at = x.pointer() + 4;
  int32_t count = kCount;
  float factor = 1;
  void *arguments[] = {&at, &at, &count, &factor};
  EXPECT_OK(queue.add(kernel, kCount / 64, arguments));
  EXPECT_OK(queue.flush());
  EXPECT_FAILS(device->synchronize(), ModelFailed,
               "device 0 (Fake H200): one of the last 10 kernels failed, the "
               "last 'scale' (CUDA_LAUNCH_BLOCKING=1 in the environment tells "
               "which): unspecified launch failure (CUDA_ERROR_LAUNCH_FAILED)");
  EXPECT_EQ(queue.add(kernel, 1, arguments).code, Code::ModelFailed);
}

TEST_F(LaunchQueueFixture, TellsWhichKernelWhereAsked) {
  setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
  auto careful = open();
  unsetenv("CUDA_LAUNCH_BLOCKING");
  {
    LaunchQueue queue(*careful);
    kernel.device = careful.get();
    CuPointer at = x.pointer();
    int32_t count = 1;
    float factor = 1;
    void *arguments[] = {&at, &at, &count, &factor};
    int before = fake.numLaunched;
    EXPECT_OK(queue.add(kernel, 1, arguments));
    EXPECT_EQ(fake.numLaunched, before + 1);
    EXPECT_OK(careful->synchronize());
  }
}

// A map has 128 bytes and wants to begin at a multiple of 64.
TEST_F(LaunchQueueFixture, KeepsMapsAligned) {
  Kernel odd = kernelWith({4, 128, 8, 128, 4});
  LaunchList list;
  struct alignas(64) Map {
    char bytes[128];
  } first, second;
  for (int i = 0; i < 128; ++i)
    first.bytes[i] = static_cast<char>(i), second.bytes[i] = char(-i);
  for (int32_t round = 0; round < 3; ++round) {
    uint64_t wide = uint64_t(1) << 40;
    void *arguments[] = {&round, &first, &wide, &second, &round};
    list.add(odd, 5, arguments);
  }
  for (int32_t round = 0; round < 3; ++round) {
    auto entry = list[static_cast<size_t>(round)];
    ASSERT_EQ(entry.arguments.size(), 5u);
    EXPECT_EQ(*static_cast<int32_t *>(entry.arguments[0]), round);
    EXPECT_EQ(*static_cast<uint64_t *>(entry.arguments[2]), uint64_t(1) << 40);
    EXPECT_EQ(std::memcmp(entry.arguments[1], &first, 128), 0);
    EXPECT_EQ(std::memcmp(entry.arguments[3], &second, 128), 0);
    EXPECT_EQ(*static_cast<int32_t *>(entry.arguments[4]), round);
    for (int i : {1, 3})
      EXPECT_EQ(reinterpret_cast<uintptr_t>(entry.arguments[i]) % 64, 0u);
  }
  EXPECT_EQ(entryOf("k", {4, 128}),
            ".visible .entry k(\n\t.param .u32 k_param_0,\n\t.param .align 64 "
            ".b8 k_param_1[128]\n)\n");
}

TEST(Ptx, ReadsParameters) {
  std::string ptx = ptxOf("none") + entryOf("one", {8}) +
                    entryOf("all", {8, 4, 128, 4}) +
                    ".visible .entry odd(\n\t.param .texref odd_param_0\n)\n" +
                    ".visible .entry f(.param .f32 a, .param .b16 b, .param "
                    ".align 4 .b8 c[12])\n" +
                    ".visible .entry much(.param .b8 c[5000])\n";
  auto found = readPtxParameters(ptx);
  EXPECT_EQ(found.size(), 4u);
  EXPECT_EQ(found["none"], Sizes());
  EXPECT_EQ(found["one"], Sizes({8}));
  EXPECT_EQ(found["all"], Sizes({8, 4, 128, 4}));
  EXPECT_EQ(found["f"], Sizes({4, 2, 12}));
  EXPECT_TRUE(readPtxParameters(".entry cut(.param .u32 a").empty());
  EXPECT_TRUE(readPtxParameters("").empty());
}

} // namespace
} // namespace moe::test
