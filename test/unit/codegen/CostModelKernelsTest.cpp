// What the cost model says that kernels move and multiply, against what they do
// in the emulator.
#include "codegen/CUDA/CostModel.h"
#include "test/unit/codegen/LayerFixture.h"

using namespace moe;
using namespace moe::cuda;
using namespace moe::test;

namespace {
/// Sums over the sites of a kernel.
struct Moved {
  double copied = 0;   ///< by cp.async
  double streamed = 0; ///< weights, read past L1
  double largest = 0;  ///< of the other loads: rows of tokens, or of slots
  double read = 0, written = 0;
  double operations = 0;

  Moved(const emu::Counts &counts, const std::string &kernel) {
    for (const emu::SiteCounts &site : counts.sites) {
      if (site.site.rfind(kernel + " ", 0) != 0)
        continue;
      auto is = [&](const char *what) {
        return site.site.find(what) != std::string::npos;
      };
      // What is touched; several lanes may read the same.
      double bytes = 32.0 * static_cast<double>(site.sectors);
      // m16n8k16.
      operations += 4096.0 * static_cast<double>(site.mma);
      if (is("async_copy"))
        copied += bytes;
      else if (is("streaming"))
        streamed += bytes;
      else if (is("load"))
        largest = std::max(largest, bytes), read += bytes;
      else if (is("store"))
        written += bytes;
    }
  }
};

class CostModelKernels : public testing::TestWithParam<bool> {
protected:
  Context context;
};

TEST_P(CostModelKernels, DoWhatTheModelSays) {
  bool grouped = GetParam();
  LayerShape shape{4, 512, 256, 512, 2};
  Layer layer(shape, {0, 1, 2, 3});
  Case test = layer.makeCase(grouped ? 150 : 11);
  test::Device device(context, layer, grouped);
  device.options.count = true;
  device.run(test);
  ASSERT_EQ(device.error, "");

  Routing routing{grouped ? 150 : 11, std::vector<int64_t>(4)};
  for (int32_t id : test.ids)
    if (id >= 0)
      ++routing.counts[id];
  ASSERT_GT(routing.slots(), 0);
  LayerCost cost = predictLayer(Gpu(), shape, Family::MmaSync, routing);
  ASSERT_EQ(cost.variant.rfind("few", 0) != 0, grouped);
  for (const KernelCost &kernel : cost.kernels) {
    SCOPED_TRACE(kernel.name);
    Moved moved(device.counts, kernel.name);
    EXPECT_EQ(moved.operations, kernel.operations);
    if (kernel.name == "up" || kernel.name == "down")
      EXPECT_EQ(moved.copied + moved.streamed + (grouped ? 0 : moved.largest),
                kernel.l2Bytes);
  }
  // Rows are read and written once. Sorting reads ids twice, and what they
  // stand for; it writes by four bytes, in sectors of their own at worst.
  Moved prepare(device.counts, "prepare");
  double rows = static_cast<double>(routing.tokens) * 512 * (4 + 2);
  double slots = static_cast<double>(routing.tokens) * 2;
  EXPECT_EQ(cost.kernels[0].memoryBytes, rows + 12 * slots);
  EXPECT_GT(prepare.read + prepare.written, rows);
  EXPECT_LT(prepare.read + prepare.written, rows + 32 * 6 * slots + 4096);
  Moved combine(device.counts, "combine");
  EXPECT_NEAR(2 * combine.largest + combine.written, cost.kernels[3].l2Bytes,
              // Slots without an expert have no row.
              4.0 * 512 *
                  static_cast<double>(routing.tokens * 2 - routing.slots()));
}

INSTANTIATE_TEST_SUITE_P(, CostModelKernels, testing::Bool(),
                         [](const testing::TestParamInfo<bool> &info) {
                           return info.param ? "Grouped" : "Decode";
                         });
} // namespace
