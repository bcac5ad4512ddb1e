// A small model for the host's side of devices; the kernels are stand-ins.
#ifndef MOE_TEST_UNIT_RUNTIME_DEVICEMODELFIXTURE_H
#define MOE_TEST_UNIT_RUNTIME_DEVICEMODELFIXTURE_H

#include "runtime/Device/DeviceModel.h"
#include "test/unit/runtime/DeviceFixture.h"

#include <gtest/gtest.h>

namespace moe::test {
using namespace rt;

inline void nothing(void **) {}

/// out[t, o] = weights[t, 0] + o (+ residual[t, o]).
inline void combineKernel(void **arguments) {
  auto *weights = static_cast<const float *>(arguments[2]);
  auto *out = static_cast<float *>(arguments[4]);
  auto *residual = static_cast<const float *>(arguments[5]);
  int32_t tokens, isAdded;
  std::memcpy(&tokens, &arguments[3], sizeof(tokens));
  std::memcpy(&isAdded, &arguments[6], sizeof(isAdded));
  if (moegpu_emu_block_id() != 0 || moegpu_emu_thread_id() != 0)
    return;
  for (int32_t i = 0; i < tokens * 1024; ++i)
    store(out + i,
          load(weights + i / 1024 * 2, "weights") + float(i % 1024) +
              (isAdded ? load(residual + i, "residual") : 0),
          "out");
}

class DeviceModelFixture : public DeviceFixture {
protected:
  void SetUp() override {
    DeviceFixture::SetUp();
    fake.multiprocessors = 2;
    // In the order of MOERT_KERNEL_PREPARE and the others, with the bytes of
    // each parameter: numbers of tokens have 4. First low factors take weights,
    // too.
    const std::pair<const char *, std::vector<uint32_t>> wanted[] = {
        {"prepare", {8, 8, 4, 8, 8, 8, 8, 8, 8, 8}},
        {"round", {8, 4, 8}},
        {"up", {8, 8, 8, 8, 8, 8, 8}},
        {"down", {8, 8, 8, 8, 8}},
        {"UP", {8, 8, 8, 8, 8, 8, 8}},
        {"DOWN", {8, 8, 8, 8, 8}},
        {"combine", {8, 8, 8, 4, 8, 8, 4}},
        {"finish", {8, 4, 8, 8, 4}},
        {"up_low", {8, 8, 8, 8, 8, 8, 8, 8}},
        {"UP_LOW", {8, 8, 8, 8, 8, 8, 8, 8}},
        {"down_low", {8, 8, 8, 8, 8, 8, 8}},
        {"DOWN_LOW", {8, 8, 8, 8, 8, 8, 8}}};
    ptx = ptxOf("none");
    for (int i = 0; i < MOERT_NUM_KERNELS; ++i) {
      const auto &[name, bytes] = wanted[i];
      pool.kernels[i] = {name, 32, 0};
      fake.kernels[name] = {i == MOERT_KERNEL_COMBINE ? combineKernel : nothing,
                            bytes};
      ptx += entryOf(name, bytes);
    }
    code.architecture = "sm_90a";
    code.ptx = ptx.c_str();
    code.num_pools = code.num_layers = 1;
    code.pools = &pool;
    code.layers = &layer;
    layer.entries = entries;
    layer.down.values = 32 * 2 * 2 * 8;
  }

  Result<std::shared_ptr<DeviceModel>> make(const Progress &progress = {}) {
    auto device = rt::Device::open(table, 0);
    if (!device)
      return device.error();
    return DeviceModel::create(std::move(*device), code, weights.data(),
                               progress);
  }

  std::string ptx;
  moert_device_pool pool = {2,
                            2,
                            2,
                            32,
                            2,
                            {16, 8, 1, 8, 0, MOERT_BF16},
                            {1024, 16, 64, 16, 0, MOERT_BF16},
                            {}};
  moert_device_layer layer = {};
  int32_t entries[2] = {0, 1};
  moert_device_code code = {};
  std::vector<char> weights = std::vector<char>(1 << 18);
};

/// Numbers on a device.
template <typename Number>
void *uploaded(DeviceModel &model, const std::vector<Number> &numbers) {
  auto bytes = static_cast<int64_t>(numbers.size() * sizeof(Number));
  auto made = model.allocate(bytes);
  if (!made) {
    ADD_FAILURE() << made.error().message;
    return nullptr;
  }
  EXPECT_TRUE(model.upload(*made, numbers.data(), bytes).ok());
  return *made;
}

} // namespace moe::test

#endif // MOE_TEST_UNIT_RUNTIME_DEVICEMODELFIXTURE_H
