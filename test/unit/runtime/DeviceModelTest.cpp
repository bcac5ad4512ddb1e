// The host's side of a model on a device; the kernels are stand-ins.
#include "runtime/Emulator/TensorMap.h"
#include "test/unit/runtime/DeviceModelFixture.h"

namespace moe::test {
namespace {

TEST_F(DeviceModelFixture, RunsInPiecesWhereMemoryIsShort) {
  constexpr int64_t tokens = 300;
  std::vector<float> x(tokens * 8), chosen(tokens * 2), out(tokens * 1024, 1);
  std::vector<int32_t> ids(tokens * 2);
  for (size_t i = 0; i < chosen.size(); ++i)
    chosen[i] = static_cast<float>(i);
  for (uint64_t memory : {uint64_t(64) << 20, uint64_t(3) << 20}) {
    fake.devices[0].memory = memory;
    auto model = make();
    ASSERT_TRUE(model) << model.error().message;
    int before = fake.numLaunched;
    std::fill(out.begin(), out.end(), 1.0f);
    // In place.
    void *onto = uploaded(**model, out);
    Status status =
        (*model)->layer(0, tokens,
                        {uploaded(**model, x), uploaded(**model, ids),
                         uploaded(**model, chosen), onto, onto});
    ASSERT_TRUE(status.ok()) << status.message;
    status = (*model)->download(out.data(), onto, tokens * 1024 * 4);
    ASSERT_TRUE(status.ok()) << status.message;
    for (int64_t i = 0; i < tokens * 1024; ++i)
      ASSERT_EQ(out[i], 1 + chosen[i / 1024 * 2] + float(i % 1024)) << i;
    int launches = fake.numLaunched - before;
    if (memory > 4 << 20)
      EXPECT_EQ(launches, 4);
    else
      EXPECT_GT(launches, 4);
    // No tokens, no work.
    EXPECT_TRUE((*model)->layer(0, 0, {}).ok());
    EXPECT_EQ((*model)->layer(1, 0, {}).code, Code::Internal);
    EXPECT_EQ((*model)->launch(0, nullptr).code, Code::Internal);
  }
}

TEST_F(DeviceModelFixture, KeepsMemoryForTheNextRun) {
  auto model = make();
  ASSERT_TRUE(model) << model.error().message;
  auto first = (*model)->allocate(1000);
  auto second = (*model)->allocate(1000);
  ASSERT_TRUE(first);
  ASSERT_TRUE(second);
  EXPECT_NE(*first, *second);
  (*model)->release(*first);
  (*model)->release(nullptr); // nobody's
  auto third = (*model)->allocate(1010);
  ASSERT_TRUE(third);
  EXPECT_EQ(*third, *first);
  EXPECT_EQ((*model)->allocate(-1).error().code, Code::OutOfMemory);
  int host = 0;
  EXPECT_EQ((*model)->upload(&host, &host, 4).code, Code::Internal);
  EXPECT_EQ((*model)->download(&host, &host, 4).code, Code::Internal);
}

// Steps that ask for the same memory launch the same, whoever makes them.
TEST_F(DeviceModelFixture, StepsAreGraphs) {
  auto model = make();
  ASSERT_TRUE(model) << model.error().message;
  std::vector<float> x(3 * 8), chosen(3 * 2, 1), out(3 * 1024);
  std::vector<int32_t> ids(3 * 2);
  auto step = [&] {
    void *inputs[] = {uploaded(**model, x), uploaded(**model, ids),
                      uploaded(**model, chosen)};
    std::vector<void *> made;
    for (int layer = 0; layer < 3; ++layer) {
      made.push_back(*(*model)->allocate(3 * 4096));
      EXPECT_OK((*model)->layer(
          0, 3, {inputs[0], inputs[1], inputs[2], nullptr, made.back()}));
    }
    EXPECT_OK((*model)->download(out.data(), made.back(), 3 * 4096));
    // In whatever order they go.
    std::rotate(made.begin(), made.begin() + 1, made.end());
    for (void *memory : made)
      (*model)->release(memory);
    for (void *memory : inputs)
      (*model)->release(memory);
  };
  step();
  EXPECT_EQ((*model)->launches().graphLaunches(), 0u);
  for (int i = 0; i < 3; ++i)
    step();
  EXPECT_EQ((*model)->launches().graphLaunches(), 3u);
  EXPECT_EQ(fake.numUpdated, 0);
  for (int64_t i = 0; i < 3 * 1024; ++i)
    ASSERT_EQ(out[i], 1 + float(i % 1024));
}

TEST_F(DeviceModelFixture, SaysWhatItDoesNotHave) {
  auto model = make();
  ASSERT_TRUE(model) << model.error().message;
  char byte = 0;
  EXPECT_FAILS((*model)->upload(&byte, &byte, 1), Internal,
               "bytes are copied to or from memory that the device does not "
               "have");
  EXPECT_FAILS((*model)->allocate(-1).error(), OutOfMemory,
               "a tensor on the device has too many bytes");
  EXPECT_FAILS((*model)->launch(7, nullptr), Internal,
               "the model has no kernel 7");
  EXPECT_FAILS((*model)->layer(5, 1, {}), Internal,
               "the model has no layer 5 for the device");
  auto memory = (*model)->allocate(64);
  ASSERT_TRUE(memory);
  EXPECT_FAILS((*model)->layer(0, 1,
                               {static_cast<char *>(*memory) + 4, *memory,
                                *memory, nullptr, *memory}),
               Internal,
               "rows of layer 0 do not begin at a multiple of 16 bytes");
}

TEST_F(DeviceModelFixture, CopiesConstantsOnce) {
  auto model = make();
  ASSERT_TRUE(model) << model.error().message;
  const float numbers[4] = {1, 2, 3, 4};
  auto first = (*model)->constant(numbers, sizeof(numbers));
  auto again = (*model)->constant(numbers, sizeof(numbers));
  ASSERT_TRUE(first);
  ASSERT_TRUE(again);
  EXPECT_EQ(*first, *again);
}

TEST_F(DeviceModelFixture, SaysWhatMemoryIsMissing) {
  fake.devices[0].memory = 64 << 10;
  auto layers = make();
  ASSERT_FALSE(layers);
  EXPECT_EQ(layers.error().code, Code::OutOfMemory);
  EXPECT_EQ(layers.error().message,
            "device 0 (Fake H200): no memory for the weights of the model: "
            "they take 66.0 KB, 65.5 KB of 65.5 KB free, 512 bytes missing");
  // Constants are counted, too.
  fake.devices[0].memory = 128 << 10;
  const moert_device_known known[2] = {{weights.data(), 0, 1000},
                                       {nullptr, 64, 80000}};
  code.constants = known;
  code.num_constants = 2;
  auto constants = make();
  ASSERT_FALSE(constants);
  EXPECT_EQ(constants.error().message,
            "device 0 (Fake H200): no memory for the weights of the model: "
            "they take 147.0 KB, 131.1 KB of 131.1 KB free, 16.0 KB missing");
}

/// What the kernels for few and for more tokens got for their matrix.
uint64_t fewMatrix = 0, manyMatrix = 0;

TEST_F(DeviceModelFixture, GivesKernelsTensorMaps) {
  pool.kernels[MOERT_KERNEL_GROUPED_UP].map_rows = 64;
  fake.kernels["UP"] = {[](void **arguments) {
                          manyMatrix = reinterpret_cast<uint64_t>(arguments[1]);
                        },
                        {8, sizeof(TensorMap), 8, 8, 8, 8, 8}};
  fake.kernels["up"].entry = [](void **arguments) {
    fewMatrix = reinterpret_cast<uint64_t>(arguments[1]);
  };
  auto made = make();
  ASSERT_TRUE(made) << made.error().message;
  DeviceModel &model = **made;
  // Two choices of two experts: tokens are as many as an expert has.
  auto run = [&](int64_t tokens) {
    fewMatrix = manyMatrix = 0;
    std::vector<float> x(tokens * 8), chosen(tokens * 2), out(tokens * 1024);
    std::vector<int32_t> ids(tokens * 2);
    Status status =
        model.layer(0, tokens,
                    {uploaded(model, x), uploaded(model, ids),
                     uploaded(model, chosen), nullptr, uploaded(model, out)});
    ASSERT_TRUE(status.ok()) << status.message;
    ASSERT_TRUE(
        model.download(out.data(), uploaded(model, out), tokens * 4096).ok());
  };
  constexpr uint64_t magic = emu::TensorMap::expectedMagic;
  run(6);
  EXPECT_TRUE(fewMatrix && fewMatrix != magic && !manyMatrix);
  for (int64_t tokens : {7, 65}) {
    run(tokens);
    EXPECT_EQ(manyMatrix, magic);
    EXPECT_FALSE(fewMatrix);
  }

  pool.kernels[MOERT_KERNEL_GROUPED_UP].map_rows = 300;
  auto large = make();
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().message,
            "device 0 (Fake H200): cannot encode a tensor map: fake words "
            "(CUDA_ERROR_INVALID_VALUE)");
  table.tensorMapEncodeTiled = nullptr;
  auto old = make();
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, Code::Unsupported);
  EXPECT_EQ(old.error().message, "the NVIDIA driver is too old: it lacks "
                                 "cuTensorMapEncodeTiled");
}

