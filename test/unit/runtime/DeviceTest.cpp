// Memory of devices and copies.
#include "test/unit/runtime/DeviceFixture.h"

#include <thread>

using namespace moe::rt;
using namespace moe::test;

namespace {

using moe::rt::Device; // moe::test has one of the emulator

std::string randomBytes(uint64_t size, uint64_t seed) {
  Random random(seed);
  std::string bytes(size, 0);
  for (char &byte : bytes)
    byte = static_cast<char>(static_cast<uint8_t>(random.unit() * 256));
  return bytes;
}

constexpr uint64_t portion = 4 << 20;

TEST_F(DeviceFixture, CopiesThereAndBack) {
  auto device = open();
  for (uint64_t size : {uint64_t(1), uint64_t(3), uint64_t(4097), portion - 1,
                        portion, portion + 1, 3 * portion + 17}) {
    SCOPED_TRACE(size);
    DeviceBuffer buffer = allocate(*device, size + 7);
    std::string in = randomBytes(size, size);
    const std::string kept = in;
    EXPECT_OK(device->upload(buffer, 5, in.data(), size));
    in.assign(size, 'x'); // which must not matter any more
    std::string out(size + 2, '.');
    EXPECT_OK(device->download(out.data() + 1, buffer, 5, size));
    EXPECT_TRUE(out == "." + kept + "."); // too long to print
  }
  // One half of the staging was filled while the other was on its way.
  EXPECT_GT(fake.mostPending, 2u);
}

TEST_F(DeviceFixture, CopiesSeveralTimesWithoutWaiting) {
  auto device = open();
  DeviceBuffer buffer = allocate(*device, 100);
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    char byte = static_cast<char>(i);
    expected += byte;
    EXPECT_OK(device->upload(buffer, static_cast<uint64_t>(i), &byte, 1));
  }
  std::string out(100, 0);
  EXPECT_OK(device->download(out.data(), buffer, 0, 100));
  EXPECT_EQ(out, expected);
}

TEST_F(DeviceFixture, FillsAndCopiesWithin) {
  auto device = open();
  DeviceBuffer x = allocate(*device, 10), y = allocate(*device, 10, "y");
  EXPECT_OK(device->fill(x, 0, 'a', 10));
  EXPECT_OK(device->fill(x, 3, 'b', 2));
  EXPECT_OK(device->fill(y, 0, '.', 10));
  EXPECT_OK(device->copy(y, 1, x, 2, 5));
  std::string out(10, 0);
  EXPECT_OK(device->download(out.data(), y, 0, 10));
  EXPECT_EQ(out, ".abbaa....");
}

TEST_F(DeviceFixture, MovesNoBytes) {
  auto device = open();
  DeviceBuffer nothing = allocate(*device, 0), x = allocate(*device, 4);
  EXPECT_EQ(nothing.pointer(), 0u);
  EXPECT_EQ(nothing.size(), 0u);
  EXPECT_OK(device->upload(nothing, 0, nullptr, 0));
  EXPECT_OK(device->download(nullptr, nothing, 0, 0));
  EXPECT_OK(device->fill(nothing, 0, 1, 0));
  EXPECT_OK(device->copy(x, 4, nothing, 0, 0));
  EXPECT_OK(device->upload(x, 4, nullptr, 0));
}

TEST_F(DeviceFixture, TellsHowFarACopyIs) {
  auto device = open();
  uint64_t size = 2 * portion + 5;
  DeviceBuffer buffer = allocate(*device, size);
  std::string bytes(size, 1);
  std::vector<uint64_t> told;
  Progress progress = {[](void *user, uint64_t done, uint64_t total) {
                         EXPECT_EQ(total, 2 * portion + 5);
                         static_cast<std::vector<uint64_t> *>(user)->push_back(
                             done);
                       },
                       &told};
  std::vector<uint64_t> expected = {portion, 2 * portion, size};
  EXPECT_OK(device->upload(buffer, 0, bytes.data(), size, progress));
  EXPECT_EQ(told, expected);
  told.clear();
  EXPECT_OK(device->download(bytes.data(), buffer, 0, size, progress));
  EXPECT_EQ(told, expected);
}

TEST_F(DeviceFixture, StaysWithinBuffers) {
  auto device = open();
  DeviceBuffer x = allocate(*device, 10, "weights"), y = allocate(*device, 4);
  char bytes[16] = {};
  EXPECT_FAILS(device->upload(x, 3, bytes, 8), InvalidArgument,
               "cannot upload 8 bytes at 3 of 'weights', which has 10");
  EXPECT_FAILS(device->download(bytes, x, 11, 0), InvalidArgument,
               "cannot download 0 bytes at 11 of 'weights', which has 10");
  EXPECT_FAILS(device->fill(x, ~uint64_t(0), 0, 2), InvalidArgument,
               "cannot fill 2 bytes at 18446744073709551615 of 'weights', "
               "which has 10");
  EXPECT_FAILS(device->copy(y, 0, x, 0, 5), InvalidArgument,
               "cannot copy to 5 bytes at 0 of 'x', which has 4");
  EXPECT_FAILS(device->copy(x, 0, y, 1, 4), InvalidArgument,
               "cannot copy from 4 bytes at 1 of 'x', which has 4");
}

