#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/Builders.h"
#include "passes/Analysis/CodedMatrix.h"
#include "passes/Analysis/Recipe.h"
#include "passes/MoE/Passes.h"

namespace moe {
#define GEN_PASS_DEF_DEQUANTIZEEXPERTSPASS
#include "passes/MoE/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct DequantizeExpertsPass
    : moe::impl::DequantizeExpertsPassBase<DequantizeExpertsPass> {
  using DequantizeExpertsPassBase::DequantizeExpertsPassBase;

  void runOnOperation() override {
    Builder builder(&getContext());
    Type element = llvm::StringSwitch<Type>(type)
                       .Case("f32", builder.getF32Type())
                       .Case("f16", builder.getF16Type())
                       .Case("bf16", builder.getBF16Type())
                       .Default(Type());
    if (!element) {
      getOperation().emitError("cannot store experts as '")
          << type << "', expected f32, f16 or bf16";
      return signalPassFailure();
    }
    SymbolTable symbols(getOperation());
    SymbolTableCollection collection;
    WalkResult result = getOperation().walk([&](ExpertOp expert) {
      // Only experts of these kinds have kernels.
      bool hasKernel = keepCoded && expert.getDownAttr();
      SmallVector<Attribute> up{expert.getUp()};
      if (expert.isGlu())
        up.push_back(expert.getGateAttr());
      bool keepUp = hasKernel && areReadable(expert, up, keepCoded, collection);
      bool keepDown = hasKernel && areReadable(expert, expert.getDownAttr(),
                                               keepCoded, collection);
      for (StringRef name : {"gate", "up", "down"})
        if (!(name == "down" ? keepDown : keepUp) &&
            failed(dequantize(expert, name, element, symbols)))
          return WalkResult::interrupt();
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

  /// Gives a matrix in factors, which no kernel reads as they are, a bank of
  /// its own.
  LogicalResult multiplyOut(ExpertOp expert, StringRef name,
                            FactoredAttr factored, Type element,
                            SymbolTable &symbols) {
    SliceAttr rows =
        factored.getBase() ? factored.getBase() : factored.getLeft();
    SliceAttr columns =
        factored.getBase() ? factored.getBase() : factored.getRight();
    if (!rows || !columns)
      return expert.emitOpError("has a matrix '")
             << name << "' of rows alone, whose size nothing says";
    auto columnShape = shapeOf(expert, columns, symbols);
    auto rowShape = shapeOf(expert, rows, symbols);
    if (failed(rowShape) || failed(columnShape))
      return failure();
    Type type = symbols.lookup<BankOp>(rows.getBank().getValue())
                    .getTensorType()
                    .getElementType();
    // Where kernels shall be fast, the product is stored like its factors.
    if (!keepCoded || rows.getQuant())
      type = element;
    Builder builder(expert.getContext());
    auto recipe =
        MixAttr::get(builder.getContext(), builder.getArrayAttr(factored),
                     builder.getF64ArrayAttr(1.0));
    std::string symbol = (cast<PoolOp>(expert->getParentOp()).getSymName() +
                          "_" + expert.getEntryName() + "_" + name)
                             .str();
    addPlain(
        expert, name, symbol, recipe,
        RankedTensorType::get({rowShape->front(), columnShape->back()}, type),
        symbols);
    return success();
  }

  static void addPlain(ExpertOp expert, StringRef name, StringRef symbol,
                       Attribute recipe, RankedTensorType type,
                       SymbolTable &symbols) {
    OpBuilder builder(expert->getParentOp());
    auto plain =
        BankOp::create(builder, expert.getLoc(), builder.getStringAttr(symbol),
                       StringAttr(), StringAttr(), IntegerAttr(), IntegerAttr(),
                       recipe, TypeAttr::get(type));
    plain->remove();
    auto reference = FlatSymbolRefAttr::get(
        symbols.insert(plain, Block::iterator(expert->getParentOp())));
    expert->setAttr(name, SliceAttr::get(reference));
  }

  /// Gives matrix `name` of the expert a bank of its own, where it is
  /// quantised or factored.
  LogicalResult dequantize(ExpertOp expert, StringRef name, Type element,
                           SymbolTable &symbols) {
    if (auto factored = expert->getAttrOfType<FactoredAttr>(name))
      return multiplyOut(expert, name, factored, element, symbols);
    auto slice = expert->getAttrOfType<SliceAttr>(name);
    auto quant =
        slice ? dyn_cast_or_null<QuantAttr>(slice.getQuant()) : QuantAttr();
    if (!quant)
      return success();
    auto shape = shapeOf(expert, slice, symbols);
    if (failed(shape))
      return failure();
    Builder builder(expert.getContext());
    auto recipe =
        MixAttr::get(builder.getContext(), builder.getArrayAttr(slice),
                     builder.getF64ArrayAttr(1.0));
    std::string symbol =
        (slice.getBank().getValue() + "_" + expert.getEntryName() + "_" + name)
            .str();
    addPlain(expert, name, symbol, recipe,
             RankedTensorType::get(*shape, element), symbols);
    return success();
  }
};
} // namespace
