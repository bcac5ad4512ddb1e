// Weights of integers narrower than a byte. Archives pack them, code reads one
// element per byte: it gets banks that recipes unpack.
#include "dialects/MoE/MoEOps.h"
#include "passes/Convert/OnnxLowering.h"

using namespace mlir;
using namespace moe;

/// A bank of the same bytes as a matrix: recipes know no more dimensions.
static BankOp asMatrix(BankOp bank, SymbolTable &symbols) {
  RankedTensorType type = bank.getTensorType();
  if (type.getRank() <= 2)
    return bank;
  int64_t columns = type.getShape().back();
  int64_t rows = type.getNumElements() / std::max<int64_t>(columns, 1);
  RankedTensorType matrix = type.clone({rows, columns});
  auto numbers = dyn_cast_or_null<DenseElementsAttr>(bank.getRecipeAttr());
  if (bank.getRecipe() && !numbers) {
    emitError(bank->getParentOp()->getLoc(), "weight '")
        << bank.getSymName() << "' of type " << type
        << " is made by a recipe and cannot be unpacked";
    return {};
  }
  auto copy = cast<BankOp>(bank->clone());
  copy.setType(matrix);
  if (numbers)
    copy.setRecipeAttr(numbers.reshape(matrix));
  symbols.insert(copy, bank->getIterator());
  return copy;
}

/// A bank with the numbers of `bank`, one to a byte.
static BankOp unpacked(BankOp bank, SymbolTable &symbols) {
  BankOp matrix = asMatrix(bank, symbols);
  if (!matrix)
    return {};
  OpBuilder free(bank.getContext());
  RankedTensorType type = bank.getTensorType();
  auto element = cast<IntegerType>(type.getElementType());
  Type byte = IntegerType::get(bank.getContext(), 8, element.getSignedness());
  auto recipe = SliceAttr::get(FlatSymbolRefAttr::get(matrix.getSymNameAttr()),
                               ArrayRef<int64_t>(), /*transposed=*/false);
  auto made = BankOp::create(
      free, bank.getLoc(), free.getStringAttr(bank.getSymName() + ".unpacked"),
      StringAttr(), StringAttr(), IntegerAttr(), IntegerAttr(), recipe,
      TypeAttr::get(type.clone(byte)));
  symbols.insert(made, bank->getIterator());
  return made;
}

LogicalResult moe::unpackWeights(ModuleOp module) {
  SymbolTable symbols(module);
  llvm::DenseMap<Operation *, BankOp> known;
  SmallVector<WeightOp> weights;
  module.walk([&](WeightOp weight) { weights.push_back(weight); });
  for (WeightOp weight : weights) {
    auto type = cast<RankedTensorType>(weight.getType());
    Type element = type.getElementType();
    auto read = [](OpOperand &use) {
      Operation *user = use.getOwner();
      return user->getName().getDialectNamespace() == "onnx" ||
             user->hasTrait<OpTrait::ReturnLike>();
    };
    if (element.isInteger(1) || !element.isIntOrFloat() ||
        element.getIntOrFloatBitWidth() >= 8 ||
        llvm::none_of(weight->getUses(), read))
      continue;
    auto bank = symbols.lookup<BankOp>(weight.getBank());
    if (!isa<IntegerType>(element))
      return emitError(module.getLoc(), "weight '")
             << bank.getSymName() << "' is stored as " << element
             << ", which operators cannot read: known are integers of 4 bits "
                "and floats of 8 or more";
    BankOp &bytes = known[bank];
    if (!bytes)
      bytes = unpacked(bank, symbols);
    if (!bytes)
      return failure();
    OpBuilder builder(weight);
    Value wide =
        WeightOp::create(builder, weight.getLoc(), bytes.getTensorType(),
                         FlatSymbolRefAttr::get(bytes.getSymNameAttr()));
    // What keeps the type needs the type; others read what is there.
    Value narrow;
    for (OpOperand &use : llvm::make_early_inc_range(weight->getUses())) {
      if (!read(use))
        continue;
      auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
      if (node && (node.is("Cast") || node.is("DequantizeLinear"))) {
        use.set(wide);
        continue;
      }
      if (!narrow)
        narrow = onnx::NodeOp::create(builder, weight.getLoc(), TypeRange(type),
                                      builder.getStringAttr("Cast"),
                                      builder.getStringAttr(""),
                                      builder.getI64IntegerAttr(21), wide,
                                      builder.getDictionaryAttr({}), 0)
                     .getResult(0);
      use.set(narrow);
    }
    // Its bank keeps its type then, which says how to unpack it.
    if (weight->use_empty())
      weight.erase();
  }
  return success();
}
