#include "dialects/Onnx/OnnxOps.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Storage.h"
#include "llvm/ADT/MapVector.h"

namespace moe {
#define GEN_PASS_DEF_QUANTIZEDENSEPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct QuantizeDensePass : moe::impl::QuantizeDensePassBase<QuantizeDensePass> {
  using QuantizeDensePassBase::QuantizeDensePassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto storage = storageOf(&getContext(), type, 0, false);
    if (!storage || !storage->plain)
      return emitError(module.getLoc(),
                       "quantize-dense: type is bf16 or f16, not '")
             << type << "'";
    if (failed(beginStep(module, "quantize-dense", Stage::Quantize)))
      return failure();
    llvm::MapVector<BankOp, SmallVector<WeightOp>> matrices;
    SymbolTable symbols(module);
    module.walk([&](WeightOp weight) {
      auto own = dyn_cast<RankedTensorType>(weight.getType());
      if (own && own.getRank() == 2 && own.getElementType().isF32() &&
          isMultiplied(weight))
        matrices[symbols.lookup<BankOp>(weight.getBank())].push_back(weight);
    });
    for (auto &[bank, weights] : matrices)
      store(bank, weights, storage->plain, symbols);
    eraseUnusedBanks(module);
    return success();
  }

  /// Is the weight a matrix that rows are multiplied by, or a table that rows
  /// are taken of, and nothing else? Both widen it number by number.
  static bool isMultiplied(WeightOp weight) {
    return !weight->use_empty() &&
           llvm::all_of(weight->getUses(), [](OpOperand &use) {
             auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
             if (!node)
               return false;
             unsigned at = use.getOperandNumber();
             return at == 0 ? node.is("Gather")
                            : at == 1 && (node.is("MatMul") || node.is("Gemm"));
           });
  }

  void store(BankOp bank, ArrayRef<WeightOp> weights, FloatType element,
             SymbolTable &symbols) {
    Builder attributes(&getContext());
    RankedTensorType old = bank.getTensorType();
    auto narrow = RankedTensorType::get(old.getShape(), element);
    auto recipe =
        MixAttr::get(&getContext(), attributes.getArrayAttr({wholeOf(bank)}),
                     attributes.getF64ArrayAttr(1.0));
    BankOp stored =
        addBank(bank, symbols, bank.getSymName() + "." + type, recipe, narrow);
    for (WeightOp weight : weights) {
      OpBuilder builder(weight);
      Location loc = weight.getLoc();
      Value numbers =
          WeightOp::create(builder, loc, narrow,
                           FlatSymbolRefAttr::get(stored.getSymNameAttr()));
      // 1 is FLOAT in TensorProto.DataType.
      auto to = builder.getNamedAttr("to", builder.getI64IntegerAttr(1));
      auto cast = onnx::NodeOp::create(
          builder, loc, TypeRange{old}, builder.getStringAttr("Cast"),
          builder.getStringAttr(""), builder.getI64IntegerAttr(13),
          ValueRange{numbers}, builder.getDictionaryAttr(to), 0);
      weight.replaceAllUsesWith(cast.getResult(0));
      weight.erase();
    }
  }
};
} // namespace
