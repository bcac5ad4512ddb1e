#include "codegen/LLVM/Passes.h"
#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

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
    module.walk([&](Operation *op) {
      if (auto ref = dyn_cast<moert::WeightRefOp>(op))
        refs.push_back(ref);
      else if (auto assertion = dyn_cast<cf::AssertOp>(op))
        asserts.push_back(assertion);
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
    for (auto [i, assertion] : llvm::enumerate(asserts))
      lowerAssert(assertion, i, module);
  }

  /// if (!condition) moert_fail(code, "%s: message", "", 0). On the run's
  /// thread moert_fail does not return; in a parallel region it does, so the
  /// code that follows must stay in bounds (see IRInterface.h).
  void lowerAssert(cf::AssertOp assertion, unsigned index, ModuleOp module) {
    OpBuilder builder(assertion);
    Location loc = assertion.getLoc();
    auto ptr = LLVM::LLVMPointerType::get(&getContext());
    Value text = LLVM::createGlobalString(
        loc, builder, "moert_message_" + std::to_string(index),
        (escape(assertion.getMsg()) + StringRef("\0", 1)).str(),
        LLVM::Linkage::Internal);
    Value empty = LLVM::createGlobalString(
        loc, builder, "moert_where_" + std::to_string(index),
        StringRef("\0", 1), LLVM::Linkage::Internal);
    auto fail = module.lookupSymbol<LLVM::LLVMFuncOp>("moert_fail");
    if (!fail) {
      OpBuilder atStart = OpBuilder::atBlockBegin(module.getBody());
      fail = LLVM::LLVMFuncOp::create(
          atStart, module.getLoc(), "moert_fail",
          LLVM::LLVMFunctionType::get(
              LLVM::LLVMVoidType::get(&getContext()),
              {builder.getI32Type(), ptr, ptr, builder.getI64Type()}));
    }
    Block *before = assertion->getBlock();
    Block *after = before->splitBlock(assertion->getNextNode());
    Block *failed = builder.createBlock(after);
    Value code =
        LLVM::ConstantOp::create(builder, loc, builder.getI32Type(),
                                 builder.getI32IntegerAttr(kModelFailed));
    Value zero = LLVM::ConstantOp::create(builder, loc, builder.getI64Type(),
                                          builder.getI64IntegerAttr(0));
    LLVM::CallOp::create(builder, loc, fail,
                         ValueRange{code, text, empty, zero});
    cf::BranchOp::create(builder, loc, after);
    builder.setInsertionPoint(assertion);
    cf::CondBranchOp::create(builder, loc, assertion.getArg(), after, failed);
    assertion.erase();
  }

  /// moert_fail reads its message as a format.
  static std::string escape(StringRef message) {
    std::string escaped;
    for (char c : message)
      escaped += c == '%' ? "%%" : std::string(1, c);
    return escaped;
  }
};
} // namespace
