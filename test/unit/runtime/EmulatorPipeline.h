// A product of 64 rows and 16 columns by a warpgroup, with what it needs
// brought by another one, as kernels for sm_90a do it, and mistakes to make in
// it.
#ifndef MOE_TEST_UNIT_RUNTIME_EMULATORPIPELINE_H
#define MOE_TEST_UNIT_RUNTIME_EMULATORPIPELINE_H

#include "runtime/Emulator/Numbers.h"
#include "runtime/Emulator/TensorMap.h"
#include "test/unit/runtime/EmulatorKernels.h"

namespace moe::test {

enum class Mistake {
  None,
  NoFenceAfterInit,
  NoWaitForFull,
  NoWaitForEmpty,
  NoProxyFence,
  NoWgmmaFence,
  EarlyRelease,
  ExpectsLess,
  ExpectsMore,
  CountsLess,
  CountsMore,
  FinishesUncommitted,
  UsesUnfinished,
  EndsEarly
};

struct Pipeline {
  static constexpr int64_t rows = 64, columns = 16, steps = 4, stages = 2;
  static constexpr int64_t depth = 64 * steps;
  static constexpr size_t stageBytes = 1024 * 10; // rows and columns of 128
  static constexpr size_t full = stages * stageBytes, empty = full + 16;
  static constexpr size_t sharedBytes = empty + 16;
  static constexpr uint32_t threads = 256;

  static void *at(size_t byte) { return shared<uint8_t>(byte); }

  template <Mistake mistake>
  static void bring(const uint16_t *a, const void *map) {
    int32_t thread = moegpu_emu_thread_id();
    for (int64_t n = 0; n < steps; ++n) {
      size_t stage = size_t(n % stages), base = stage * stageBytes;
      if (mistake != Mistake::NoWaitForEmpty)
        moegpu_emu_mbarrier_wait(at(empty + stage * 8), n / stages % 2 == 0,
                                 "wait empty");
      if (thread == 0) {
        int32_t bytes = columns * 128;
        bytes += mistake == Mistake::ExpectsMore   ? 64
                 : mistake == Mistake::ExpectsLess ? -64
                                                   : 0;
        moegpu_emu_mbarrier_arrive(at(full + stage * 8), bytes, "expect");
        moegpu_emu_tensor_load(map, 0, 0, int32_t(n * 64), at(base + 8192),
                               at(full + stage * 8), "load box");
      }
      for (int64_t i = 0; i < 4; ++i) {
        int64_t row = thread / 8 + i * 16, chunk = thread % 8;
        moegpu_emu_async_copy(
            at(base + size_t(row * 128 + (chunk ^ row % 8) * 16)),
            a + row * depth + n * 64 + chunk * 8, 16, 16, "copy");
      }
      moegpu_emu_mbarrier_arrive_copies(at(full + stage * 8), "arrive copies");
    }
    if (mistake == Mistake::EndsEarly)
      return;
    for (int64_t n = steps; n < steps + stages; ++n)
      moegpu_emu_mbarrier_wait(at(empty + size_t(n % stages) * 8),
                               n / stages % 2 == 0, "wait all");
  }

  template <Mistake mistake>
  static void multiply(float *out) {
    int32_t thread = moegpu_emu_thread_id() - 128;
    float sums[columns / 2] = {}, made[columns / 2];
    for (int64_t n = 0; n < steps; ++n) {
      size_t stage = size_t(n % stages), base = stage * stageBytes;
      auto release = [&](int64_t of) {
        if (thread % 32 == 0)
          moegpu_emu_mbarrier_arrive(at(empty + size_t(of % stages) * 8), 0,
                                     "release");
      };
      if (mistake != Mistake::NoWaitForFull)
        moegpu_emu_mbarrier_wait(at(full + stage * 8), n / stages % 2,
                                 "wait full");
      if (mistake != Mistake::NoProxyFence)
        moegpu_emu_proxy_fence();
      if (mistake != Mistake::NoWgmmaFence)
        moegpu_emu_wgmma_fence("fence");
      moegpu_emu_wgmma(made, at(base), at(base + 8192), sums, columns, 0,
                       "multiply");
      std::copy(made, made + columns / 2, sums);
      if (mistake != Mistake::FinishesUncommitted || n + 1 < steps)
        moegpu_emu_wgmma_commit("commit");
      if (mistake == Mistake::EarlyRelease) {
        release(n);
        continue;
      }
      moegpu_emu_wgmma_wait(1, "wait products");
      if (n)
        release(n - 1);
      if (n + 1 == steps) {
        if (mistake != Mistake::UsesUnfinished)
          moegpu_emu_wgmma_finish(made, sums, columns / 2, "finish");
        moegpu_emu_wgmma_wait(0, "wait all products");
        release(n);
      }
    }
    if (mistake == Mistake::EarlyRelease)
      moegpu_emu_wgmma_finish(made, sums, columns / 2, "finish");
    for (int64_t i = 0; i < columns / 2; ++i) {
      int64_t row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
      int64_t column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      store(out + row * columns + column, made[i]);
    }
  }

  /// Arguments: rows of bf16, the tensor map of the columns, the result.
  template <Mistake mistake>
  static void run(void **arguments) {
    int32_t thread = moegpu_emu_thread_id();
    if (thread == 0)
      for (size_t stage = 0; stage < stages; ++stage) {
        int32_t count = 129 + (mistake == Mistake::CountsMore) -
                        (mistake == Mistake::CountsLess);
        moegpu_emu_mbarrier_init(at(full + stage * 8), count, "make full");
        moegpu_emu_mbarrier_init(at(empty + stage * 8), 4, "make empty");
      }
    if (mistake != Mistake::NoFenceAfterInit)
      moegpu_emu_proxy_fence();
    moegpu_emu_barrier(0, 0, "start");
    if (thread < 128)
      bring<mistake>(static_cast<uint16_t *>(arguments[0]), arguments[1]);
    else
      multiply<mistake>(static_cast<float *>(arguments[2]));
  }
};

/// The pipeline's operands and result.
struct PipelineRun {
  std::vector<uint16_t> a, b;
  std::vector<float> out;

  rt::Status run(void (*kernel)(void **), const emu::Options &options,
                 emu::Counts *counts = nullptr) {
    auto numbers = [](int64_t count, uint64_t seed) {
      std::vector<uint16_t> made;
      for (float x : randomFloats(size_t(count), seed))
        made.push_back(emu::toBf16(x));
      return made;
    };
    a = numbers(Pipeline::rows * Pipeline::depth, 1);
    b = numbers(Pipeline::columns * Pipeline::depth, 2);
    Device device;
    device.argument("a", a);
    void *columns = device.argument("b", b);
    uint64_t sizes[] = {Pipeline::depth, Pipeline::columns, 1};
    uint64_t strides[] = {2 * Pipeline::depth,
                          2 * Pipeline::depth * Pipeline::columns};
    uint32_t box[] = {64, Pipeline::columns, 1};
    auto map = emu::encodeTensorMap(columns, 2, sizes, strides, box);
    EXPECT_TRUE(map);
    device.arguments.back() = &*map;
    float *to = device.argument(
        "out", std::vector<float>(Pipeline::rows * Pipeline::columns));
    rt::Status status = device.run(
        kernel, {1, Pipeline::threads, Pipeline::sharedBytes}, options, counts);
    out.assign(to, to + Pipeline::rows * Pipeline::columns);
    return status;
  }
};

} // namespace moe::test

#endif // MOE_TEST_UNIT_RUNTIME_EMULATORPIPELINE_H
