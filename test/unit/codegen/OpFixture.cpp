#include "test/unit/codegen/OpFixture.h"
#include "codegen/CUDA/LayerShape.h"
#include "codegen/CUDA/Pipelines.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "dialects/RegisterDialects.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "runtime/Emulator/Emulator.h"
#include "test/unit/codegen/Schedules.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace moe;
using namespace moe::test;

Array::Array(std::vector<int64_t> shape, std::function<double(int64_t)> value)
    : shape(std::move(shape)) {
  values.resize(size());
  for (int64_t i = 0; i < size(); ++i)
    values[i] = value(i);
}

int64_t Array::size() const {
  int64_t product = 1;
  for (int64_t n : shape)
    product *= n;
  return product;
}

double &Array::at(std::initializer_list<int64_t> indices) {
  int64_t place = 0, d = 0;
  for (int64_t i : indices)
    place = place * shape[d++] + i;
  return values[place];
}

int64_t Array::stride(size_t d) const {
  int64_t product = 1;
  for (size_t after = d + 1; after < shape.size(); ++after)
    product *= room.empty() ? shape[after] : room[after];
  return product;
}

int64_t Array::place(int64_t i) const {
  int64_t at = 0;
  for (size_t d = shape.size(); d-- > 0; i /= shape[d])
    at += i % shape[d] * stride(d);
  return at;
}

/// The bits of a number as memory holds it.
static uint64_t encode(Type type, double x) {
  auto real = dyn_cast<FloatType>(type);
  if (!real)
    return static_cast<uint64_t>(static_cast<int64_t>(x));
  llvm::APFloat value(x);
  bool lost;
  value.convert(real.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven,
                &lost);
  return value.bitcastToAPInt().getZExtValue();
}

static unsigned widthOf(Type type) {
  return type.isIndex() ? 64 : std::max(8u, type.getIntOrFloatBitWidth());
}

static double decode(Type type, uint64_t bits) {
  unsigned width = widthOf(type);
  if (auto real = dyn_cast<FloatType>(type)) {
    llvm::APFloat value(real.getFloatSemantics(), llvm::APInt(width, bits));
    bool lost;
    value.convert(llvm::APFloat::IEEEdouble(),
                  llvm::APFloat::rmNearestTiesToEven, &lost);
    return value.convertToDouble();
  }
  return static_cast<double>(llvm::APInt(width, bits).getSExtValue());
}

double test::roundedTo(Type type, double x) {
  return decode(type, encode(type, x));
}

