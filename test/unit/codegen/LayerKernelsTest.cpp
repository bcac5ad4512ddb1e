// The kernels of a MoE layer, for few tokens and for many, in the emulator,
// against the same in f64.
#include "codegen/CUDA/LayerKernels.h"
#include "codegen/CUDA/Kernels.h"
#include "codegen/CUDA/Pipelines.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "dialects/RegisterDialects.h"
#include "mlir/IR/Verifier.h"
#include "runtime/Emulator/Emulator.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ELF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <map>
#include <random>

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
uint16_t toBF16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

double fromBF16(uint16_t half) {
  uint32_t bits = uint32_t(half) << 16;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

/// A matrix of bf16 numbers.
struct Matrix {
  int64_t rows, columns;
  std::vector<uint16_t> halves;

  double at(int64_t r, int64_t c) const {
    return fromBF16(halves[r * columns + c]);
  }
};

/// A layer: entries of the pool are the experts, with null experts between.
struct Layer {
  LayerShape shape;
  std::vector<int32_t> entries; // expert of each, or -1
  std::vector<Matrix> gate, up, down;
  std::mt19937 random;
  OwningOpRef<ModuleOp> module; // the kernels
  std::unique_ptr<EmulatedKernels> kernels;

  Layer(LayerShape shape, std::vector<int32_t> entries, unsigned seed = 1)
      : shape(shape), entries(std::move(entries)), random(seed) {
    for (int64_t e = 0; e < shape.experts; ++e) {
      gate.push_back(matrix(shape.hidden, shape.inputs));
      up.push_back(matrix(shape.hidden, shape.inputs));
      down.push_back(matrix(shape.outputs, shape.hidden));
    }
  }

  Matrix matrix(int64_t rows, int64_t columns) {
    Matrix made{rows, columns, {}};
    std::normal_distribution<float> normal(0, 1 / std::sqrt(float(columns)));
    for (int64_t i = 0; i < rows * columns; ++i)
      made.halves.push_back(toBF16(normal(random)));
    return made;
  }

  /// As the kernels want them.
  std::vector<uint16_t> packedUp() const {
    int64_t width = shape.paddedInputs(), tiles = shape.upTiles();
    std::vector<uint16_t> packed(shape.experts * tiles * 16 * width);
    auto put = [&](const Matrix &from, int64_t e, int64_t neuron, int64_t row) {
      if (neuron < shape.hidden)
        std::copy_n(&from.halves[neuron * shape.inputs], shape.inputs,
                    &packed[((e * tiles * 16) + row) * width]);
    };
    for (int64_t e = 0; e < shape.experts; ++e)
      for (int64_t row = 0; row < tiles * 16; ++row) {
        int64_t tile = row / 16, within = row % 16;
        if (!shape.isGlu)
          put(up[e], e, row, row);
        else
          put(within < 8 ? gate[e] : up[e], e, tile * 8 + within % 8, row);
      }
    return packed;
  }
  std::vector<uint16_t> packedDown() const {
    int64_t width = shape.paddedHidden(), rows = shape.paddedOutputs();
    std::vector<uint16_t> packed(shape.experts * rows * width);
    for (int64_t e = 0; e < shape.experts; ++e)
      for (int64_t r = 0; r < shape.outputs; ++r)
        std::copy_n(&down[e].halves[r * shape.hidden], shape.hidden,
                    &packed[(e * rows + r) * width]);
    return packed;
  }

  double activate(double x) const {
    switch (shape.activation) {
    case cuda::Activation::Identity:
      return x;
    case cuda::Activation::Relu:
      return std::max(x, 0.0);
    case cuda::Activation::Relu2:
      return x > 0 ? x * x : 0;
    case cuda::Activation::Silu:
      return x / (1 + std::exp(-shape.alpha * x));
    case cuda::Activation::GeluTanh:
      return x / 2 *
             (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    }
    return 0;
  }

  std::vector<double> reference(const std::vector<float> &x,
                                const std::vector<int32_t> &ids,
                                const std::vector<float> &weights) const {
    int64_t tokens = x.size() / shape.inputs;
    std::vector<double> out(tokens * shape.outputs);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t c = 0; c < shape.topK; ++c) {
        int32_t id = ids[t * shape.topK + c];
        int32_t e = id < 0 || id >= int64_t(entries.size()) ? -1 : entries[id];
        if (e < 0)
          continue;
        auto product = [&](const Matrix &m, int64_t row) {
          double sum = 0;
          for (int64_t i = 0; i < shape.inputs; ++i)
            sum += m.at(row, i) * fromBF16(toBF16(x[t * shape.inputs + i]));
          return sum;
        };
        std::vector<double> hidden(shape.hidden);
        for (int64_t h = 0; h < shape.hidden; ++h) {
          double u = product(up[e], h);
          if (!shape.isGlu) {
            hidden[h] = activate(u);
            continue;
          }
          double g = product(gate[e], h);
          if (shape.limit > 0) {
            g = std::min(g, shape.limit);
            u = std::min(std::max(u, -shape.limit), shape.limit);
          }
          hidden[h] = activate(g) * (u + shape.beta);
        }
        for (int64_t o = 0; o < shape.outputs; ++o) {
          double sum = 0;
          for (int64_t h = 0; h < shape.hidden; ++h)
            sum += down[e].at(o, h) * hidden[h];
          out[t * shape.outputs + o] += weights[t * shape.topK + c] * sum;
        }
      }
    return out;
  }
};

struct Context {
  MLIRContext context;
  Context() {
    DialectRegistry registry;
    registerAllDialects(registry);
    registerInterfaces(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }
  OwningOpRef<ModuleOp> kernels(const LayerShape &shape, int64_t entries,
                                bool grouped) {
    OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
    emitSort(*module, "sort", shape, entries);
    emitRound(*module, "round", shape);
    (grouped ? emitGroupedUp : emitDecodeUp)(*module, "up", shape);
    (grouped ? emitGroupedDown : emitDecodeDown)(*module, "down", shape);
    emitCombine(*module, "combine", shape);
    return module;
  }
};

/// The layer's kernels on a device of emulated memory.
struct Device {
  Layer &layer;
  emu::Memory memory;
  emu::Options options;
  emu::Counts counts;
  std::string error;

  Device(Context &context, Layer &layer, bool grouped) : layer(layer) {
    if (layer.kernels)
      return;
    layer.module = context.kernels(layer.shape, layer.entries.size(), grouped);
    EXPECT_TRUE(succeeded(verify(*layer.module)));
    auto made = EmulatedKernels::compile(*layer.module);
    if (made)
      layer.kernels = std::move(*made);
    else
      ADD_FAILURE() << llvm::toString(made.takeError());
  }

  template <typename T>
  T *place(const std::vector<T> &values, const char *name) {
    T *at = room<T>(values.size(), name);
    std::copy(values.begin(), values.end(), at);
    return at;
  }
  template <typename T>
  T *room(int64_t count, const char *name) {
    auto at = memory.allocate(std::max<int64_t>(count, 1) * sizeof(T), name);
    return static_cast<T *>(*at);
  }

  void launch(const char *name, uint32_t blocks, std::vector<void *> values) {
    if (!error.empty())
      return;
    auto kernel = layer.module->lookupSymbol<moegpu::KernelOp>(name);
    std::vector<void *> arguments;
    for (void *&value : values)
      arguments.push_back(&value);
    emu::Launch launch;
    launch.name = name;
    launch.blocks = blocks;
    launch.threads = kernel.getThreads();
    launch.sharedBytes = kernel.getShared();
    launch.entry = layer.kernels->find(name);
    launch.arguments = arguments.data();
    rt::Status status = emu::run(launch, memory, options, &counts);
    if (!status.ok())
      error = status.message;
  }

  std::vector<float> run(const std::vector<float> &x,
                         const std::vector<int32_t> &ids,
                         const std::vector<float> &weights) {
    const LayerShape &s = layer.shape;
    int64_t tokens = x.size() / s.inputs, slots = tokens * s.topK;
    void *count = reinterpret_cast<void *>(tokens);
    float *dx = place(x, "x"), *dw = place(weights, "weights");
    int32_t *did = place(ids, "ids"), *table = place(layer.entries, "entries");
    uint16_t *up = place(layer.packedUp(), "up");
    uint16_t *down = place(layer.packedDown(), "down");
    auto *offsets = room<int32_t>(s.experts + 1, "offsets");
    auto *order = room<int32_t>(slots, "order");
    auto *where = room<int32_t>(slots, "place");
    auto *active = room<int32_t>(s.experts, "active");
    auto *activeCount = room<int32_t>(1, "active count");
    auto *rounded = room<uint16_t>(tokens * s.paddedInputs(), "rounded");
    auto *hidden = room<uint16_t>(slots * s.paddedHidden(), "hidden");
    auto *rows = room<float>(slots * s.paddedOutputs(), "rows");
    auto *out = room<float>(tokens * s.outputs, "out");
    launch("sort", 1,
           {did, table, count, offsets, order, where, active, activeCount});
    launch("round", 2, {dx, count, rounded});
    launch("up", 3, {rounded, up, order, offsets, active, activeCount, hidden});
    launch("down", 3, {hidden, down, offsets, active, activeCount, rows});
    launch("combine", 2, {rows, where, dw, count, out});
    return std::vector<float>(out, out + tokens * s.outputs);
  }
};

struct Case {
  std::vector<float> x, weights;
  std::vector<int32_t> ids;
};

Case makeCase(Layer &layer, int64_t tokens) {
  Case made;
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < tokens * layer.shape.inputs; ++i)
    made.x.push_back(normal(layer.random));
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> all(layer.entries.size());
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = i;
    std::shuffle(all.begin(), all.end(), layer.random);
    for (int64_t c = 0; c < layer.shape.topK; ++c) {
      made.ids.push_back(all[c]);
      made.weights.push_back(0.1f + 0.2f * (layer.random() % 5));
    }
  }
  return made;
}

