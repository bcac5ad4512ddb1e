// Runs the kernels of a layer in the emulator, and compares.
#include "codegen/CUDA/Pipelines.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "dialects/RegisterDialects.h"
#include "mlir/IR/Verifier.h"
#include "runtime/Emulator/TensorMap.h"
#include "test/unit/codegen/LayerFixture.h"
#include "test/unit/codegen/Schedules.h"
#include <cmath>
#include <deque>

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using namespace moe::test;

Context::Context() : context(MLIRContext::Threading::DISABLED) {
  DialectRegistry registry;
  registerAllDialects(registry);
  registerInterfaces(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
}

OwningOpRef<ModuleOp> Context::kernels(const LayerShape &shape, int64_t entries,
                                       bool grouped, OnHopper onHopper) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  emitPrepare(*module, "prepare", shape, entries);
  bool isHopper = onHopper != OnHopper::No;
  int64_t mostSome = onHopper == OnHopper::Many ? 0 : HopperShape::kSomeSlots;
  auto first = [&](const char *name, const LayerShape &shape) {
    if (isHopper && hasHopperUp(shape))
      emitHopperUp(*module, name, shape, mostSome);
    else
      (grouped ? emitGroupedUp : emitDecodeUp)(*module, name, shape);
  };
  if (shape.upRank)
    first("up_low", shape.upLow());
  first("up", shape.upProduct());
  if (shape.downRank)
    first("down_low", shape.downLow());
  if (isHopper)
    emitHopperDown(*module, "down", shape.downProduct(), mostSome);
  else
    (grouped ? emitGroupedDown : emitDecodeDown)(*module, "down",
                                                 shape.downProduct());
  emitCombine(*module, "combine", shape);
  return module;
}

/// A kernel that runs in the emulator. Layers share most of theirs, so each
/// text is compiled once.
static EmulatedKernels::Entry compiled(moegpu::KernelOp kernel) {
  static auto *known =
      new std::map<std::string, std::unique_ptr<EmulatedKernels>>;
  std::string text;
  llvm::raw_string_ostream(text) << kernel;
  std::unique_ptr<EmulatedKernels> &code = (*known)[text];
  if (!code) {
    OwningOpRef<ModuleOp> alone = ModuleOp::create(kernel.getLoc());
    alone->push_back(kernel->clone());
    auto made = EmulatedKernels::compile(*alone);
    if (!made) {
      ADD_FAILURE() << llvm::toString(made.takeError());
      return nullptr;
    }
    code = std::move(*made);
  }
  return code->find(kernel.getSymName());
}

test::Device::Device(Context &context, Layer &layer, bool grouped)
    : layer(layer) {
  if (CaseRecorder::isWanted())
    recorder = std::make_unique<CaseRecorder>();
  if (layer.module)
    return;
  layer.module = context.kernels(layer.shape, layer.entries.size(), grouped,
                                 layer.onHopper);
  EXPECT_TRUE(succeeded(verify(*layer.module)));
  for (auto kernel : layer.module->getOps<moegpu::KernelOp>())
    layer.kernels[kernel.getSymName().str()] = compiled(kernel);
}

template <typename T>
T *test::Device::place(const std::vector<T> &values, const char *name) {
  T *at = room<T>(values.size(), name);
  std::copy(values.begin(), values.end(), at);
  return at;
}

template <typename T>
T *test::Device::room(int64_t count, const char *name) {
  auto at = memory.allocate(std::max<int64_t>(count, 1) * sizeof(T), name);
  if (recorder)
    recorder->buffer(*at, std::max<int64_t>(count, 1) * sizeof(T));
  return static_cast<T *>(*at);
}

void test::Device::launch(const char *name, uint32_t blocks,
                          std::vector<void *> values) {
  if (!error.empty())
    return;
  auto kernel = layer.module->lookupSymbol<moegpu::KernelOp>(name);
  ASSERT_EQ(kernel.getArgumentTypes().size(), values.size()) << name;
  std::vector<void *> arguments;
  for (auto [type, value] : llvm::zip(kernel.getArgumentTypes(), values)) {
    auto pointer = dyn_cast<LLVM::LLVMPointerType>(type);
    // Tensor maps are values.
    bool isMap = pointer && pointer.getAddressSpace() == moegpu::kTensorMap;
    arguments.push_back(isMap ? value : &value);
  }
  emu::Launch launch;
  launch.name = name;
  launch.blocks = blocks;
  launch.threads = kernel.getThreads();
  launch.sharedBytes = kernel.getShared();
  launch.entry = layer.kernels[name];
  launch.arguments = arguments.data();
  if (recorder) {
    std::vector<uint64_t> given;
    for (void *value : values)
      given.push_back(reinterpret_cast<uint64_t>(value));
    recorder->launch(name, blocks, launch.threads, launch.sharedBytes, given);
  }
  rt::Status status = emu::run(launch, memory, options, &counts);
  if (!status.ok())
    error = status.message;
}

