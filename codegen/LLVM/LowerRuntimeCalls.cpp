#include "codegen/LLVM/Passes.h"
#include "codegen/LLVM/RuntimeCalls.h"
#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "runtime/IRInterface.h"
#include <cstddef>

namespace moe {
#define GEN_PASS_DEF_LOWERRUNTIMECALLSPASS
#include "codegen/LLVM/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// MOE_MODEL_FAILED of moe_runtime.h: the model refuses its data.
constexpr int32_t kModelFailed = 7;

struct LowerRuntimeCallsPass
    : moe::impl::LowerRuntimeCallsPassBase<LowerRuntimeCallsPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
    SmallVector<moert::WeightRefOp> refs;
    SmallVector<cf::AssertOp> asserts;
    SmallVector<moert::CheckOp> checks;
    SmallVector<moert::ObserveOp> observed;
    SmallVector<moert::PhaseOp> phases;
    module.walk([&](Operation *op) {
      if (auto ref = dyn_cast<moert::WeightRefOp>(op))
        refs.push_back(ref);
      else if (auto assertion = dyn_cast<cf::AssertOp>(op))
        asserts.push_back(assertion);
      else if (auto check = dyn_cast<moert::CheckOp>(op))
        checks.push_back(check);
      else if (auto observe = dyn_cast<moert::ObserveOp>(op))
        observed.push_back(observe);
      else if (auto phase = dyn_cast<moert::PhaseOp>(op))
        phases.push_back(phase);
    });
    auto ptr = LLVM::LLVMPointerType::get(&getContext());
    // The descriptor's weights_slot points here; the runtime fills it.
    if (!module.lookupSymbol("moert_weights_base"))
      LLVM::GlobalOp::create(builder, module.getLoc(), ptr,
                             /*isConstant=*/false, LLVM::Linkage::Internal,
                             "moert_weights_base", builder.getZeroAttr(ptr));
    LLVMTypeConverter types(&getContext());
    SymbolTable symbols(module);
    for (moert::WeightRefOp ref : refs) {
      auto bank = symbols.lookup<BankOp>(ref.getBank());
      auto place =
          bank ? bank->getAttrOfType<IntegerAttr>("moe.place") : IntegerAttr();
      if (!place) {
        ref.emitOpError("reads a bank that has no place in the weights");
        return signalPassFailure();
      }
      builder.setInsertionPoint(ref);
      Location loc = ref.getLoc();
      Value slot =
          LLVM::AddressOfOp::create(builder, loc, ptr, "moert_weights_base");
      Value base = LLVM::LoadOp::create(builder, loc, ptr, slot);
      Value data = LLVM::GEPOp::create(
          builder, loc, ptr, builder.getI8Type(), base,
          ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(LLVM::ConstantOp::create(
              builder, loc, builder.getI64Type(), place))});
      auto type = cast<MemRefType>(ref.getResult().getType());
      Value descriptor =
          MemRefDescriptor::fromStaticShape(builder, loc, types, type, data);
      Value memory =
          UnrealizedConversionCastOp::create(builder, loc, type, descriptor)
              .getResult(0);
      ref.replaceAllUsesWith(memory);
      ref.erase();
    }
    for (cf::AssertOp assertion : asserts)
      lowerCheck(assertion, assertion.getArg(), escape(assertion.getMsg()), "",
                 Value(), module);
    for (moert::CheckOp check : checks)
      lowerCheck(check, check.getCondition(), check.getMessage(),
                 check.getWhere().value_or(""), check.getValue(), module);
    for (moert::ObserveOp observe : observed)
      if (failed(lowerObserve(observe, module)))
        return signalPassFailure();
    for (moert::PhaseOp phase : phases)
      lowerPhase(phase, module);
    lowerCaches(module);
    lowerDeviceCalls(module);
  }

  Value string(OpBuilder &builder, Location loc, const Twine &name,
               StringRef text) {
    return LLVM::createGlobalString(loc, builder, name.str(),
                                    (text + StringRef("\0", 1)).str(),
                                    LLVM::Linkage::Internal);
  }

  /// A call of moert_measure with a moert_tensor of each value.
  LogicalResult lowerObserve(moert::ObserveOp observe, ModuleOp module) {
    OpBuilder builder(observe);
    Location loc = observe.getLoc();
    Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
    auto ptr = LLVM::LLVMPointerType::get(&getContext());
    auto constant = [&](Type type, int64_t value) -> Value {
      return LLVM::ConstantOp::create(builder, loc, type,
                                      builder.getIntegerAttr(type, value));
    };
    auto integer = [&](Value index) -> Value {
      return arith::IndexCastOp::create(builder, loc, i64, index);
    };
    OpBuilder atStart = atFunctionStart(observe);
    Value words = LLVM::ConstantOp::create(
        atStart, loc, i64,
        atStart.getI64IntegerAttr(sizeof(moert_tensor) / sizeof(int64_t) *
                                  observe.getValues().size()));
    Value tensors = LLVM::AllocaOp::create(atStart, loc, ptr, i64, words);
    for (auto [i, value] : llvm::enumerate(observe.getValues())) {
      auto type = cast<MemRefType>(value.getType());
      FailureOr<int32_t> element = elementType(type.getElementType());
      if (!type.getLayout().isIdentity() || failed(element) ||
          type.getRank() > MOERT_MAX_RANK)
        return observe.emitOpError("needs dense i32 or floats, not ") << type;
      auto store = [&](Value what, size_t at) {
        Value place =
            LLVM::GEPOp::create(builder, loc, ptr, builder.getI8Type(), tensors,
                                ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(
                                    i * sizeof(moert_tensor) + at)});
        LLVM::StoreOp::create(builder, loc, what, place);
      };
      store(addressOfMemory(builder, loc, value), offsetof(moert_tensor, data));
      store(constant(i32, *element), offsetof(moert_tensor, dtype));
      store(constant(i32, type.getRank()), offsetof(moert_tensor, rank));
      for (int64_t d = 0; d < type.getRank(); ++d)
        store(integer(memref::DimOp::create(builder, loc, value, d)),
              offsetof(moert_tensor, shape) + d * sizeof(int64_t));
    }
    Value layer = string(builder, loc, "moert_layer_" + Twine(strings++),
                         observe.getLayer());
    LLVM::CallOp::create(
        builder, loc,
        declareRuntime(module, "moert_measure", {ptr, i32, i32, i64, ptr, i32}),
        ValueRange{layer,
                   constant(i32, static_cast<int32_t>(observe.getMeasure())),
                   constant(i32, static_cast<int32_t>(observe.getScore())),
                   constant(i64, observe.getExperts()), tensors,
                   constant(i32, observe.getValues().size())});
    observe.erase();
    return success();
  }

  /// The number of an element type in a moert_tensor.
  static FailureOr<int32_t> elementType(Type type) {
    if (type.isInteger(32))
      return MOERT_I32;
    if (type.isF32())
      return MOERT_F32;
    if (type.isF64())
      return MOERT_F64;
    if (type.isF16())
      return MOERT_F16;
    if (type.isBF16())
      return MOERT_BF16;
    return failure();
  }

  void lowerPhase(moert::PhaseOp phase, ModuleOp module) {
    OpBuilder builder(phase);
    Location loc = phase.getLoc();
    auto ptr = LLVM::LLVMPointerType::get(&getContext());
    if (phase.getName())
      LLVM::CallOp::create(
          builder, loc, declareRuntime(module, "moert_phase_begin", {ptr}),
          string(builder, loc, "moert_phase_" + Twine(strings++),
                 *phase.getName()));
    else
      LLVM::CallOp::create(builder, loc,
                           declareRuntime(module, "moert_phase_end", {}),
                           ValueRange());
    phase.erase();
  }

  /// if (!condition) moert_fail(code, message, where, value), for `op`. On the
  /// run's thread moert_fail does not return; in a parallel region it does, so
  /// the code that follows must stay in bounds (see IRInterface.h).
  void lowerCheck(Operation *op, Value condition, StringRef message,
                  StringRef where, Value value, ModuleOp module) {
    OpBuilder builder(op);
    Location loc = op->getLoc();
    auto ptr = LLVM::LLVMPointerType::get(&getContext());
    Type i64 = builder.getI64Type();
    auto fail = declareRuntime(module, "moert_fail",
                               {builder.getI32Type(), ptr, ptr, i64});
    Block *before = op->getBlock();
    Block *after = before->splitBlock(op->getNextNode());
    Block *failed = builder.createBlock(after);
    unsigned index = messages++;
    Value text = string(builder, loc, "moert_message_" + Twine(index), message);
    Value place = string(builder, loc, "moert_where_" + Twine(index), where);
    Value code =
        LLVM::ConstantOp::create(builder, loc, builder.getI32Type(),
                                 builder.getI32IntegerAttr(kModelFailed));
    Value number =
        value ? arith::IndexCastOp::create(builder, loc, i64, value).getResult()
              : LLVM::ConstantOp::create(builder, loc, i64,
                                         builder.getI64IntegerAttr(0))
                    .getResult();
    LLVM::CallOp::create(builder, loc, fail,
                         ValueRange{code, text, place, number});
    cf::BranchOp::create(builder, loc, after);
    builder.setInsertionPoint(op);
    cf::CondBranchOp::create(builder, loc, condition, after, failed);
    op->erase();
  }

  unsigned strings = 0, messages = 0;

  /// moert_fail reads its message as a format.
  static std::string escape(StringRef message) {
    std::string escaped;
    for (char c : message)
      escaped += c == '%' ? "%%" : std::string(1, c);
    return escaped;
  }
};
} // namespace
