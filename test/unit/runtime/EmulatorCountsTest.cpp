// What kernels cost: requests, sectors, bank conflicts.
#include "test/unit/runtime/EmulatorKernels.h"

using namespace moe::emu;
using namespace moe::test;
using moe::rt::Status;

namespace {

/// Counts of a kernel over an allocation of 4096 floats.
Counts countsOf(void (*kernel)(void **), const Shape &shape,
                uint64_t seed = 1) {
  Device device;
  device.argument("x", std::vector<float>(4096));
  Counts counts;
  Options options;
  options.seed = seed;
  options.count = true;
  Status status = device.run(kernel, shape, options, &counts);
  EXPECT_TRUE(status.ok()) << status.message;
  return counts;
}

SiteCounts at(const Counts &counts, const char *site) {
  const SiteCounts *found = counts.find(site);
  EXPECT_TRUE(found) << site;
  return found ? *found : SiteCounts();
}

TEST(EmulatorCounts, CoalescedAndStridedLoads) {
  Counts counts = countsOf(
      [](void **arguments) {
        const float *x = static_cast<float *>(arguments[0]);
        int32_t thread = moegpu_emu_thread_id();
        load(x + thread, "one");
        load(reinterpret_cast<const Float4 *>(x) + thread, "four");
        load(x + thread * 8, "apart");
        load(x, "same");
        if (thread % 32 < 16)
          load(x + thread + 1, "half");
      },
      {1, 64, 0});
  // 32 lanes of 4 bytes are 4 sectors of 32 bytes, of 16 bytes 16.
  SiteCounts one = at(counts, "one");
  EXPECT_EQ(one.global.requests, 2);
  EXPECT_EQ(one.sectors, 8);
  EXPECT_EQ(one.global.bytesRead, 256);
  EXPECT_EQ(one.global.bytesWritten, 0);
  EXPECT_EQ(one.shared.requests, 0);
  EXPECT_EQ(at(counts, "four").global.requests, 2);
  EXPECT_EQ(at(counts, "four").sectors, 32);
  EXPECT_EQ(at(counts, "apart").sectors, 64);
  EXPECT_EQ(at(counts, "same").sectors, 2);
  EXPECT_EQ(at(counts, "half").global.requests, 2);
  EXPECT_EQ(at(counts, "half").sectors, 6);
  EXPECT_FALSE(counts.find("none"));
}

/// Lanes store numbers of 4 bytes `stride` words apart.
template <int stride>
void storeApart(void **) {
  store(shared() + moegpu_emu_thread_id() * stride, 0.0f, "store");
}

TEST(EmulatorCounts, BankConflictsOfWords) {
  auto conflicts = [](void (*kernel)(void **)) {
    return at(countsOf(kernel, {1, 32, 8192}), "store").bankConflicts;
  };
  EXPECT_EQ(conflicts(storeApart<1>), 0);
  EXPECT_EQ(conflicts(storeApart<2>), 1);
  EXPECT_EQ(conflicts(storeApart<32>), 31);
  EXPECT_EQ(conflicts(storeApart<33>), 0);
  EXPECT_EQ(conflicts(storeApart<0>), 0); // the same word
}

TEST(EmulatorCounts, BankConflictsOfWideAccesses) {
  Counts counts = countsOf(
      [](void **) {
        int32_t lane = moegpu_emu_thread_id();
        store(shared<Float4>() + lane, Float4(), "row");
        store(shared<double>() + lane, 0.0, "pairs");
        // 128 bytes apart: 8 lanes on the same 4 banks, 4 times.
        store(shared<Float4>() + lane * 8, Float4(), "column");
        // Swizzled: the column moves with the row.
        store(shared<Float4>() + lane * 8 + lane % 8, Float4(), "swizzled");
        int32_t registers[4];
        moegpu_emu_ldmatrix(registers, shared<Float4>() + lane * 8, 4, 0,
                            "ldmatrix");
        moegpu_emu_ldmatrix(registers, shared<Float4>() + lane, 2, 0, "two");
      },
      {1, 32, 4096}, 0);
  EXPECT_EQ(at(counts, "row").bankConflicts, 0);
  EXPECT_EQ(at(counts, "row").shared.requests, 1);
  EXPECT_EQ(at(counts, "row").shared.bytesWritten, 512);
  EXPECT_EQ(at(counts, "pairs").bankConflicts, 0);
  EXPECT_EQ(at(counts, "column").bankConflicts, 28);
  EXPECT_EQ(at(counts, "swizzled").bankConflicts, 0);
  EXPECT_EQ(at(counts, "ldmatrix").bankConflicts, 28);
  EXPECT_EQ(at(counts, "ldmatrix").shared.bytesRead, 512);
  EXPECT_EQ(at(counts, "two").bankConflicts, 0);
  EXPECT_EQ(at(counts, "two").shared.bytesRead, 256);
}

TEST(EmulatorCounts, CopiesAtomicsAndMma) {
  Counts counts = countsOf(
      [](void **arguments) {
        const float *x = static_cast<float *>(arguments[0]);
        int32_t lane = moegpu_emu_thread_id();
        moegpu_emu_async_copy(shared<Float4>() + lane, x + 4 * lane, 16,
                              lane < 16 ? 16 : 0, "copy");
        moegpu_emu_async_commit("commit");
        moegpu_emu_async_wait(0, "wait");
        moegpu_emu_atomic_add_f32(arguments[0], 1, "add");
        int32_t a[4] = {}, b[2] = {};
        float c[4] = {};
        for (int i = 0; i < 3; ++i)
          moegpu_emu_mma_m16n8k16(c, a, b, c, 0, "mma");
      },
      {2, 32, 512});
  SiteCounts copy = at(counts, "copy");
  EXPECT_EQ(copy.global.requests, 2);
  EXPECT_EQ(copy.global.bytesRead, 512);
  EXPECT_EQ(copy.sectors, 16);
  EXPECT_EQ(copy.shared.requests, 2);
  EXPECT_EQ(copy.shared.bytesWritten, 1024);
  EXPECT_EQ(copy.bankConflicts, 0);
  EXPECT_EQ(at(counts, "add").global.bytesRead, 256);
  EXPECT_EQ(at(counts, "add").global.bytesWritten, 256);
  EXPECT_EQ(at(counts, "add").sectors, 2);
  EXPECT_EQ(at(counts, "mma").mma, 6);
}

/// Lanes do not run side by side, and some skip visits: what counts as one
/// request is the n-th visit since the warp last met.
TEST(EmulatorCounts, PutsLanesTogether) {
  for (uint64_t seed : {0, 1, 2}) {
    Counts counts = countsOf(
        [](void **arguments) {
          const float *x = static_cast<float *>(arguments[0]);
          int32_t lane = moegpu_emu_thread_id() % 32;
          for (int i = 0; i < 4; ++i) {
            if (i > 0 || lane % 2)
              load(x + i * 32 + lane, "load");
            moegpu_emu_ballot(1, "meet");
          }
        },
        {1, 96, 0}, seed);
    EXPECT_EQ(at(counts, "load").global.requests, 12);
    EXPECT_EQ(at(counts, "load").sectors, 48);
  }
}

TEST(EmulatorCounts, AddUp) {
  Device device;
  device.argument("x", std::vector<float>(32));
  Counts counts;
  auto kernel = [](void **arguments) {
    load(static_cast<float *>(arguments[0]) + moegpu_emu_thread_id(), "load");
  };
  Options options;
  options.count = true;
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(device.run(kernel, {3, 32, 0}, options, &counts).ok());
  EXPECT_EQ(at(counts, "load").global.requests, 6);
  options.count = false;
  EXPECT_TRUE(device.run(kernel, {3, 32, 0}, options, &counts).ok());
  EXPECT_EQ(at(counts, "load").global.requests, 6);
}

} // namespace