std::vector<float> test::Device::run(const Case &test) {
  const LayerShape &s = layer.shape;
  int64_t tokens = test.x.size() / s.inputs, slots = tokens * s.topK;
  int64_t size = s.element == Element::F32 ? 4 : 2;
  void *count = reinterpret_cast<void *>(tokens);
  float *dx = place(test.x, "x"), *dw = place(test.weights, "weights");
  int32_t *did = place(test.ids, "ids");
  int32_t *table = place(layer.entries, "entries");
  const LayerShape up = s.upProduct(), down = s.downProduct();
  const LayerShape upLow = s.upLow(), downLow = s.downLow();
  auto *offsets = room<int32_t>(s.experts + 1, "offsets");
  auto *order = room<int32_t>(slots, "order");
  auto *where = room<int32_t>(slots, "place");
  auto *experts = room<int32_t>(s.experts, "active");
  auto *activeCount = room<int32_t>(1, "active count");
  auto *rounded = room<uint8_t>(tokens * s.inputRoom() * size, "rounded");
  auto *hidden = room<uint8_t>(slots * s.hiddenRoom() * size, "hidden");
  uint8_t *low = nullptr, *last = hidden, *inputs = rounded;
  if (s.upRank)
    inputs = low = room<uint8_t>(slots * upLow.paddedHidden() * size, "low");
  if (s.downRank)
    last = room<uint8_t>(slots * downLow.paddedHidden() * size, "down low");
  auto *rows = room<float>(slots * s.paddedOutputs(), "rows");
  auto *out = room<float>(tokens * s.outputs, "out");
  std::deque<emu::TensorMap> maps;
  auto matrix = [&](const Packed &packed, const char *name, int64_t matrixRows,
                    int64_t depth) -> void * {
    void *at = place(packed.values, name);
    // Codes come without a map, and portable kernels want none.
    auto kernel = layer.module->lookupSymbol<moegpu::KernelOp>(name);
    auto pointer = cast<LLVM::LLVMPointerType>(kernel.getArgumentTypes()[1]);
    if (pointer.getAddressSpace() != moegpu::kTensorMap)
      return at;
    uint64_t sizes[] = {uint64_t(depth), uint64_t(matrixRows),
                        uint64_t(s.experts)};
    uint64_t strides[] = {2 * sizes[0], 2 * sizes[0] * sizes[1]};
    uint32_t box[] = {64, uint32_t(kHopperBoxRows), 1};
    auto map = emu::encodeTensorMap(at, 2, sizes, strides, box);
    EXPECT_TRUE(static_cast<bool>(map));
    maps.push_back(*map);
    if (recorder)
      recorder->map(&maps.back(), at, sizes[2], sizes[1], sizes[0], box[1]);
    return &maps.back();
  };
  auto multiply = [&](const char *name, std::vector<void *> arguments,
                      const Packed &packed, bool isScaled) {
    if (!packed.scales.empty())
      arguments.push_back(place(packed.scales, "scales"));
    if (!packed.zeros.empty())
      arguments.push_back(place(packed.zeros, "zeros"));
    if (!packed.bias.empty())
      arguments.push_back(place(packed.bias, "bias"));
    if (isScaled)
      arguments.push_back(dw);
    launch(name, 3, arguments);
  };
  auto first = [&](const char *name, void *from, const Packed &packed,
                   const LayerShape &shape, void *to) {
    multiply(name,
             {from,
              matrix(packed, name, shape.upTiles() * 16, shape.paddedInputs()),
              order, offsets, experts, activeCount, to},
             packed, shape.scaleInput);
  };
  launch("prepare", 3,
         {did, table, count, offsets, order, where, experts, activeCount, dx,
          rounded});
  if (error.empty())
    active.assign(experts, experts + *activeCount);
  if (s.upRank)
    first("up_low", rounded, layer.packedUpLow(), upLow, low);
  first("up", inputs, layer.packedUp(), up, hidden);
  if (s.downRank)
    first("down_low", hidden, layer.packedDownLow(), downLow, last);
  Packed packed = layer.packedDown();
  multiply("down",
           {last,
            matrix(packed, "down", down.paddedOutputs(), down.paddedHidden()),
            offsets, experts, activeCount, rows},
           packed, false);
  void *isAdded = nullptr; // a number
  launch("combine", 2, {rows, where, dw, count, out, out, isAdded});
  if (recorder && error.empty()) {
    recorder->keepResults();
    // Sorting and rounding have one right result.
    for (void *exact :
         {static_cast<void *>(offsets), static_cast<void *>(order),
          static_cast<void *>(where), static_cast<void *>(experts),
          static_cast<void *>(activeCount), static_cast<void *>(rounded)})
      recorder->expectExact(recorder->at(exact));
    if (expected)
      recorder->expectNear(recorder->at(out), CaseRecorder::Element::F32,
                           expected->values, expected->allowed);
    else
      recorder->expectKinds(recorder->at(out), CaseRecorder::Element::F32);
    recorder->write(*layer.module, layer.recordedPtx,
                    layer.onHopper != OnHopper::No);
  }
  return std::vector<float>(out, out + tokens * s.outputs);
}

