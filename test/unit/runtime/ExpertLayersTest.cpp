// The host's side of a layer on a device; the kernels are stand-ins.
#include "runtime/Device/ExpertLayers.h"
#include "runtime/Emulator/TensorMap.h"
#include "test/unit/runtime/DeviceFixture.h"

#include <gtest/gtest.h>

namespace moe::test {
using namespace rt;
namespace {

void nothing(void **) {}

/// out[t, o] = weights[t, 0] + o.
void combineKernel(void **arguments) {
  auto *weights = static_cast<const float *>(arguments[2]);
  auto *out = static_cast<float *>(arguments[4]);
  int32_t tokens;
  std::memcpy(&tokens, &arguments[3], sizeof(tokens));
  if (moegpu_emu_block_id() != 0 || moegpu_emu_thread_id() != 0)
    return;
  for (int32_t i = 0; i < tokens * 1024; ++i)
    store(out + i, load(weights + i / 1024 * 2, "weights") + float(i % 1024),
          "out");
}

class ExpertLayersFixture : public DeviceFixture {
protected:
  void SetUp() override {
    DeviceFixture::SetUp();
    // In the order of MOERT_KERNEL_SORT and the others, with the bytes of each
    // parameter: numbers of tokens have 4.
    const std::pair<const char *, std::vector<uint32_t>> wanted[] = {
        {"sort", {8, 8, 4, 8, 8, 8, 8, 8}}, {"round", {8, 4, 8}},
        {"up", {8, 8, 8, 8, 8, 8, 8}},      {"down", {8, 8, 8, 8, 8}},
        {"UP", {8, 8, 8, 8, 8, 8, 8}},      {"DOWN", {8, 8, 8, 8, 8}},
        {"combine", {8, 8, 8, 4, 8}},       {"some_up", {8, 8, 8, 8, 8, 8, 8}},
        {"some_down", {8, 8, 8, 8, 8}}};
    ptx = ptxOf("sort");
    for (int i = 0; i < MOERT_NUM_KERNELS; ++i) {
      const auto &[name, bytes] = wanted[i];
      pool.kernels[i] = {name, 32, 0};
      fake.kernels[name] = {i == MOERT_KERNEL_COMBINE ? combineKernel : nothing,
                            bytes};
      if (i > 0)
        ptx += std::string(".visible .entry ") + name + "()\n";
    }
    code.architecture = "sm_90a";
    code.ptx = ptx.c_str();
    code.num_pools = code.num_layers = 1;
    code.pools = &pool;
    code.layers = &layer;
    layer.entries = entries;
    layer.down = 32 * 2 * 2 * 8;
  }

  Result<std::shared_ptr<ExpertLayers>> make() {
    auto device = rt::Device::open(table, 0);
    if (!device)
      return device.error();
    return ExpertLayers::create(std::move(*device), code, weights.data());
  }

  std::string ptx;
  moert_device_pool pool = {2, 8, 16, 1024, 2, 2, 0, 32, {}};
  moert_device_layer layer = {};
  int32_t entries[2] = {0, 1};
  moert_device_code code = {};
  std::vector<char> weights = std::vector<char>(1 << 18);
};

TEST_F(ExpertLayersFixture, RunsInPiecesWhereMemoryIsShort) {
  constexpr int64_t tokens = 300;
  std::vector<float> x(tokens * 8), chosen(tokens * 2), out(tokens * 1024, 1);
  std::vector<int32_t> ids(tokens * 2);
  for (size_t i = 0; i < chosen.size(); ++i)
    chosen[i] = static_cast<float>(i);
  for (uint64_t memory : {uint64_t(64) << 20, uint64_t(2) << 20}) {
    fake.devices[0].memory = memory;
    auto layers = make();
    ASSERT_TRUE(layers) << layers.error().message;
    int before = fake.numLaunched;
    std::fill(out.begin(), out.end(), 1.0f);
    // In place.
    Status status = (*layers)->run(0, tokens, x.data(), ids.data(),
                                   chosen.data(), out.data(), out.data());
    ASSERT_TRUE(status.ok()) << status.message;
    for (int64_t i = 0; i < tokens * 1024; ++i)
      ASSERT_EQ(out[i], 1 + chosen[i / 1024 * 2] + float(i % 1024)) << i;
    int launches = fake.numLaunched - before;
    if (memory > 4 << 20)
      EXPECT_EQ(launches, 5);
    else
      EXPECT_GT(launches, 5);
    // No tokens, no work.
    EXPECT_TRUE(
        (*layers)->run(0, 0, nullptr, nullptr, nullptr, nullptr, nullptr).ok());
  }
}

TEST_F(ExpertLayersFixture, SaysWhatMemoryIsMissing) {
  fake.devices[0].memory = 64 << 10;
  auto layers = make();
  ASSERT_FALSE(layers);
  EXPECT_EQ(layers.error().code, Code::OutOfMemory);
  EXPECT_EQ(layers.error().message,
            "device 0 (Fake H200) has 65.5 KB of memory; the weights of the "
            "experts take 66.0 KB");
}

/// What the kernels for some and many tokens got for their matrix.
uint64_t someMatrix = 0, manyMatrix = 0;

TEST_F(ExpertLayersFixture, GivesKernelsTensorMaps) {
  pool.kernels[MOERT_KERNEL_GROUPED_UP].map_rows = 64;
  fake.kernels["UP"] = {[](void **arguments) {
                          manyMatrix = reinterpret_cast<uint64_t>(arguments[1]);
                        },
                        {8, sizeof(TensorMap), 8, 8, 8, 8, 8}};
  fake.kernels["some_up"].entry = [](void **arguments) {
    someMatrix = reinterpret_cast<uint64_t>(arguments[1]);
  };
  auto layers = make();
  ASSERT_TRUE(layers) << layers.error().message;
  // Two choices of two experts: tokens are as many as an expert has.
  auto run = [&](int64_t tokens) {
    someMatrix = manyMatrix = 0;
    std::vector<float> x(tokens * 8), chosen(tokens * 2), out(tokens * 1024);
    std::vector<int32_t> ids(tokens * 2);
    Status status = (*layers)->run(0, tokens, x.data(), ids.data(),
                                   chosen.data(), nullptr, out.data());
    ASSERT_TRUE(status.ok()) << status.message;
  };
  constexpr uint64_t magic = emu::TensorMap::expectedMagic;
  run(6);
  EXPECT_TRUE(!someMatrix && !manyMatrix);
  run(7);
  EXPECT_TRUE(someMatrix && someMatrix != magic && !manyMatrix);
  run(64);
  EXPECT_TRUE(someMatrix && !manyMatrix);
  run(65);
  EXPECT_EQ(manyMatrix, magic);
  EXPECT_FALSE(someMatrix);

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

TEST_F(ExpertLayersFixture, KnowsThatItIsBroken) {
  auto layers = make();
  ASSERT_TRUE(layers) << layers.error().message;
  EXPECT_FALSE((*layers)->isBroken());
  fake.kernels["sort"].entry = [](void **) {
    store(reinterpret_cast<float *>(8), 1.0f, "out of bounds");
  };
  float x[8] = {}, chosen[2] = {}, out[1024];
  int32_t ids[2] = {};
  Status status = (*layers)->run(0, 1, x, ids, chosen, nullptr, out);
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE((*layers)->isBroken());
}

} // namespace
} // namespace moe::test