/// The largest difference, in parts of the largest number.
double difference(const std::vector<float> &got,
                  const std::vector<double> &want) {
  double most = 0, largest = 1e-6;
  for (size_t i = 0; i < want.size(); ++i) {
    double off = std::abs(got[i] - want[i]);
    most = off <= most ? most : std::isnan(off) ? INFINITY : off;
    largest = std::max(largest, std::abs(want[i]));
  }
  return most / largest;
}

class LayerKernels : public testing::TestWithParam<bool> {
protected:
  Context context;

  void check(Layer &layer, const Case &test) {
    for (unsigned seed : {0, 1, 2}) {
      Device device(context, layer, GetParam());
      device.options.seed = seed;
      device.options.late = seed > 0;
      std::vector<float> out = device.run(test.x, test.ids, test.weights);
      ASSERT_EQ(device.error, "");
      // Hidden values are rounded to bf16: 2^-9 of each.
      EXPECT_LT(
          difference(out, layer.reference(test.x, test.ids, test.weights)),
          4e-3);
    }
  }
};

TEST_P(LayerKernels, CountsOfTokens) {
  Layer layer({8, 96, 40, 96, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  for (int64_t tokens : {0, 1, 2, 7, 33, 150})
    check(layer, makeCase(layer, tokens));
}

TEST_P(LayerKernels, AllTokensToOneExpert) {
  Layer layer({4, 64, 32, 64, 2}, {0, 1, 2, 3});
  Case test = makeCase(layer, 19);
  for (size_t i = 0; i < test.ids.size(); ++i)
    test.ids[i] = i % 2 ? 3 : 1;
  check(layer, test);
}

TEST_P(LayerKernels, NullExpertsAndAliases) {
  Layer layer({3, 64, 32, 64, 3}, {-1, 0, 1, -1, 2, 1});
  check(layer, makeCase(layer, 9));
  // Skipped slots, and tokens without any expert.
  Case test = makeCase(layer, 9);
  for (size_t i = 0; i < test.ids.size(); ++i)
    if (i < 6 || i % 4 == 0)
      test.ids[i] = i % 2 ? -1 : 0;
  check(layer, test);
}

TEST_P(LayerKernels, OddSizes) {
  Layer layer({5, 37, 19, 50, 2}, {0, 1, 2, 3, 4});
  check(layer, makeCase(layer, 6));
  Layer wide({40, 1100, 24, 20, 4}, [] {
    std::vector<int32_t> entries;
    for (int32_t e = 0; e < 40; ++e)
      entries.push_back(39 - e);
    return entries;
  }());
  check(wide, makeCase(wide, 5));
}

TEST_P(LayerKernels, Activations) {
  for (cuda::Activation activation :
       {cuda::Activation::Identity, cuda::Activation::Relu,
        cuda::Activation::Relu2, cuda::Activation::Silu,
        cuda::Activation::GeluTanh})
    for (bool isGlu : {false, true}) {
      Layer layer({3, 64, 24, 32, 2, isGlu, activation}, {0, 1, 2});
      check(layer, makeCase(layer, 4));
    }
  // gpt-oss.
  Layer layer({3, 64, 24, 32, 2, true, cuda::Activation::Silu, 1.702, 1, 0.7},
              {0, 1, 2});
  check(layer, makeCase(layer, 4));
}

/// Nothing shares a bank of shared memory; with few tokens weights are read in
/// whole sectors, and once.
TEST_P(LayerKernels, MovesNoMoreThanItMust) {
  Layer layer({4, 512, 64, 512, 2}, {0, 1, 2, 3});
  Case test = makeCase(layer, GetParam() ? 40 : 1);
  Device device(context, layer, GetParam());
  device.options.count = true;
  device.run(test.x, test.ids, test.weights);
  ASSERT_EQ(device.error, "");
  // Two experts of the token.
  uint64_t weights = 2 * (2 * 64 * 512 + 512 * 64) * 2, found = 0, shared = 0;
  for (const emu::SiteCounts &site : device.counts.sites) {
    EXPECT_EQ(site.bankConflicts, 0u) << site.site;
    shared += site.shared.requests;
    if (site.site.find("streaming") == std::string::npos)
      continue;
    EXPECT_EQ(site.sectors * 32, site.global.bytesRead) << site.site;
    found += site.global.bytesRead;
  }
  EXPECT_GT(shared, 0u);
  EXPECT_EQ(found, GetParam() ? 0 : weights);
}

#ifdef MOE_PTXAS
/// What the assembler says of `text`; makes `cubin`.
std::string assemble(const std::string &text, const std::string &arch,
                     std::string &cubin) {
  llvm::SmallString<128> source, object, report;
  auto name = [](const char *suffix, llvm::SmallString<128> &path) {
    ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("kernels", suffix, path));
  };
  name("ptx", source), name("cubin", object), name("txt", report);
  std::error_code error;
  llvm::raw_fd_ostream(source, error) << text;
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(report),
                                          StringRef(report)};
  int code = llvm::sys::ExecuteAndWait(
      MOE_PTXAS,
      {MOE_PTXAS, "-v", "-O3", "-arch=" + arch, source, "-o", object},
      std::nullopt, redirects);
  auto read = [](StringRef path) {
    auto file = llvm::MemoryBuffer::getFile(path);
    return file ? (*file)->getBuffer().str() : std::string();
  };
  std::string said = read(report);
  cubin = read(object);
  for (StringRef path :
       {StringRef(source), StringRef(object), StringRef(report)})
    llvm::sys::fs::remove(path);
  EXPECT_EQ(code, 0) << said;
  return said;
}

