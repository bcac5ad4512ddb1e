// What sessions of a process share on a device.
#include "runtime/Core/Offload.h"
#include "test/unit/runtime/DeviceModelFixture.h"

#include <dlfcn.h>

extern "C" const moert_device_runtime moert_device_runtime_cuda;

namespace moe::test {
namespace {

class DeviceOffloadFixture : public DeviceModelFixture {
protected:
  void SetUp() override {
    DeviceModelFixture::SetUp();
    void *handle = dlopen(MOE_FAKE_DRIVER, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(handle, nullptr) << dlerror();
    library =
        reinterpret_cast<FakeDriver *(*)()>(dlsym(handle, "moe_fake_driver"))();
    library->version = 13000;
    library->devices = {{"Fake A100", 8, 0}, {"Fake H200", 9, 0}};
    library->kernels = fake.kernels;
    library->numAssembled = 0;
    model.abi_major = MOERT_ABI_MAJOR;
    model.abi_minor = MOERT_ABI_MINOR;
    model.device = &code;
    model.weights_slot = &slot;
    request.device = {DeviceRequest::Cuda, -1};
    request.driver = MOE_FAKE_DRIVER;
    request.progress = {
        [](void *user, uint64_t, uint64_t) { ++*static_cast<int *>(user); },
        &numTold};
  }
  void TearDown() override {
    library->devices = {FakeDevice()};
    library->kernels.clear();
    EXPECT_EQ(library->leftovers(), "");
    DeviceModelFixture::TearDown();
  }

  Result<OffloadChoice> open() {
    return moert_device_runtime_cuda.open(model, request);
  }

  FakeDriver *library = nullptr;
  const char *slot = weights.data();
  moert_model model = {};
  OffloadRequest request;
  int numTold = 0;
};

TEST_F(DeviceOffloadFixture, OpensADeviceOnce) {
  auto first = open();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->reason.substr(0, 18), "CUDA 1: Fake H200,");
  int told = numTold;
  EXPECT_GE(told, 2);
  // Who opened it now would fail.
  library->devices[1].openResult = static_cast<CuResult>(46);
  auto second = open();
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->offload, first->offload);
  EXPECT_EQ(second->reason, first->reason);
  EXPECT_EQ(numTold, told);
  EXPECT_EQ(library->live[FakeDriver::Streams], 1);
  EXPECT_EQ(library->numAssembled, 1);
  first->offload = second->offload = nullptr;
  EXPECT_FALSE(open());
}

TEST_F(DeviceOffloadFixture, FallsBackWhereMemoryIsMissing) {
  const std::string data(1 << 20, 'x');
  const moert_device_known known = {data.data(), 0, data.size()};
  library->devices[1].memory = 1 << 20;
  code.constants = &known;
  code.num_constants = 1;
  std::string older = "'the model' is for sm_90a (exactly compute capability "
                      "9.0), device 0 (Fake A100) has 8.0; ";
  std::string why = "device 1 (Fake H200): no memory for the weights of the "
                    "model: they take 1.1 MB, 1.0 MB of 1.0 MB free, 66.0 KB "
                    "missing";
  EXPECT_FAILS(open().error(), OutOfMemory, older + why);
  EXPECT_EQ(numTold, 0);
  request.device.kind = DeviceRequest::Auto;
  auto chosen = open();
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->offload, nullptr);
  EXPECT_EQ(chosen->reason, "CPU: " + older + why);
  request.device = {DeviceRequest::Cuda, 1};
  EXPECT_FAILS(open().error(), OutOfMemory, why);
  // Another GPU has it.
  library->devices.push_back({"Fake H100", 9, 0});
  request.device = {DeviceRequest::Auto, -1};
  chosen = open();
  ASSERT_TRUE(chosen && chosen->offload);
  EXPECT_EQ(chosen->reason.substr(0, 18), "CUDA 2: Fake H100,");
}

} // namespace
} // namespace moe::test
