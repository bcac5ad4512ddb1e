// What tests of devices share: a fake driver, a cache of their own, a kernel.
#ifndef MOE_TEST_UNIT_RUNTIME_DEVICEFIXTURE_H
#define MOE_TEST_UNIT_RUNTIME_DEVICEFIXTURE_H

#include "runtime/Device/Kernels.h"
#include "runtime/FakeDriver/FakeDriver.h"
#include "test/unit/runtime/EmulatorKernels.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace moe::test {
using namespace fakecuda;

/// y[i] = factor * x[i]; 64 threads a block.
inline void scaleKernel(void **arguments) {
  auto *x = static_cast<const float *>(arguments[0]);
  auto *y = static_cast<float *>(arguments[1]);
  int32_t count;
  float factor;
  std::memcpy(&count, &arguments[2], sizeof(count));
  std::memcpy(&factor, &arguments[3], sizeof(factor));
  int32_t i = moegpu_emu_block_id() * 64 + moegpu_emu_thread_id();
  if (i < count)
    store(y + i, factor * load(x + i, "load x"), "store y");
}

/// The declaration of a kernel with parameters of 4, 8 or 128 bytes.
inline std::string entryOf(const std::string &kernel,
                           const std::vector<uint32_t> &bytes) {
  std::string text = ".visible .entry " + kernel + "(";
  for (size_t i = 0; i < bytes.size(); ++i)
    text += std::string(i ? "," : "") + "\n\t.param " +
            (bytes[i] == 4   ? ".u32 "
             : bytes[i] == 8 ? ".u64 .ptr .global .align 1 "
                             : ".align 64 .b8 ") +
            kernel + "_param_" + std::to_string(i) +
            (bytes[i] == 128 ? "[128]" : "");
  return text + "\n)\n";
}

inline std::string ptxOf(const std::string &kernel,
                         const std::string &target = "sm_90a",
                         const std::string &version = "8.0") {
  return "//\n// Made by a test\n//\n\n.version " + version + "\n.target " +
         target + "\n.address_size 64\n\n.visible .entry " + kernel + "()\n";
}

class DeviceFixture : public ::testing::Test {
protected:
  void SetUp() override {
    folder = ::testing::TempDir() + "moe-device-XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    setenv("XDG_CACHE_HOME", folder.c_str(), 1);
    for (const char *name : {"MOE_CACHE", "CUDA_VISIBLE_DEVICES",
                             "CUDA_LAUNCH_BLOCKING", "MOE_CUDA_GRAPHS"})
      unsetenv(name);
    fake.kernels["scale"] = {scaleKernel, {8, 8, 4, 4}};
    table = fake.table();
  }

  void TearDown() override {
    EXPECT_EQ(fake.leftovers(), "");
    rt::CuContext current = nullptr;
    table.ctxGetCurrent(&current);
    EXPECT_EQ(current, nullptr);
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
    std::filesystem::remove_all(folder);
  }

  std::unique_ptr<rt::Device> open(int ordinal = 0) {
    auto device = rt::Device::open(table, ordinal);
    EXPECT_TRUE(device) << device.error().message;
    return device ? std::move(*device) : nullptr;
  }

  static rt::DeviceBuffer allocate(rt::Device &device, uint64_t bytes,
                                   const std::string &name = "x") {
    auto buffer = device.allocate(bytes, name);
    EXPECT_TRUE(buffer) << buffer.error().message;
    return std::move(*buffer);
  }

  /// Launches `scale` from x to y.
  static rt::Status launchScale(const rt::Kernel &kernel,
                                const rt::DeviceBuffer &x,
                                const rt::DeviceBuffer &y, int32_t count,
                                float factor) {
    rt::CuPointer from = x.pointer(), to = y.pointer();
    void *arguments[] = {&from, &to, &count, &factor};
    return rt::launch(kernel, static_cast<uint64_t>(count + 63) / 64,
                      arguments);
  }

  std::string folder;
  FakeDriver fake;
  rt::Driver table;
};

} // namespace moe::test

#define EXPECT_OK(expression)                                                  \
  do {                                                                         \
    moe::rt::Status okStatus = (expression);                                   \
    EXPECT_TRUE(okStatus.ok()) << okStatus.message;                            \
  } while (false)

/// Of a Status.
#define EXPECT_FAILS(expression, expectedCode, expectedMessage)                \
  do {                                                                         \
    moe::rt::Status failStatus = (expression);                                 \
    EXPECT_EQ(failStatus.code, moe::rt::Code::expectedCode);                   \
    EXPECT_EQ(failStatus.message, expectedMessage);                            \
  } while (false)

#endif // MOE_TEST_UNIT_RUNTIME_DEVICEFIXTURE_H
