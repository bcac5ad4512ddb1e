// What kernels written by hand need to run on the emulator.
#ifndef MOE_TEST_UNIT_RUNTIME_EMULATORKERNELS_H
#define MOE_TEST_UNIT_RUNTIME_EMULATORKERNELS_H

#include "runtime/Emulator/Emulator.h"
#include "runtime/Emulator/EmulatorAbi.h"
#include "runtime/Runner/Random.h"

#include <gtest/gtest.h>
#include <vector>

namespace moe::test {

template <typename T>
T load(const T *address, const char *site = "load") {
  return *static_cast<T *>(
      moegpu_emu_access(const_cast<T *>(address), sizeof(T), 0, site));
}

template <typename T>
void store(T *address, T value, const char *site = "store") {
  *static_cast<T *>(moegpu_emu_access(address, sizeof(T), 1, site)) = value;
}

template <typename T = float>
T *shared(size_t byte = 0) {
  return reinterpret_cast<T *>(static_cast<char *>(moegpu_emu_shared()) + byte);
}

struct alignas(16) Float4 {
  float values[4];
};

/// The shape of a launch, one block of a warp unless said otherwise.
struct Shape {
  uint32_t blocks = 1;
  uint32_t threads = 32;
  size_t sharedBytes = 0;
};

/// A device whose arguments are allocations of its memory.
class Device {
public:
  /// An allocation that holds `values`, the next argument of the kernel.
  template <typename T>
  T *argument(const char *name, const std::vector<T> &values) {
    auto allocated = memory.allocate(values.size() * sizeof(T), name);
    EXPECT_TRUE(allocated);
    T *begin = static_cast<T *>(*allocated);
    std::copy(values.begin(), values.end(), begin);
    arguments.push_back(begin);
    return begin;
  }

  rt::Status run(void (*kernel)(void **), const Shape &shape,
                 const emu::Options &options = {},
                 emu::Counts *counts = nullptr) {
    emu::Launch launch;
    launch.name = "k";
    launch.blocks = shape.blocks;
    launch.threads = shape.threads;
    launch.sharedBytes = shape.sharedBytes;
    launch.entry = kernel;
    launch.arguments = arguments.data();
    return emu::run(launch, memory, options, counts);
  }

  emu::Memory memory;
  std::vector<void *> arguments;
};

/// In order, eager with two seeds, late with five.
inline std::vector<emu::Options> schedules() {
  std::vector<emu::Options> all = {{0, false, false}};
  for (uint64_t seed : {1, 2})
    all.push_back({seed, false, false});
  for (uint64_t seed : {1, 2, 3, 4, 5})
    all.push_back({seed, true, false});
  return all;
}

inline std::string describe(const emu::Options &options) {
  return std::string(options.late ? "late" : "eager") + ", seed " +
         std::to_string(options.seed);
}

/// Between -1 and 1.
inline std::vector<float> randomFloats(size_t count, uint64_t seed = 7) {
  rt::Random random(seed);
  std::vector<float> values(count);
  for (float &value : values)
    value = static_cast<float>(random.unit() * 2 - 1);
  return values;
}

/// Two allocations of 100 floats, `x` and `y`, are the arguments.
inline rt::Status runOnFloats(void (*kernel)(void **), const Shape &shape,
                              const emu::Options &options = {}) {
  Device device;
  device.argument("x", std::vector<float>(100));
  device.argument("y", std::vector<float>(100));
  return device.run(kernel, shape, options);
}

/// The kernel fails in every schedule, and the message has all the parts.
inline void expectError(void (*kernel)(void **), const Shape &shape,
                        const std::vector<std::string> &parts) {
  for (const emu::Options &options : schedules()) {
    SCOPED_TRACE(describe(options));
    rt::Status status = runOnFloats(kernel, shape, options);
    EXPECT_EQ(status.code, rt::Code::ModelFailed);
    for (const std::string &part : parts)
      EXPECT_NE(status.message.find(part), std::string::npos)
          << status.message << "\nlacks: " << part;
  }
}

} // namespace moe::test

#endif // MOE_TEST_UNIT_RUNTIME_EMULATORKERNELS_H