namespace {
/// What rounding may change. Numbers that are rounded to within u of themselves
/// are off by u / sqrt(3) at one sigma, at most; five are allowed.
struct Rounding {
  double u;
  int down, up, low; ///< how often products of each kind are rounded
};
} // namespace

static Rounding roundingOf(const LayerShape &shape, bool grouped) {
  // Both factors of all products, to 11 bits.
  if (shape.element == Element::F32 && shape.tf32 && grouped)
    return {0x1p-11, 2, 2, 2};
  // Sums of n numbers are some sqrt(n) 2^-24 off; n is up to 1100 here, and the
  // approximations of activations are within 2^-22.
  if (shape.element == Element::F32)
    return {0x1p-24 * 33, 1, 1, 1};
  // Hidden values and what low factors give, to 11 bits or 8; numbers of nf4,
  // too.
  double u = shape.element == Element::F16 ? 0x1p-11 : 0x1p-8;
  auto isNf4 = [](const std::optional<rt::CodedRows> &coded) {
    return coded && coded->coding == rt::RowCoding::Nf4;
  };
  bool isBytes = grouped && shape.hiddenBytes();
  return {u, !isBytes + (isNf4(shape.downCoded) || isNf4(shape.downLowCoded)),
          (shape.upRank != 0) + isNf4(shape.upCoded), isNf4(shape.upLowCoded)};
}

Expected test::expectedOf(const Layer &layer, const Case &test, bool grouped) {
  Reference want = layer.reference(test);
  Rounding rounding = roundingOf(layer.shape, grouped);
  std::vector<double> allowed;
  for (size_t i = 0; i < want.values.size(); ++i) {
    double variance = rounding.u * rounding.u / 3 *
                      (rounding.down * want.down[i] + rounding.up * want.up[i] +
                       rounding.low * want.low[i]);
    double sigma = std::sqrt(variance + (grouped ? want.bytes[i] : 0));
    // The result itself is an f32, of a few additions.
    double few = 0x1p-21 * (std::abs(want.values[i]) + 1e-3);
    allowed.push_back(5 * sigma + few);
  }
  return {std::move(want.values), std::move(allowed)};
}

void test::checkLayer(Context &context, Layer &layer, const Case &test,
                      bool grouped) {
  Expected want = expectedOf(layer, test, grouped);
  for (const emu::Options &schedule : schedules()) {
    SCOPED_TRACE(schedule.seed);
    test::Device device(context, layer, grouped);
    device.options = schedule;
    if (schedule.late)
      device.recorder.reset();
    device.expected = want;
    // As roughly as a GPU may, which the same has to be allowed.
    device.options.roughness = schedule.seed;
    std::vector<float> out = device.run(test);
    ASSERT_EQ(device.error, "");
    ASSERT_EQ(out.size(), want.values.size());
    for (size_t i = 0; i < out.size(); ++i)
      ASSERT_NEAR(out[i], want.values[i], want.allowed[i]) << "number " << i;
  }
}