OpKernels::OpKernels() : context(MLIRContext::Threading::DISABLED) {
  DialectRegistry registry;
  registerAllDialects(registry);
  cuda::registerInterfaces(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
}

Array OpKernels::random(std::vector<int64_t> shape, double scale) {
  std::normal_distribution<double> normal(0, scale);
  return Array(std::move(shape), [&](int64_t) { return normal(generator); });
}

Operation *OpKernels::parse(const std::string &text,
                            OwningOpRef<ModuleOp> &module) {
  module = parseSourceString<ModuleOp>(text, &context);
  if (!module) {
    ADD_FAILURE() << "cannot be parsed: " << text;
    return nullptr;
  }
  auto function = *module->getOps<func::FuncOp>().begin();
  return function.getBody().front().getTerminator()->getPrevNode();
}

std::string OpKernels::refusal(const std::string &text) {
  OwningOpRef<ModuleOp> module;
  Operation *op = parse(text, module);
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder host(&context);
  StringRef why;
  auto count = [&] {
    return std::distance(op->getBlock()->begin(), op->getBlock()->end());
  };
  auto before = count();
  EXPECT_FALSE(cuda::kernelOf(op, host, *kernels, false, why));
  EXPECT_TRUE(kernels->getBody()->empty());
  EXPECT_EQ(count(), before) << "ops were left behind";
  return why.str();
}

OwningOpRef<ModuleOp> OpKernels::kernels(const std::string &text) {
  auto module = parseSourceString<ModuleOp>(text, &context);
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder host(&context);
  for (auto function : module->getOps<func::FuncOp>()) {
    StringRef why;
    EXPECT_TRUE(cuda::kernelOf(
        function.getBody().front().getTerminator()->getPrevNode(), host,
        *kernels, mayRound, why))
        << why.str();
  }
  return kernels;
}

namespace {
/// What the arguments of a function are, and what follows from them.
struct Values {
  const std::vector<Array> &arguments;

  /// Of arithmetic on what is not negative.
  std::optional<int64_t> computed(Operation *def) const {
    auto x = [&](unsigned i) -> int64_t { return of(def->getOperand(i)); };
    if (auto constant = dyn_cast<arith::ConstantOp>(def))
      return cast<IntegerAttr>(constant.getValue()).getValue().getSExtValue();
    if (isa<arith::MulIOp>(def))
      return x(0) * x(1);
    if (isa<arith::CeilDivUIOp>(def))
      return llvm::divideCeil(x(0), x(1));
    if (isa<arith::MaxUIOp>(def))
      return std::max(x(0), x(1));
    if (isa<arith::AndIOp>(def))
      return x(0) & x(1);
    if (isa<arith::OrIOp>(def))
      return x(0) | x(1);
    if (isa<arith::SelectOp>(def))
      return x(0) ? x(1) : x(2);
    if (auto compare = dyn_cast<arith::CmpIOp>(def))
      return arith::applyCmpPredicate(
          compare.getPredicate(), llvm::APInt(64, x(0)), llvm::APInt(64, x(1)));
    return std::nullopt;
  }

  double of(Value value) const {
    if (auto argument = dyn_cast<BlockArgument>(value))
      return arguments[argument.getArgNumber()][0];
    Operation *def = value.getDefiningOp();
    if (auto dim = dyn_cast<memref::DimOp>(def)) {
      auto source = cast<BlockArgument>(dim.getSource());
      return arguments[source.getArgNumber()].shape[*dim.getConstantIndex()];
    }
    if (isa<arith::ExtUIOp, arith::ExtFOp>(def))
      return of(def->getOperand(0));
    if (auto facts = dyn_cast<memref::ExtractStridedMetadataOp>(def)) {
      auto source = cast<BlockArgument>(facts.getSource());
      for (auto [d, stride] : llvm::enumerate(facts.getStrides()))
        if (stride == value)
          return arguments[source.getArgNumber()].stride(d);
    }
    if (std::optional<int64_t> number = computed(def))
      return static_cast<double>(*number);
    ADD_FAILURE() << "unexpected " << def->getName().getStringRef().str();
    return 0;
  }
};
} // namespace

/// An op and its kernel.
struct OpKernels::Compiled {
  OwningOpRef<ModuleOp> module, kernels;
  std::optional<cuda::OpKernel> made;
  std::unique_ptr<cuda::EmulatedKernels> code;
};

OpKernels::~OpKernels() = default;

OpKernels::Compiled *OpKernels::compile(const std::string &text) {
  std::unique_ptr<Compiled> &known = compiled[{text, mayRound}];
  if (known)
    return known.get();
  auto made = std::make_unique<Compiled>();
  Operation *op = parse(text, made->module);
  if (!op)
    return nullptr;
  made->kernels = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder host(&context);
  StringRef why;
  made->made = cuda::kernelOf(op, host, *made->kernels, mayRound, why);
  EXPECT_TRUE(made->made.has_value()) << why.str();
  if (!made->made)
    return nullptr;
  EXPECT_TRUE(succeeded(verify(*made->kernels)) &&
              succeeded(verify(*made->module)));
  // Asked again it is the same.
  auto again = cuda::kernelOf(op, host, *made->kernels, mayRound, why);
  EXPECT_TRUE(again && again->name == made->made->name);
  EXPECT_EQ(made->kernels->getBody()->getOperations().size(),
            1 + made->made->followers.size());
  auto code = cuda::EmulatedKernels::compile(*made->kernels);
  if (!code) {
    ADD_FAILURE() << llvm::toString(code.takeError());
    return nullptr;
  }
  made->code = std::move(*code);
  for (auto kernel : made->kernels->getOps<moegpu::KernelOp>())
    EXPECT_EQ(kernel.getThreads(), uint32_t(cuda::kLayerThreads));
  known = std::move(made);
  return known.get();
}

namespace {
/// The arguments of a function in the memory of a device.
struct Placed {
  emu::Memory memory;
  std::vector<uint8_t *> places;
  std::vector<size_t> sizes;

  Placed(ArrayRef<BlockArgument> types, const std::vector<Array> &arguments)
      : places(types.size()), sizes(types.size()) {
    for (auto [i, argument] : llvm::enumerate(arguments)) {
      auto type = dyn_cast<MemRefType>(types[i].getType());
      if (!type)
        continue;
      size_t bytes = widthOf(type.getElementType()) / 8;
      sizes[i] = argument.places() * bytes;
      places[i] = static_cast<uint8_t *>(
          *memory.allocate(std::max<size_t>(sizes[i], 1), "argument"));
      // Between rows lies what nobody may count on: NaN.
      std::memset(places[i], 0xff, sizes[i]);
      for (int64_t n = 0; n < argument.size(); ++n) {
        uint64_t bits = encode(type.getElementType(), argument[n]);
        std::memcpy(places[i] + argument.place(n) * bytes, &bits, bytes);
      }
    }
  }
  std::vector<std::vector<uint8_t>> bytes() const {
    std::vector<std::vector<uint8_t>> all;
    for (size_t i = 0; i < places.size(); ++i)
      all.emplace_back(places[i], places[i] + sizes[i]);
    return all;
  }
};
} // namespace

std::vector<Array> OpKernels::run(const std::string &text,
                                  std::vector<Array> arguments) {
  Compiled *compiled = compile(text);
  if (!compiled)
    return {};
  const cuda::OpKernel &made = *compiled->made;
  faultMessage = made.faultMessage, faultWhere = made.faultWhere;
  auto function = *compiled->module->getOps<func::FuncOp>().begin();
  ArrayRef<BlockArgument> types = function.getArguments();
  std::vector<std::vector<uint8_t>> first;
  for (const emu::Options &schedule : schedules()) {
    uint32_t blocks = schedule.late ? 3 : 1;
    SCOPED_TRACE(schedule.seed);
    Placed placed(types, arguments);
    Values values{arguments};
    auto *faults = static_cast<int32_t *>(*placed.memory.allocate(4, "faults"));
    *faults = 0;
    void *scratch = nullptr;
    if (made.scratch) {
      auto bytes = static_cast<size_t>(4 * values.of(made.scratch));
      scratch = *placed.memory.allocate(std::max<size_t>(bytes, 1), "scratch");
      std::memset(scratch, 0xff, bytes);
    }
    auto start = [&](const cuda::OpKernel &kernel) {
      auto code =
          compiled->kernels->lookupSymbol<moegpu::KernelOp>(kernel.name);
      std::vector<uint64_t> given;
      for (Value value : kernel.memories)
        given.push_back(reinterpret_cast<uint64_t>(
            value ? placed.places[cast<BlockArgument>(value).getArgNumber()]
                  : scratch));
      if (kernel.takesFaults)
        given.push_back(reinterpret_cast<uint64_t>(faults));
      for (Value value : kernel.numbers)
        given.push_back(encode(value.getType(), values.of(value)));
      EXPECT_EQ(given.size(), code.getArgumentTypes().size());
      std::vector<void *> pointers;
      for (uint64_t &value : given)
        pointers.push_back(&value);
      emu::Launch launch;
      launch.name = kernel.name.c_str();
      launch.blocks = blocks;
      launch.threads = code.getThreads();
      launch.sharedBytes = code.getShared();
      launch.entry = compiled->code->find(kernel.name);
      launch.arguments = pointers.data();
      rt::Status status = emu::run(launch, placed.memory, schedule);
      EXPECT_TRUE(status.ok()) << status.message;
    };
    auto startIfWanted = [&](const cuda::OpKernel &kernel) {
      if (!kernel.onlyIf || values.of(kernel.onlyIf))
        start(kernel);
    };
    startIfWanted(made);
    llvm::for_each(made.followers, startIfWanted);
    fault = *faults;
    if (first.empty())
      first = placed.bytes();
    EXPECT_EQ(first, placed.bytes()) << "blocks " << blocks;
  }
  for (auto [i, argument] : llvm::enumerate(types)) {
    auto type = dyn_cast<MemRefType>(argument.getType());
    if (!type)
      continue;
    size_t bytes = widthOf(type.getElementType()) / 8;
    for (int64_t n = 0; n < arguments[i].size(); ++n) {
      uint64_t bits = 0;
      std::memcpy(&bits, first[i].data() + arguments[i].place(n) * bytes,
                  bytes);
      arguments[i].values[n] = decode(type.getElementType(), bits);
    }
  }
  return arguments;
}

void test::expectNear(const Array &got, const std::vector<double> &want,
                      double relative, double absolute) {
  ASSERT_EQ(got.values.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i]) || std::isinf(want[i])) {
      ASSERT_TRUE(std::isnan(want[i]) ? std::isnan(got[i]) : got[i] == want[i])
          << "number " << i << ": " << got[i] << ", not " << want[i];
      continue;
    }
    ASSERT_NEAR(got[i], want[i], relative * std::abs(want[i]) + absolute)
        << "number " << i;
  }
}