/// Instructions of a kernel by operation, the low 9 bits of 128.
std::map<unsigned, int> operations(const std::string &cubin, StringRef kernel) {
  std::map<unsigned, int> found;
  auto object = llvm::object::ELF64LEFile::create(cubin);
  if (!object)
    return llvm::consumeError(object.takeError()), found;
  for (const auto &section : llvm::cantFail(object->sections())) {
    if (llvm::cantFail(object->getSectionName(section)) !=
        (".text." + kernel).str())
      continue;
    auto bytes = llvm::cantFail(object->getSectionContents(section));
    for (size_t i = 0; i + 16 <= bytes.size(); i += 16)
      ++found[bytes[i] | (bytes[i + 1] & 1) << 8];
  }
  return found;
}

TEST_P(LayerKernels, Assembles) {
  constexpr unsigned kMma = 0x03c;
  for (LayerShape shape :
       {LayerShape{8, 4096, 14336, 4096, 2},
        LayerShape{128, 2048, 768, 2048, 8},
        LayerShape{32, 2880, 2880, 2880, 4, true, cuda::Activation::Silu, 1.702,
                   1, 7},
        LayerShape{5, 37, 19, 50, 2, false, cuda::Activation::GeluTanh}}) {
    OwningOpRef<ModuleOp> module =
        context.kernels(shape, shape.experts, GetParam());
    for (const char *arch : {"sm_80", "sm_90a"}) {
      auto text = emitPtx(*module, arch);
      ASSERT_TRUE(static_cast<bool>(text));
      std::string cubin, said = assemble(*text, arch, cubin);
      for (StringRef line : llvm::split(StringRef(said), '\n'))
        if (line.contains("spill")) {
          EXPECT_TRUE(
              line.contains("0 bytes spill stores, 0 bytes spill loads"))
              << line.str();
        }
      EXPECT_EQ(said.find("C75"), std::string::npos) << said;
      EXPECT_EQ(said.find("warning"), std::string::npos) << said;
      EXPECT_GT(operations(cubin, "up")[kMma], 0);
      EXPECT_GT(operations(cubin, "down")[kMma], 0);
    }
  }
}
#else
TEST_P(LayerKernels, Assembles) { GTEST_SKIP() << "ptxas is not installed"; }
#endif

