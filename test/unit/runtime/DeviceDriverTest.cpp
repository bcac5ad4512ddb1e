// Finding the driver and choosing a device.
#include "runtime/Device/DeviceChoice.h"
#include "test/unit/runtime/DeviceFixture.h"

#include <dlfcn.h>

using namespace moe::rt;
using namespace moe::test;

namespace {

using moe::rt::Device; // moe::test has one of the emulator

/// The fake driver in its library, which lives as long as the process.
FakeDriver &libraryDriver() {
  void *library = dlopen(MOE_FAKE_DRIVER, RTLD_NOW | RTLD_LOCAL);
  EXPECT_NE(library, nullptr) << dlerror();
  auto get =
      reinterpret_cast<FakeDriver *(*)()>(dlsym(library, "moe_fake_driver"));
  return *get();
}

Status loadError(const char *library) {
  return detail::loadDriverFrom(library).error();
}

TEST_F(DeviceFixture, LoadsTheDriverByName) {
  libraryDriver().version = 12080;
  auto driver = detail::loadDriverFrom(MOE_FAKE_DRIVER);
  ASSERT_TRUE(driver) << driver.error().message;
  EXPECT_EQ(driver->version, 12080);
  EXPECT_NE(driver->graphLaunch, nullptr); // optional
  auto devices = listDevices(*driver);
  ASSERT_TRUE(devices);
  EXPECT_EQ(devices->size(), 1u);
  // All the way through the library's functions.
  auto device = Device::open(*driver, 0);
  ASSERT_TRUE(device) << device.error().message;
  auto buffer = (*device)->allocate(5, "x");
  ASSERT_TRUE(buffer);
  char out[5];
  EXPECT_OK((*device)->upload(*buffer, 0, "moe!", 5));
  EXPECT_OK((*device)->download(out, *buffer, 0, 5));
  EXPECT_STREQ(out, "moe!");
}

TEST_F(DeviceFixture, SaysWhyThereIsNoDriver) {
  EXPECT_FAILS(loadError("libnowhere.so.1"), Unsupported,
               "no driver to load: libnowhere.so.1: cannot open shared object "
               "file: No such file or directory");
  EXPECT_FAILS(loadError(MOE_FAKE_OLD_DRIVER), Unsupported,
               std::string("the NVIDIA driver is too old: '") +
                   MOE_FAKE_OLD_DRIVER + "' lacks cuDriverGetVersion");
  FakeDriver &library = libraryDriver();
  library.version = 10020;
  EXPECT_FAILS(loadError(MOE_FAKE_DRIVER), Unsupported,
               "the NVIDIA driver is too old: it knows CUDA up to 10.2, 11.0 "
               "is needed");
  library.version = 13000;
  library.initResult = CuNoDevice;
  EXPECT_FAILS(loadError(MOE_FAKE_DRIVER), Unsupported,
               "the NVIDIA driver does not start: no CUDA-capable device is "
               "detected (CUDA_ERROR_NO_DEVICE)");
  setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
  EXPECT_FAILS(loadError(MOE_FAKE_DRIVER), Unsupported,
               "the NVIDIA driver does not start: no CUDA-capable device is "
               "detected (CUDA_ERROR_NO_DEVICE) (CUDA_VISIBLE_DEVICES is "
               "'-1')");
  unsetenv("CUDA_VISIBLE_DEVICES");
  // An error that the driver itself has no words for.
  library.initResult = static_cast<CuResult>(4711);
  EXPECT_FAILS(loadError(MOE_FAKE_DRIVER), Unsupported,
               "the NVIDIA driver does not start: CUDA error 4711");
  library.initResult = CuStubLibrary;
  EXPECT_FAILS(loadError(MOE_FAKE_DRIVER), Unsupported,
               "the NVIDIA driver does not start: CUDA error 34 (a toolkit's "
               "stub was found instead; see LD_LIBRARY_PATH)");
  library.initResult = CuSuccess;
  auto devices = std::move(library.devices);
  library.devices.clear();
  EXPECT_FAILS(loadError(MOE_FAKE_DRIVER), Unsupported,
               "the NVIDIA driver finds no device");
  library.devices = std::move(devices);
}

/// Whatever this machine has, asking twice gives the same.
TEST(DeviceDriver, IsLookedForOnce) {
  auto first = loadDriver(), second = loadDriver();
  EXPECT_EQ(bool(first), bool(second));
  EXPECT_EQ(first.error().message, second.error().message);
  if (first) {
    EXPECT_EQ(*first, *second);
  }
}

TEST_F(DeviceFixture, ListsDevices) {
  fake.devices = {{"Fake H200", 9, 0, 141000000000},
                  {"Fake\n4090", 8, 9, 24000000000}};
  auto devices = listDevices(table);
  ASSERT_TRUE(devices);
  ASSERT_EQ(devices->size(), 2u);
  EXPECT_EQ(describeDevice((*devices)[0]),
            "0: Fake H200, compute capability 9.0, 141.0 GB, 132 "
            "multiprocessors");
  EXPECT_EQ((*devices)[1].text(), "device 1 (Fake\\x0a4090)");
  EXPECT_EQ((*devices)[1].maxSharedBytes, 232448u);
  EXPECT_EQ((*devices)[1].maxThreads, 1024u);
}

TEST_F(DeviceFixture, SaysWhyADeviceDoesNotOpen) {
  fake.devices = {{"Fake H200", 9, 0, 141000000000},
                  {"Fake 4090", 8, 9, 24000000000}};
  const char *known =
      "; there are 0: Fake H200, compute capability 9.0, 141.0 GB, 132 "
      "multiprocessors; 1: Fake 4090, compute capability 8.9, 24.0 GB, 132 "
      "multiprocessors";
  EXPECT_FAILS(Device::open(table, 2).error(), NotFound,
               std::string("there is no CUDA device 2") + known);
  EXPECT_FAILS(Device::open(table, -1).error(), NotFound,
               std::string("there is no CUDA device -1") + known);
  fake.devices[1].openResult = CuOutOfMemory;
  EXPECT_FAILS(Device::open(table, 1).error(), OutOfMemory,
               "cannot open device 1 (Fake 4090): fake words "
               "(CUDA_ERROR_OUT_OF_MEMORY)");
  fake.devices[1].prohibited = true;
  EXPECT_FAILS(Device::open(table, 1).error(), Unsupported,
               "cannot open device 1 (Fake 4090): its compute mode prohibits "
               "use (nvidia-smi -c)");
}

TEST(DeviceChoice, ParsesDevices) {
  EXPECT_EQ(parseDevice("auto")->kind, DeviceRequest::Auto);
  EXPECT_EQ(parseDevice("cpu")->kind, DeviceRequest::Cpu);
  EXPECT_EQ(parseDevice("cuda")->kind, DeviceRequest::Cuda);
  EXPECT_EQ(parseDevice("cuda")->ordinal, -1);
  EXPECT_EQ(parseDevice("cuda:0")->ordinal, 0);
  EXPECT_EQ(parseDevice("cuda:12")->ordinal, 12);
  for (std::string bad : {"", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1",
                          "cuda:1x", "cuda:12345", "cuda0"})
    EXPECT_FAILS(parseDevice(bad).error(), InvalidArgument,
                 "unknown device '" + bad +
                     "'; use auto, cpu, cuda or cuda:N (N from 0)");
}

Driver chosenDriver;
Result<const Driver *> loadFake() { return &chosenDriver; }
Result<const Driver *> loadNone() {
  return {Code::Unsupported, "no NVIDIA driver: gone"};
}
Result<const Driver *> loadNever() {
  ADD_FAILURE() << "looked for a driver";
  return loadNone();
}

TEST_F(DeviceFixture, ChoosesADevice) {
  chosenDriver = table;
  auto choose = [](const char *value, auto load) {
    return chooseDevice(*parseDevice(value), {}, load);
  };
  auto cpu = choose("cpu", loadNever);
  ASSERT_TRUE(cpu);
  EXPECT_EQ(cpu->device, nullptr);
  EXPECT_EQ(cpu->reason, "CPU: asked for");

  auto none = choose("auto", loadNone);
  ASSERT_TRUE(none);
  EXPECT_EQ(none->device, nullptr);
  EXPECT_EQ(none->reason, "CPU: no NVIDIA driver: gone");
  for (const char *value : {"cuda", "cuda:1"})
    EXPECT_FAILS(choose(value, loadNone).error(), Unsupported,
                 "no NVIDIA driver: gone");

  // The first is too old, the second taken.
  fake.devices = {{"Fake V100", 7, 0, 16000000000},
                  {"Fake A100", 8, 0, 40000000000},
                  {"Fake H200", 9, 0, 141000000000}};
  fake.devices[1].openResult = static_cast<CuResult>(46);
  for (const char *value : {"auto", "cuda", "cuda:2"}) {
    auto gpu = choose(value, loadFake);
    ASSERT_TRUE(gpu) << gpu.error().message;
    ASSERT_NE(gpu->device, nullptr);
    EXPECT_EQ(gpu->device->info().ordinal, 2);
    EXPECT_EQ(gpu->reason,
              "CUDA 2: Fake H200, compute capability 9.0, 141.0 GB, 132 "
              "multiprocessors");
  }
  std::string tooOld = "device 0 (Fake V100) has compute capability 7.0, 8.0 "
                       "is needed";
  EXPECT_FAILS(choose("cuda:0", loadFake).error(), Unsupported, tooOld);
  EXPECT_EQ(choose("cuda:3", loadFake).error().code, Code::NotFound);
  fake.devices.pop_back();
  std::string all =
      tooOld + "; cannot open device 1 (Fake A100): CUDA error 46";
  EXPECT_EQ(choose("auto", loadFake)->reason, "CPU: " + all);
  EXPECT_FAILS(choose("cuda", loadFake).error(), Unsupported, all);
}

} // namespace
