// Kernels that choose tokens, in the emulator, against the processor's choice.
#include "codegen/CUDA/SampleKernels.h"
#include "codegen/CUDA/Kernels.h"
#include "codegen/CUDA/LayerShape.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "runtime/Core/ChooseToken.h"
#include "runtime/Device/KernelChoice.h"
#include "runtime/Emulator/Emulator.h"
#include "test/unit/codegen/CaseRecorder.h"
#include "test/unit/codegen/OpFixture.h"
#include "test/unit/codegen/Schedules.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace moe;
using namespace moe::test;

namespace {
/// Rows of logits, `room` numbers apart, and what is asked of them.
struct Sampling {
  std::vector<std::vector<double>> rows;
  double temperature = 1;
  int64_t topK = 0;
  std::vector<float> uniform = {};
  int64_t room = 0;

  int64_t width() const { return static_cast<int64_t>(rows[0].size()); }
  /// How likely the tokens before one are, and that one, by the definition.
  std::pair<double, double> shareOf(size_t row, int64_t token) const;
};

std::pair<double, double> Sampling::shareOf(size_t row, int64_t token) const {
  const std::vector<double> &logits = rows[row];
  double largest = *std::max_element(logits.begin(), logits.end());
  double before = 0, own = 0, all = 0;
  for (int64_t i = 0; i < width(); ++i) {
    int64_t ahead = 0; // of it, where only some are kept
    for (int64_t j = 0; j < width() && topK; ++j)
      ahead += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
    if (topK && ahead >= topK)
      continue;
    double weight = logits[i] == largest
                        ? 1
                        : std::exp((logits[i] - largest) / temperature);
    all += weight;
    before += i < token ? weight : 0;
    own += i == token ? weight : 0;
  }
  return {before / all, own / all};
}

class SampleKernels : public OpKernels {
protected:
  SampleKernels() { prepare(Float32Type::get(&context)); }

  void prepare(Type type) {
    element = type;
    kernels = ModuleOp::create(UnknownLoc::get(&context));
    cuda::emitSample(*kernels, element);
    auto made = cuda::EmulatedKernels::compile(*kernels);
    ASSERT_TRUE(static_cast<bool>(made)) << llvm::toString(made.takeError());
    code = std::move(*made);
    recordedPtx.clear();
  }

  /// The tokens, with all grids and schedules; recorded in the first.
  std::vector<int64_t> run(Sampling &sampling) {
    std::vector<int64_t> first;
    CaseRecorder recorder;
    for (const emu::Options &schedule : schedules()) {
      bool isFirst = first.empty();
      std::vector<int64_t> tokens = runOnce(
          sampling, schedule, isFirst && isRecorded() ? &recorder : nullptr);
      if (isFirst)
        first = tokens;
      EXPECT_EQ(first, tokens) << "schedule " << schedule.seed;
    }
    if (isRecorded())
      recorder.write(*kernels, recordedPtx, /*isHopper=*/false);
    return first;
  }

  /// They are where the sums of weights pass the random numbers, to what f32
  /// sums may be off.
  void expectRight(Sampling &sampling) {
    expectRight(sampling, run(sampling));
    // Where exponentials are as far off as they may be.
    emu::Options rough;
    rough.roughness = 1;
    expectRight(sampling, runOnce(sampling, rough, nullptr));
  }
  void expectRight(const Sampling &sampling,
                   const std::vector<int64_t> &tokens) {
    for (size_t r = 0; r < tokens.size(); ++r) {
      SCOPED_TRACE(r);
      ASSERT_GE(tokens[r], 0);
      ASSERT_LT(tokens[r], sampling.width());
      auto [before, own] = sampling.shareOf(r, tokens[r]);
      EXPECT_GT(own, 0) << "token " << tokens[r] << " is not among the top";
      EXPECT_GE(sampling.uniform[r], before - 2e-6) << tokens[r];
      EXPECT_LE(sampling.uniform[r], before + own + 2e-6) << tokens[r];
    }
  }

  bool isRecorded() const { return isSharp && CaseRecorder::isWanted(); }

  Type element;
  OwningOpRef<ModuleOp> kernels;
  std::unique_ptr<cuda::EmulatedKernels> code;
  /// A GPU has to choose the same tokens.
  bool isSharp = true;

private:
  /// `recorder` may be null.
  std::vector<int64_t> runOnce(Sampling &sampling, const emu::Options &schedule,
                               CaseRecorder *recorder);
  void start(const std::string &name, std::vector<uint64_t> values,
             uint32_t blocks, emu::Memory &memory,
             const emu::Options &schedule);

