// What of a model goes to a device when it is opened, and what a trace says.
#include "runtime/Core/Recorder.h"
#include "runtime/Device/Ptx.h"
#include "test/unit/runtime/DeviceModelFixture.h"

namespace moe::test {
namespace {

/// What the fake driver takes for one.
std::string cubinOf(const std::string &ptx) {
  return "\x7f"
         "ELF fake cubin sm_90\n" +
         ptx;
}

class DeviceLoadFixture : public DeviceModelFixture {
protected:
  void give(const std::string &bytes) {
    cubin = bytes;
    code.cubin = cubin.c_str();
    code.cubin_bytes = cubin.size();
  }
  std::string cubin;
};

TEST(Cubin, FitsDevices) {
  struct Case {
    const char *architecture;
    int major, minor;
    bool runs;
  } const cases[] = {
      {"sm_80", 8, 0, true},     {"sm_80", 8, 9, true},
      {"sm_80", 9, 0, false},    {"sm_86", 8, 0, false},
      {"sm_90a", 9, 0, true},    {"sm_90a", 9, 1, false},
      {"sm_90", 9, 1, true},     {"sm_100f", 10, 3, true},
      {"sm_100f", 12, 0, false}, {"sm_103a", 10, 0, false},
      {"", 8, 0, false},         {"compute_80", 8, 0, false},
  };
  for (const Case &test : cases) {
    DeviceInfo info;
    info.major = test.major;
    info.minor = test.minor;
    EXPECT_EQ(runsCubin(test.architecture, info), test.runs)
        << test.architecture << " on " << test.major << "." << test.minor;
  }
}

TEST_F(DeviceLoadFixture, TakesTheCubinWhereItFits) {
  give(cubinOf(ptx));
  ASSERT_TRUE(make());
  EXPECT_EQ(fake.numAssembled, 0);
  // One for another GPU is not looked at.
  code.architecture = "sm_80";
  ASSERT_TRUE(make());
  EXPECT_EQ(fake.numAssembled, 1);
}

TEST_F(DeviceLoadFixture, TakesThePtxWhereTheDriverRefusesTheCubin) {
  give("\x7f"
       "ELF of a later toolkit");
  ASSERT_TRUE(make());
  EXPECT_EQ(fake.numAssembled, 1);
  code.ptx = "no PTX";
  auto made = make();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message,
            "'kernels of the model': no PTX: it must begin with '.version' and "
            "'.target'; its cubin: device 0 (Fake H200): cannot load 'kernels "
            "of the model': fake words (CUDA_ERROR_INVALID_IMAGE)");
}

struct Told {
  std::vector<uint64_t> done;
  uint64_t total = 0;

