// Code for devices: what is refused, assembled and run.
#include "runtime/Device/Ptx.h"
#include "test/unit/runtime/DeviceFixture.h"

using namespace moe::rt;
using namespace moe::test;
namespace fs = std::filesystem;

namespace {

using moe::rt::Device; // moe::test has one of the emulator

TEST_F(DeviceFixture, RunsAKernel) {
  auto device = open();
  auto module = Module::load(*device, "m", ptxOf("scale"));
  ASSERT_TRUE(module) << module.error().message;
  auto kernel = module->kernel("scale", 64, 0);
  ASSERT_TRUE(kernel) << kernel.error().message;
  for (const moe::emu::Options &options : schedules()) {
    fake.schedule = options;
    std::vector<float> in = randomFloats(333, options.seed), out(333);
    DeviceBuffer x = allocate(*device, 333 * 4), y = allocate(*device, 333 * 4);
    EXPECT_OK(device->upload(x, 0, in.data(), x.size()));
    EXPECT_OK(launchScale(*kernel, x, y, 333, -3));
    EXPECT_OK(launchScale(*kernel, y, x, 333, 0.5f));
    EXPECT_OK(device->download(out.data(), x, 0, x.size()));
    for (size_t i = 0; i < in.size(); ++i)
      ASSERT_EQ(out[i], -1.5f * in[i]);
  }
  EXPECT_OK(launch(*kernel, 0, nullptr)); // nothing
  EXPECT_FAILS(launch(*kernel, uint64_t(1) << 31, nullptr), InvalidArgument,
               "kernel 'scale' cannot run 2147483648 blocks; a device runs up "
               "to 2147483647");
  EXPECT_FAILS(launch(Kernel(), 1, nullptr), InvalidArgument,
               "kernel '' is not loaded");
}

TEST_F(DeviceFixture, TakesSharedMemory) {
  fake.kernels["fill"] = {[](void **arguments) {
                            auto *y = static_cast<float *>(arguments[0]);
                            store(shared<float>(99996), 4.0f);
                            if (moegpu_emu_thread_id() == 0)
                              store(y, load(shared<float>(99996)));
                          },
                          {8},
                          512,
                          1024};
  auto device = open();
  auto module = Module::load(*device, "m", ptxOf("fill"));
  ASSERT_TRUE(module);
  auto kernel = module->kernel("fill", 32, 100000);
  ASSERT_TRUE(kernel) << kernel.error().message;
  DeviceBuffer y = allocate(*device, 4);
  CuPointer pointer = y.pointer();
  void *arguments[] = {&pointer};
  float out = 0;
  EXPECT_OK(launch(*kernel, 1, arguments));
  EXPECT_OK(device->download(&out, y, 0, 4));
  EXPECT_EQ(out, 4);

  EXPECT_FAILS(module->kernel("fill", 32, 232000).error(), Unsupported,
               "kernel 'fill' wants 233024 bytes of shared memory for a block; "
               "device 0 (Fake H200) has 232448");
  for (uint32_t threads : {0u, 513u})
    EXPECT_FAILS(module->kernel("fill", threads, 0).error(), Unsupported,
                 "kernel 'fill' wants blocks of " + std::to_string(threads) +
                     " threads; with the registers it needs device 0 (Fake "
                     "H200) starts 1 to 512");
  EXPECT_FAILS(module->kernel("full", 32, 0).error(), NotFound,
               "'m' has no kernel 'full'");
  EXPECT_FAILS(Module().kernel("fill", 32, 0).error(), InvalidArgument,
               "no module to look for kernel 'fill' in");
}

TEST_F(DeviceFixture, NamesTheKernelThatFailed) {
  auto device = open();
  auto module = Module::load(*device, "m", ptxOf("scale"));
  auto kernel = module->kernel("scale", 64, 0);
  ASSERT_TRUE(kernel);
  DeviceBuffer x = allocate(*device, 400), y = allocate(*device, 400);
  EXPECT_OK(device->fill(x, 0, 0, 400));
  EXPECT_OK(launchScale(*kernel, x, y, 100, 1));
  EXPECT_OK(device->synchronize());
  // Reads beyond x; launching does not tell.
  EXPECT_OK(launchScale(*kernel, x, y, 101, 1));
  const char *message = "device 0 (Fake H200): kernel 'scale' failed: "
                        "unspecified launch failure (CUDA_ERROR_LAUNCH_FAILED)";
  EXPECT_FAILS(device->synchronize(), ModelFailed, message);
  EXPECT_EQ(fake.lastError(),
            "kernel 'scale', block 1, thread 36 (warp 1, lane 4), at 'load "
            "x': reads 4 bytes of global memory, 0 bytes after the end of "
            "'buffer 0' (400 bytes); stay within an allocation");
  // The context is gone, and everyone hears why.
  float out;
  EXPECT_FAILS(device->synchronize(), ModelFailed, message);
  EXPECT_FAILS(device->download(&out, x, 0, 4), ModelFailed, message);
  EXPECT_FAILS(device->upload(x, 0, &out, 4), ModelFailed, message);
  EXPECT_FAILS(device->fill(x, 0, 0, 4), ModelFailed, message);
  EXPECT_FAILS(device->copy(x, 0, y, 0, 4), ModelFailed, message);
  EXPECT_FAILS(device->allocate(4, "z").error(), ModelFailed, message);
  EXPECT_FAILS(module->kernel("scale", 64, 0).error(), ModelFailed, message);
  EXPECT_FAILS(Module::load(*device, "n", ptxOf("scale")).error(), ModelFailed,
               message);
  EXPECT_FAILS(launchScale(*kernel, x, y, 1, 1), ModelFailed, message);
}

/// A copy is as good a place to hear of it as any.
TEST_F(DeviceFixture, DoesNotGuessWhichKernelFailed) {
  for (bool blocking : {false, true}) {
    if (blocking)
      setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    auto device = open();
    auto module = Module::load(*device, "m", ptxOf("scale"));
    auto kernel = module->kernel("scale", 64, 0);
    ASSERT_TRUE(kernel);
    DeviceBuffer x = allocate(*device, 400), y = allocate(*device, 400);
    EXPECT_OK(launchScale(*kernel, x, y, 101, 1));
    EXPECT_OK(launchScale(*kernel, x, y, 100, 1));
    float out;
    EXPECT_FAILS(
        device->download(&out, y, 0, 4), ModelFailed,
        std::string("device 0 (Fake H200): ") +
            (blocking ? "kernel 'scale' failed"
                      : "one of the last 2 kernels failed, the last 'scale' "
                        "(CUDA_LAUNCH_BLOCKING=1 in the environment tells "
                        "which)") +
            ": unspecified launch failure (CUDA_ERROR_LAUNCH_FAILED)");
  }
}

TEST_F(DeviceFixture, SaysWhyALaunchIsRefused) {
  auto device = open();
  auto module = Module::load(*device, "m", ptxOf("scale"));
  auto kernel = module->kernel("scale", 64, 0);
  ASSERT_TRUE(kernel);
  DeviceBuffer x = allocate(*device, 400);
  fake.launchResult = CuLaunchOutOfResources;
  EXPECT_FAILS(launchScale(*kernel, x, x, 1, 1), Internal,
               "device 0 (Fake H200): cannot launch kernel 'scale': fake words "
               "(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)");
  fake.launchResult = CuSuccess;
  EXPECT_OK(device->synchronize()); // the device is as it was
}

Status loadError(Device &device, const std::string &image) {
  return Module::load(device, "m", image).error();
}

TEST_F(DeviceFixture, RefusesWhatTheDeviceCannotRun) {
  fake.devices = {{"Fake H200", 9, 0},
                  {"Fake B200", 10, 0},
                  {"Fake B300", 10, 3},
                  {"Fake 4090", 8, 9},
                  {"Fake 5090", 12, 0}};
  struct Case {
    const char *target;
    std::vector<int> runsOn;
    std::string wants;
  } const cases[] = {
      {"sm_80", {0, 1, 2, 3, 4}, ""},
      {"sm_89", {0, 1, 2, 3, 4}, ""},
      {"sm_90", {0, 1, 2, 4}, "at least compute capability 9.0"},
      {"sm_90a", {0}, "exactly compute capability 9.0"},
      {"sm_100a", {1}, "exactly compute capability 10.0"},
      {"sm_100f", {1, 2}, "the family of compute capability 10.0"},
      {"sm_103", {2, 4}, "at least compute capability 10.3"}};
  int numRuns = 0;
  for (int ordinal = 0; ordinal < 5; ++ordinal) {
    auto device = open(ordinal);
    const FakeDevice &is = fake.devices[static_cast<size_t>(ordinal)];
    for (const Case &test : cases) {
      SCOPED_TRACE(is.name + ", " + test.target);
      Status status = loadError(*device, ptxOf("scale", test.target, "9.0"));
      bool runs = std::find(test.runsOn.begin(), test.runsOn.end(), ordinal) !=
                  test.runsOn.end();
      if (runs) {
        ++numRuns;
        EXPECT_OK(status);
        continue;
      }
      EXPECT_FAILS(status, Unsupported,
                   std::string("'m' is for ") + test.target + " (" +
                       test.wants + "), device " + std::to_string(ordinal) +
                       " (" + is.name + ") has " + std::to_string(is.major) +
                       "." + std::to_string(is.minor));
    }
  }
  // What does not fit never came to the driver.
  EXPECT_EQ(fake.numAssembled, numRuns);
}

TEST_F(DeviceFixture, RefusesPtxThatIsTooNew) {
  struct Case {
    int cuda;
    const char *reads, *not_;
  } const cases[] = {{11080, "7.8", "8.0"}, {12000, "8.0", "8.1"},
                     {12050, "8.5", "8.6"}, {12060, "8.5", "8.6"},
                     {12080, "8.7", "8.8"}, {13000, "9.0", "9.1"},
                     {13010, "9.1", "9.2"}};
  for (const Case &test : cases) {
    table.version = test.cuda;
    auto device = open();
    EXPECT_OK(loadError(*device, ptxOf("scale", "sm_90", test.reads)));
    EXPECT_FAILS(
        loadError(*device, ptxOf("scale", "sm_90", test.not_)), Unsupported,
        std::string("'m' is PTX ") + test.not_ +
            ", and the NVIDIA driver (CUDA " +
            std::to_string(test.cuda / 1000) + "." +
            std::to_string(test.cuda % 1000 / 10) + ") reads PTX up to " +
            test.reads + "; a newer driver is needed");
  }
  // Of drivers to come nothing is known.
  table.version = 14000;
  auto device = open();
  EXPECT_OK(loadError(*device, ptxOf("scale", "sm_90", "12.3")));
}

TEST_F(DeviceFixture, RefusesWhatIsNoPtx) {
  auto device = open();
  for (const char *bad :
       {"", "hello", ".version", ".version 8", ".version 8.", ".version 8.0",
        ".version 8.0x .target sm_90", ".version 8.0 .target",
        ".version 8.0 .target compute_90", ".version 8.0 .target sm_",
        ".version 8.0 .target sm_90x", ".version 8.0 .target sm_90aa",
        ".version 8.0 .target sm_99999999", ".target sm_90 .version 8.0",
        "/* .version 8.0 .target sm_90", "// .version 8.0 .target sm_90"})
    EXPECT_FAILS(loadError(*device, bad), InvalidFile,
                 "'m': no PTX: it must begin with '.version' and '.target'");
  auto header = readPtxHeader(
      "// a\n/* b */ .version 7.8\n\t.target sm_90a, texmode_unified\n");
  ASSERT_TRUE(header);
  EXPECT_EQ(header->name, "sm_90a");
  EXPECT_EQ(header->versionMinor, 8);
}

TEST_F(DeviceFixture, ShowsTheAssemblersLog) {
  auto device = open();
  fake.assemblerLog = "ptxas application ptx input, line 7; error : Unknown "
                      "symbol 'r9'\nptxas fatal : aborted\n\n";
  EXPECT_FAILS(loadError(*device, ptxOf("scale")), Internal,
               "device 0 (Fake H200): cannot assemble 'm': fake words "
               "(CUDA_ERROR_INVALID_PTX)\nptxas application ptx input, line "
               "7; error : Unknown symbol 'r9'\nptxas fatal : aborted");
  // One longer than we look at.
  fake.assemblerLog = std::string(100000, 'x');
  std::string message = loadError(*device, ptxOf("scale")).message;
  EXPECT_GT(message.size(), 8000u);
  EXPECT_LT(message.size(), 8400u);
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_F(DeviceFixture, LoadsPtxThatTheLinkerRefuses) {
  auto device = open();
  fake.canLink = false;
  auto module = Module::load(*device, "m", ptxOf("scale"));
  ASSERT_TRUE(module) << module.error().message;
  EXPECT_TRUE(module->kernel("scale", 64, 0));
  EXPECT_FALSE(module->cached());
  EXPECT_EQ(fake.numAssembled, 0);
  // There is no cubin to keep.
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_F(DeviceFixture, LoadsCubins) {
  fake.devices.push_back({"Fake 4090", 8, 9});
  auto device = open(0), other = open(1);
  std::string cubin = "\x7f"
                      "ELF fake cubin sm_90\n.entry scale(";
  auto module = Module::load(*device, "m", cubin);
  ASSERT_TRUE(module) << module.error().message;
  EXPECT_TRUE(module->kernel("scale", 64, 0));
  EXPECT_EQ(fake.numAssembled, 0);
  EXPECT_FAILS(loadError(*other, cubin), Unsupported,
               "'m' holds no code for device 1 (Fake 4090), which has compute "
               "capability 8.9");
  EXPECT_FAILS(loadError(*device, "\x7f"
                                  "ELF of something else"),
               InvalidFile,
               "device 0 (Fake H200): cannot load 'm': fake words "
               "(CUDA_ERROR_INVALID_IMAGE)");
}

} // namespace