  std::map<std::string, std::string> recordedPtx;
};

void SampleKernels::start(const std::string &name, std::vector<uint64_t> values,
                          uint32_t blocks, emu::Memory &memory,
                          const emu::Options &schedule) {
  auto kernel = kernels->lookupSymbol<moegpu::KernelOp>(name);
  values.resize(kernel.getArgumentTypes().size());
  std::vector<void *> pointers;
  for (uint64_t &value : values)
    pointers.push_back(&value);
  emu::Launch launch;
  launch.name = name.c_str();
  launch.blocks = blocks;
  launch.threads = kernel.getThreads();
  launch.sharedBytes = kernel.getShared();
  launch.entry = code->find(name);
  launch.arguments = pointers.data();
  rt::Status status = emu::run(launch, memory, schedule);
  EXPECT_TRUE(status.ok()) << status.message;
}

std::vector<int64_t> SampleKernels::runOnce(Sampling &sampling,
                                            const emu::Options &schedule,
                                            CaseRecorder *recorder) {
  emu::Memory memory;
  size_t rows = sampling.rows.size(), size = element.getIntOrFloatBitWidth();
  auto width = static_cast<size_t>(sampling.width());
  size_t stride = std::max(width, static_cast<size_t>(sampling.room));
  size_t parts = llvm::divideCeil(width, rt::kSamplePart);
  auto allocate = [&](size_t bytes, int fill, const char *name) {
    auto *made = static_cast<char *>(*memory.allocate(bytes, name));
    std::memset(made, fill, bytes);
    if (recorder)
      recorder->buffer(made, bytes);
    return made;
  };
  char *logits =
           allocate(((rows - 1) * stride + width) * size / 8, 0xff, "logits"),
       *scratch =
           allocate(rows * parts * 4 * rt::kSampleWords, 0xff, "scratch");
  auto *slots = reinterpret_cast<int64_t *>(allocate(rows * 8, 0xff, "slots"));
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < width; ++i) {
      double &x = sampling.rows[r][i];
      uint64_t bits = encode(element, x);
      std::memcpy(logits + (r * stride + i) * size / 8, &bits, size / 8);
      x = roundedTo(element, x); // what is expected is of what there is
    }
    std::memcpy(&slots[r], &sampling.uniform[r], sizeof(float));
  }
  auto inverse = static_cast<float>(1 / sampling.temperature);
  uint32_t inverseBits;
  std::memcpy(&inverseBits, &inverse, sizeof inverse);
  auto at = [](void *place) { return reinterpret_cast<uint64_t>(place); };
  auto [first, second] = cuda::sampleKernelNames(element);
  std::vector<uint64_t> values = {
      at(logits),  stride,
      width,       rows,
      at(scratch), sampling.topK ? static_cast<uint64_t>(sampling.topK) : width,
      inverseBits, at(slots)};
  if (recorder) {
    recorder->launch(first.c_str(), 3, cuda::kLayerThreads, 0,
                     {values.begin(), values.begin() + 5});
    recorder->launch(
        second.c_str(), 2, cuda::kLayerThreads,
        kernels->lookupSymbol<moegpu::KernelOp>(second).getShared(), values);
  }
  start(first, values, schedule.late ? 3 : 1, memory, schedule);
  start(second, values, schedule.late ? 2 : 1, memory, schedule);
  if (recorder) {
    recorder->keepResults();
    recorder->expectExact(recorder->at(slots));
  }
  return {slots, slots + rows};
}

TEST_F(SampleKernels, TakesTheLargest) {
  for (int64_t width : {1, 2, 255, 256, 257, 3001}) {
    SCOPED_TRACE(width);
    Sampling sampling;
    std::vector<int64_t> want;
    for (int64_t row = 0; row < 3; ++row) {
      sampling.rows.push_back(random({width}).values);
      sampling.uniform.push_back(0.9f);
      // Two that are equal: the lower one.
      auto place = static_cast<int64_t>(generator() % width);
      sampling.rows.back()[place] = 9;
      sampling.rows.back()[width - 1] = 9;
      want.push_back(place);
    }
    sampling.topK = 1;
    EXPECT_EQ(run(sampling), want);
  }
}