TEST_F(DeviceFixture, SaysHowMuchMemoryIsMissing) {
  fake.devices[0].memory = 10000000;
  auto device = open();
  DeviceBuffer first = allocate(*device, 4000000);
  EXPECT_FAILS(device->allocate(7500000, "expert weights").error(), OutOfMemory,
               "device 0 (Fake H200): no memory for expert weights: 7.5 MB "
               "asked for, 6.0 MB of 10.0 MB free, 1.5 MB missing");
  // Nothing was lost: the rest can be had, and all of it again.
  {
    DeviceBuffer rest = allocate(*device, 6000000);
  }
  first.free();
  first = allocate(*device, 10000000);
  EXPECT_EQ(first.size(), 10000000u);
}

TEST_F(DeviceFixture, SaysThatStagingCannotBePinned) {
  auto device = open();
  DeviceBuffer buffer = allocate(*device, 4);
  fake.hostAllocResult = CuOutOfMemory;
  EXPECT_FAILS(device->upload(buffer, 0, "abc", 4), OutOfMemory,
               "device 0 (Fake H200): cannot pin 4.2 MB of the machine's "
               "memory for copies: fake words (CUDA_ERROR_OUT_OF_MEMORY)");
  fake.hostAllocResult = CuSuccess;
  EXPECT_OK(device->upload(buffer, 0, "abc", 4));
}

TEST_F(DeviceFixture, MovesBuffers) {
  auto device = open();
  DeviceBuffer x = allocate(*device, 8, "x"), y = allocate(*device, 16, "y");
  CuPointer pointer = x.pointer();
  y = std::move(x);
  EXPECT_EQ(y.pointer(), pointer);
  EXPECT_EQ(y.name(), "x");
  EXPECT_EQ(x.pointer(), 0u);
  EXPECT_EQ(x.size(), 0u);
  EXPECT_EQ(fake.live[FakeDriver::Buffers], 1);
  x = DeviceBuffer(std::move(y));
  EXPECT_EQ(x.pointer(), pointer);
}

/// Errors that come from nowhere: another user of the GPU, in this process.
TEST_F(DeviceFixture, ExplainsErrorsWithoutKernels) {
  auto device = open();
  fake.synchronizeResult = CuIllegalAddress;
  const char *message = "device 0 (Fake H200): cannot wait for the device: an "
                        "illegal memory access was encountered "
                        "(CUDA_ERROR_ILLEGAL_ADDRESS)";
  EXPECT_FAILS(device->synchronize(), ModelFailed, message);
  // It stays.
  fake.synchronizeResult = CuSuccess;
  EXPECT_FAILS(device->synchronize(), ModelFailed, message);
  EXPECT_FAILS(device->allocate(4, "x").error(), ModelFailed, message);
}

TEST_F(DeviceFixture, LeavesTheThreadsContextAlone) {
  fake.devices.push_back(FakeDevice());
  auto first = open(0), second = open(1);
  CuContext theirs = nullptr, now = nullptr;
  ASSERT_EQ(table.primaryCtxRetain(&theirs, 1), CuSuccess);
  table.ctxSetCurrent(theirs);
  DeviceBuffer buffer = allocate(*first, 4);
  EXPECT_OK(first->upload(buffer, 0, "abc", 4));
  EXPECT_OK(first->synchronize());
  EXPECT_OK(second->synchronize());
  table.ctxGetCurrent(&now);
  EXPECT_EQ(now, theirs);
  table.ctxSetCurrent(nullptr);
  table.primaryCtxRelease(1);
}

TEST_F(DeviceFixture, KeepsDevicesApart) {
  fake.devices.push_back(FakeDevice());
  fake.devices[1].name = "Fake H100";
  auto first = open(0), second = open(1);
  DeviceBuffer buffer = allocate(*first, 4, "weights");
  EXPECT_FAILS(second->upload(buffer, 0, "abc", 4), InvalidArgument,
               "device 1 (Fake H100): cannot upload 'weights', which lies on "
               "device 0 (Fake H200)");
}

TEST_F(DeviceFixture, RunsTwoDevicesAtATime) {
  fake.devices.push_back({"Fake A100", 8, 0, 64 << 20});
  std::vector<std::thread> hosts;
  for (int ordinal : {0, 1, 0, 1})
    hosts.emplace_back([this, ordinal, seed = hosts.size()] {
      auto device = open(ordinal);
      auto module = Module::load(*device, "m", ptxOf("scale", "sm_80"));
      ASSERT_TRUE(module) << module.error().message;
      auto kernel = module->kernel("scale", 64, 0);
      ASSERT_TRUE(kernel) << kernel.error().message;
      std::vector<float> in = randomFloats(1000, seed), out(1000);
      DeviceBuffer x = allocate(*device, 4000), y = allocate(*device, 4000);
      for (int i = 0; i < 5; ++i) {
        EXPECT_OK(device->upload(x, 0, in.data(), 4000));
        EXPECT_OK(launchScale(*kernel, x, y, 1000, 2));
        EXPECT_OK(device->download(out.data(), y, 0, 4000));
        for (size_t j = 0; j < 1000; ++j)
          ASSERT_EQ(out[j], 2 * in[j]);
        std::swap(in, out);
      }
    });
  for (std::thread &host : hosts)
    host.join();
}

} // namespace
