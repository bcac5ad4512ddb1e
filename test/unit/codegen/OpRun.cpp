// Runs kernels of ops in the emulator, and records what came of it.
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "test/unit/codegen/CaseRecorder.h"
#include "test/unit/codegen/OpFixture.h"
#include "test/unit/codegen/Schedules.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace moe;
using namespace moe::test;

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

ArrayRef<BlockArgument> OpKernels::Compiled::arguments() {
  return (*module->getOps<func::FuncOp>().begin()).getArguments();
}

bool OpKernels::Compiled::approximates() {
  return kernels
      ->walk([](Operation *op) {
        return isa<moegpu::Exp2Op, moegpu::ReciprocalOp>(op)
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

/// The arguments of a function in the memory of a device.
struct OpKernels::Placed {
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
      std::memset(places[i], 0xff, std::max<size_t>(sizes[i], 1));
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
  /// The numbers of an argument.
  std::vector<double> numbers(size_t i, Type element, const Array &as) const {
    size_t bytes = widthOf(element) / 8;
    std::vector<double> made;
    for (int64_t n = 0; n < as.size(); ++n) {
      uint64_t bits = 0;
      std::memcpy(&bits, places[i] + as.place(n) * bytes, bytes);
      made.push_back(decode(element, bits));
    }
    return made;
  }
};

/// A run whose case is written when all is known that is expected of it.
struct OpKernels::Recorded {
  Compiled &compiled;
  CaseRecorder recorder;
  std::vector<size_t> buffers; ///< of the arguments in memory
  size_t faults = 0;
  bool isWritten = false;
};

OpKernels::~OpKernels() = default;

int32_t OpKernels::start(Compiled &compiled, Placed &placed,
                         const std::vector<Array> &arguments,
                         const emu::Options &schedule, Recorded *recorded) {
  const cuda::OpKernel &made = *compiled.made;
  Values values{arguments};
  auto *faults = static_cast<int32_t *>(*placed.memory.allocate(4, "faults"));
  *faults = 0;
  void *scratch = nullptr;
  size_t scratchBytes = 0;
  if (made.scratch) {
    scratchBytes = static_cast<size_t>(4 * values.of(made.scratch));
    scratchBytes = std::max<size_t>(scratchBytes, 1);
    scratch = *placed.memory.allocate(scratchBytes, "scratch");
    std::memset(scratch, 0xff, scratchBytes);
  }
  if (recorded) {
    for (size_t i = 0; i < placed.places.size(); ++i)
      recorded->buffers.push_back(
          placed.places[i]
              ? recorded->recorder.buffer(placed.places[i],
                                          std::max<size_t>(placed.sizes[i], 1))
              : 0);
    recorded->faults = recorded->recorder.buffer(faults, sizeof *faults);
    if (scratch)
      recorded->recorder.buffer(scratch, scratchBytes);
  }
  auto launchKernel = [&](const cuda::OpKernel &kernel) {
    auto code = compiled.kernels->lookupSymbol<moegpu::KernelOp>(kernel.name);
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
    launch.blocks = schedule.late ? 3 : 1;
    launch.threads = code.getThreads();
    launch.sharedBytes = code.getShared();
    launch.entry = compiled.code->find(kernel.name);
    launch.arguments = pointers.data();
    // As results do not depend on it, with a grid that has to be divided.
    if (recorded)
      recorded->recorder.launch(launch.name, 3, launch.threads,
                                launch.sharedBytes, given);
    rt::Status status = emu::run(launch, placed.memory, schedule);
    EXPECT_TRUE(status.ok()) << status.message;
  };
  auto startIfWanted = [&](const cuda::OpKernel &kernel) {
    if (!kernel.onlyIf || values.of(kernel.onlyIf))
      launchKernel(kernel);
  };
  startIfWanted(made);
  llvm::for_each(made.followers, startIfWanted);
  if (recorded)
    recorded->recorder.keepResults();
  return *faults;
}

std::vector<Array> OpKernels::run(const std::string &text,
                                  std::vector<Array> arguments) {
  finishCase();
  Compiled *compiled = compile(text);
  if (!compiled)
    return {};
  faultMessage = compiled->made->faultMessage;
  faultWhere = compiled->made->faultWhere;
  ArrayRef<BlockArgument> types = compiled->arguments();
  if (CaseRecorder::isWanted())
    recorded.reset(new Recorded{*compiled, {}, {}});
  auto take = [&](const Placed &placed, std::vector<Array> &results,
                  std::vector<double> Array::*numbers) {
    for (auto [i, argument] : llvm::enumerate(types))
      if (auto type = dyn_cast<MemRefType>(argument.getType()))
        results[i].*numbers =
            placed.numbers(i, type.getElementType(), arguments[i]);
  };
  std::vector<Array> results = arguments;
  std::vector<std::vector<uint8_t>> first;
  for (const emu::Options &schedule : schedules()) {
    SCOPED_TRACE(schedule.seed);
    Placed placed(types, arguments);
    bool isFirst = first.empty();
    fault = start(*compiled, placed, arguments, schedule,
                  isFirst ? recorded.get() : nullptr);
    if (isFirst) {
      first = placed.bytes();
      take(placed, results, &Array::values);
    }
    EXPECT_EQ(first, placed.bytes()) << "schedule " << schedule.seed;
  }
  for (Array &result : results)
    result.rough.clear(), result.expected = nullptr;
  if (compiled->approximates()) {
    Placed placed(types, arguments);
    emu::Options rough;
    rough.roughness = 1;
    start(*compiled, placed, arguments, rough, nullptr);
    take(placed, results, &Array::rough);
  }
  if (recorded)
    record(results);
  return results;
}

void OpKernels::record(std::vector<Array> &results) {
  ArrayRef<BlockArgument> types = recorded->compiled.arguments();
  // Of several faults any may be noted; none is none.
  if (fault)
    recorded->recorder.expectKinds(recorded->faults,
                                   CaseRecorder::Element::I32);
  else
    recorded->recorder.expectExact(recorded->faults);
  for (auto [i, argument] : llvm::enumerate(types)) {
    auto type = dyn_cast<MemRefType>(argument.getType());
    if (!type)
      continue;
    Type element = type.getElementType();
    std::optional<CaseRecorder::Element> real;
    if (element.isF32())
      real = CaseRecorder::Element::F32;
    else if (element.isBF16())
      real = CaseRecorder::Element::BF16;
    else if (element.isF16())
      real = CaseRecorder::Element::F16;
    size_t buffer = recorded->buffers[i];
    if (!real) {
      recorded->recorder.expectExact(buffer);
      continue;
    }
    // Until somebody says more.
    recorded->recorder.expectKinds(buffer, *real);
    results[i].expected = [recorded = recorded, buffer, real = *real,
                           as = results[i]](const std::vector<double> &want,
                                            double relative, double absolute) {
      EXPECT_FALSE(recorded->isWritten) << "of a run that another followed";
      // Between rows nothing changes: NaN.
      std::vector<double> values(as.places(), NAN), allowed(as.places());
      for (int64_t n = 0; n < as.size(); ++n) {
        values[as.place(n)] = want[n];
        allowed[as.place(n)] = relative * std::abs(want[n]) + absolute;
      }
      recorded->recorder.expectNear(buffer, real, values, allowed);
    };
  }
}

void OpKernels::finishCase() {
  if (!recorded)
    return;
  recorded->recorder.write(*recorded->compiled.kernels,
                           recorded->compiled.recordedPtx,
                           /*isHopper=*/false);
  recorded->isWritten = true;
  recorded.reset();
}

void OpKernels::expectFault(int32_t number) {
  EXPECT_EQ(fault, number);
  if (recorded)
    recorded->recorder.expectExact(recorded->faults);
}