TEST_F(SampleKernels, FollowsTheDistribution) {
  for (int64_t width : {1, 31, 300, 2500})
    for (int64_t topK :
         {int64_t(0), int64_t(1), int64_t(5), width / 2, width}) {
      if (topK > width)
        continue;
      SCOPED_TRACE(std::to_string(width) + ", top " + std::to_string(topK));
      Sampling sampling;
      sampling.topK = topK;
      sampling.temperature = 0.7;
      sampling.room = width + 3;
      for (float uniform : {0.0f, 0.21f, 0.5f, 0.83f, 0.97f}) {
        sampling.rows.push_back(random({width}, 3).values);
        sampling.uniform.push_back(uniform);
      }
      expectRight(sampling);
    }
}

// The largest random number, by which what rounding makes of sums decides.
TEST_F(SampleKernels, FindsOneInAnyCase) {
  Sampling sampling;
  for (int row = 0; row < 4; ++row) {
    sampling.rows.push_back(random({1000}, 6).values);
    sampling.uniform.push_back(0x1.fffffep-1f);
  }
  isSharp = false;
  expectRight(sampling);
}

// Weights that are nothing beside those of the parts before; what has none
// stands first in its part.
TEST_F(SampleKernels, SeesSmallWeightsBehindLargeOnes) {
  std::vector<double> row(512, -18.42);
  row[0] = 0;
  std::fill(row.begin() + 1, row.begin() + 257, -INFINITY);
  std::vector<double> other = row;
  other[256] = -30;
  for (int64_t topK : {0, 256}) {
    Sampling sampling{{row, other}, 1, topK, {0.999999f, 0.999999f}};
    expectRight(sampling);
  }
}

TEST_F(SampleKernels, KeepsTheLowerOfEqualLogits) {
  // So many are equal that parts must count them.
  std::vector<double> row(1500, 1.0);
  row[700] = 2;
  for (int64_t topK : {1, 2, 3, 600, 1100, 1499}) {
    SCOPED_TRACE(topK);
    Sampling sampling{{row, row, row}, 1e6, topK, {0.0f, 0.5013f, 0.99999f}};
    expectRight(sampling);
    // All weights are nearly one, so the last that is kept is chosen.
    std::vector<int64_t> tokens = run(sampling);
    int64_t others = topK - 1, last = others - 1 + (others > 700);
    EXPECT_EQ(tokens[0], topK == 1 ? 700 : 0);
    EXPECT_EQ(tokens[2], std::max<int64_t>(700, last));
  }
}

TEST_F(SampleKernels, KnowsInfinitiesAndNaN) {
  std::vector<double> row = random({600}).values;
  std::vector<double> certain = row, some = row, none(600, -INFINITY),
                      broken = row;
  certain[300] = INFINITY;
  some[20] = some[599] = INFINITY;
  none[0] = none[599] = 0;
  broken[511] = broken[77] = NAN;
  Sampling sampling{{certain, some, some, none, none, broken},
                    1,
                    0,
                    {0.9f, 0.4f, 0.6f, 0.4f, 0.6f, 0.5f}};
  EXPECT_EQ(run(sampling), (std::vector<int64_t>{300, 20, 599, 0, 599, -78}));
  // The sign of zero orders nothing.
  Sampling zeros{{{-0.0, 0.0, -1}}, 1, 1, {0.5f}};
  EXPECT_EQ(run(zeros), std::vector<int64_t>{0});
  // As the processor has it.
  std::vector<double> all(300, -INFINITY);
  Sampling nothing{{all}, 1, 0, {0.5f}};
  EXPECT_EQ(run(nothing)[0], rt::chooseToken(all.data(), 300, 1, 0, 0.5));
}

TEST_F(SampleKernels, OfShorterFloats) {
  for (Type type :
       {Type(BFloat16Type::get(&context)), Type(Float16Type::get(&context))}) {
    prepare(type);
    Sampling sampling{{random({777}, 2).values, random({777}, 2).values},
                      0.8,
                      40,
                      {0.3f, 0.7f}};
    expectRight(sampling);
  }
}

TEST_F(SampleKernels, ChooseAsTheProcessorDoes) {
  Sampling sampling;
  sampling.topK = 20;
  for (int i = 0; i < 8; ++i) {
    sampling.rows.push_back(random({1000}, 4).values);
    sampling.uniform.push_back(0.11f * float(i) + 0.05f);
  }
  std::vector<int64_t> tokens = run(sampling);
  for (size_t r = 0; r < tokens.size(); ++r)
    EXPECT_EQ(tokens[r], rt::chooseToken(sampling.rows[r].data(), 1000, 1, 20,
                                         sampling.uniform[r]));
}
} // namespace