TEST_P(LayerKernels, Ptx) {
  Layer layer({8, 2048, 768, 2048, 8}, {0, 1, 2, 3, 4, 5, 6, 7});
  OwningOpRef<ModuleOp> module = context.kernels(layer.shape, 8, GetParam());
  for (const char *arch : {"sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120"}) {
    auto text = emitPtx(*module, arch);
    ASSERT_TRUE(static_cast<bool>(text)) << llvm::toString(text.takeError());
    EXPECT_NE(text->find(std::string(".target ") + arch), std::string::npos);
    EXPECT_NE(text->find(".visible .entry up("), std::string::npos);
    EXPECT_NE(text->find("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"),
              std::string::npos);
    EXPECT_NE(text->find(GetParam()
                             ? "cp.async.cg.shared.global"
                             : "ld.global.nc.L1::no_allocate.L2::128B.v4.b32"),
              std::string::npos);
  }
  auto old = emitPtx(*module, "sm_75");
  ASSERT_FALSE(static_cast<bool>(old));
  llvm::consumeError(old.takeError());
  auto unknown = emitPtx(*module, "sm_1");
  ASSERT_FALSE(static_cast<bool>(unknown));
  EXPECT_NE(llvm::toString(unknown.takeError())
                .find("unknown GPU architecture 'sm_1'"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(, LayerKernels, testing::Bool(),
                         [](const testing::TestParamInfo<bool> &info) {
                           return info.param ? "Grouped" : "Decode";
                         });
} // namespace