  Progress progress() {
    return {[](void *user, uint64_t done, uint64_t total) {
              auto &told = *static_cast<Told *>(user);
              told.done.push_back(done);
              told.total = total;
            },
            this};
  }
};

TEST_F(DeviceLoadFixture, UploadsConstantsAndTellsHowFarItIs) {
  const float own[3] = {1, 2, 3};
  const moert_device_known known[3] = {
      {own, 0, sizeof(own)}, {nullptr, 4096, 100000}, {nullptr, 4096, 100000}};
  code.constants = known;
  code.num_constants = 3;
  Told told;
  auto model = make(told.progress());
  ASSERT_TRUE(model) << model.error().message;
  // First and second matrices of two experts: 16 x 8 and 1024 x 16 bf16.
  EXPECT_EQ(told.total, 2u * (16 * 8 + 1024 * 16) * 2 + 12 + 2 * 100000);
  ASSERT_GE(told.done.size(), 6u);
  EXPECT_EQ(told.done.front(), 0u);
  EXPECT_TRUE(std::is_sorted(told.done.begin(), told.done.end()));
  EXPECT_EQ(told.done.back(), told.total);
  EXPECT_LT(told.done[told.done.size() - 2], told.total);
  // They are there before the first run wants them.
  int buffers = fake.live[FakeDriver::Buffers];
  ASSERT_TRUE((*model)->constant(own, sizeof(own)));
  ASSERT_TRUE((*model)->constant(weights.data() + 4096, 100000));
  EXPECT_EQ(fake.live[FakeDriver::Buffers], buffers);
  ASSERT_TRUE((*model)->constant(weights.data(), 8));
  EXPECT_EQ(fake.live[FakeDriver::Buffers], buffers + 1);
}

/// "outer(inner)" in the order of their ends.
std::string tracedNames(const Recorder &recorder) {
  std::string names;
  for (const moe_phase &phase : recorder.phases()) {
    EXPECT_LE(phase.begin_ns, phase.end_ns);
    names +=
        std::string(static_cast<size_t>(phase.depth), '>') + phase.name + " ";
  }
  return names;
}

TEST_F(DeviceLoadFixture, TracesWorkByName) {
  const char *const names[] = {"/model/layers.0/moe"};
  code.layer_names = names;
  const moert_device_kernel alone = {"scale", 64, 0, 0, 0};
  ptx += entryOf("scale", {8, 8, 4, 4});
  code.ptx = ptx.c_str();
  code.kernels = &alone;
  code.num_kernels = 1;
  auto made = make();
  ASSERT_TRUE(made) << made.error().message;
  DeviceModel &model = **made;
  std::vector<float> x(8), chosen(2), out(1024);
  std::vector<int32_t> ids(2);
  auto memory = model.allocate(4096);
  ASSERT_TRUE(memory);
  CuPointer at = addressOf(*memory);
  int32_t count = 8;
  float factor = 2;
  void *arguments[] = {&at, &at, &count, &factor};
  Recorder recorder;
  recorder.recordPhases = true;
  EXPECT_OK(model.upload(*memory, x.data(), 32, &recorder));
  EXPECT_OK(model.launch(0, arguments, &recorder));
  Offload::Rows rows = {*memory, *memory, *memory, nullptr, *memory};
  fake.kernels["combine"].entry = nothing;
  fake.mostPending = 0;
  EXPECT_OK(model.layer(0, 1, rows, &recorder));
  // Each was waited for.
  EXPECT_EQ(fake.mostPending, 1u);
  ASSERT_TRUE(model.constant(out.data(), 8, &recorder));
  ASSERT_TRUE(model.constant(out.data(), 8, &recorder)); // nothing to do
  EXPECT_OK(
      model.copy(Offload::Up, {*memory, out.data(), 8, 16, 2, 8}, &recorder));
  EXPECT_OK(model.download(out.data(), *memory, 32, &recorder));
  EXPECT_EQ(tracedNames(recorder),
            "upload scale >prepare >up >down >combine /model/layers.0/moe "
            "upload constant upload rows download ");
}

TEST_F(DeviceLoadFixture, WaitsForNothingWithoutATrace) {
  auto made = make();
  ASSERT_TRUE(made) << made.error().message;
  auto memory = (*made)->allocate(4096);
  ASSERT_TRUE(memory);
  fake.kernels["combine"].entry = nothing;
  fake.mostPending = 0;
  EXPECT_OK(
      (*made)->layer(0, 1, {*memory, *memory, *memory, nullptr, *memory}));
  // They wait for company, and then for a copy.
  EXPECT_EQ(fake.mostPending, 0u);
  EXPECT_OK((*made)->upload(*memory, weights.data(), 4));
  EXPECT_EQ(fake.mostPending, 4u + 2);
}

TEST_F(DeviceLoadFixture, EndsAPhaseThatFails) {
  auto made = make();
  ASSERT_TRUE(made) << made.error().message;
  auto memory = (*made)->allocate(4096);
  ASSERT_TRUE(memory);
  Recorder recorder;
  recorder.recordPhases = true;
  fake.kernels["up"].entry = [](void **) {
    store(reinterpret_cast<float *>(8), 1.0f, "out of bounds");
  };
  // Which one it was is known, too.
  EXPECT_FAILS((*made)->layer(0, 1,
                              {*memory, *memory, *memory, nullptr, *memory},
                              &recorder),
               ModelFailed,
               "device 0 (Fake H200): kernel 'up' failed: unspecified "
               "launch failure (CUDA_ERROR_LAUNCH_FAILED)");
  EXPECT_EQ(tracedNames(recorder), ">prepare >up layer 0 ");
}

} // namespace
} // namespace moe::test