/// What the four products of a layer got: the address of the left side, and of
/// what they made.
uint64_t from[4], made[4], scaledBy = 0;

void note(int product, void **arguments, int result) {
  from[product] = reinterpret_cast<uint64_t>(arguments[0]);
  made[product] = reinterpret_cast<uint64_t>(arguments[result]);
}

TEST_F(DeviceModelFixture, MultipliesFactorsOneAfterTheOther) {
  pool.up_low = {16, 8, 1, 8, 0, MOERT_BF16};
  pool.up.depth = pool.up.padded_depth = 16;
  pool.down_low = {8, 16, 1, 16, 0, MOERT_BF16};
  pool.down.depth = pool.down.padded_depth = 8;
  pool.scales_input = 1;
  // Weights go to the first product alone.
  fake.kernels["up_low"].entry = [](void **arguments) {
    note(0, arguments, 6);
    scaledBy = reinterpret_cast<uint64_t>(arguments[7]);
  };
  fake.kernels["up"].entry = [](void **a) { note(1, a, 6); };
  fake.kernels["down_low"].entry = [](void **a) { note(2, a, 6); };
  fake.kernels["down"].entry = [](void **a) { note(3, a, 5); };
  auto model = make();
  ASSERT_TRUE(model) << model.error().message;
  int before = fake.numLaunched;
  std::vector<float> x(8), chosen(2), out(1024);
  std::vector<int32_t> ids(2);
  void *weights = uploaded(**model, chosen);
  Status status = (*model)->layer(0, 1,
                                  {uploaded(**model, x), uploaded(**model, ids),
                                   weights, nullptr, uploaded(**model, out)});
  ASSERT_TRUE(status.ok()) << status.message;
  ASSERT_TRUE(
      (*model)->download(out.data(), uploaded(**model, out), 1024 * 4).ok());
  EXPECT_EQ(fake.numLaunched - before, 6);
  EXPECT_EQ(scaledBy, reinterpret_cast<uint64_t>(weights));
  for (int i = 1; i < 4; ++i)
    EXPECT_EQ(from[i], made[i - 1]) << i;
  EXPECT_EQ(made[0], made[2]); // one memory for both
  EXPECT_TRUE(from[0] && made[0] != from[0] && made[1] != made[0]);
}

TEST_F(DeviceModelFixture, KnowsThatItIsBroken) {
  auto layers = make();
  ASSERT_TRUE(layers) << layers.error().message;
  EXPECT_FALSE((*layers)->isBroken());
  fake.kernels["prepare"].entry = [](void **) {
    store(reinterpret_cast<float *>(8), 1.0f, "out of bounds");
  };
  std::vector<float> x(8), chosen(2), out(1024);
  std::vector<int32_t> ids(2);
  DeviceModel &model = **layers;
  Status status =
      model.layer(0, 1,
                  {uploaded(model, x), uploaded(model, ids),
                   uploaded(model, chosen), nullptr, uploaded(model, out)});
  if (status.ok())
    status = model.download(out.data(), uploaded(model, out), 4096);
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE((*layers)->isBroken());
}

} // namespace
} // namespace moe::test
