#include "test/unit/codegen/OpFixture.h"
#include "codegen/CUDA/LayerShape.h"
#include "codegen/CUDA/Pipelines.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "dialects/RegisterDialects.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include <cmath>

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

uint64_t test::encode(Type type, double x) {
  auto real = dyn_cast<FloatType>(type);
  if (!real)
    return static_cast<uint64_t>(static_cast<int64_t>(x));
  llvm::APFloat value(x);
  bool lost;
  value.convert(real.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven,
                &lost);
  return value.bitcastToAPInt().getZExtValue();
}

unsigned test::widthOf(Type type) {
  return type.isIndex() ? 64 : std::max(8u, type.getIntOrFloatBitWidth());
}

double test::decode(Type type, uint64_t bits) {
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

static void expectNear(const std::vector<double> &got,
                       const std::vector<double> &want, double relative,
                       double absolute) {
  ASSERT_EQ(got.size(), want.size());
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

void test::expectNear(const Array &got, const std::vector<double> &want,
                      double relative, double absolute) {
  ::expectNear(got.values, want, relative, absolute);
  if (!got.rough.empty()) {
    SCOPED_TRACE("with approximations as rough as they may be");
    ::expectNear(got.rough, want, relative, absolute);
  }
  if (got.expected)
    got.expected(want, relative, absolute);
}
