// Weights of codes that DequantizeLinear does not know (fp4, nf4, 8-bit floats
// with scales): numbers looked up in a table or widened, in blocks, times
// scales.
#include "mlir/IR/Builders.h"
#include "passes/Raise/FindLayers.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/WeightRef.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

/// The node that makes `value`, if it is a `name`.
static NodeOp nodeOf(Value value, StringRef name) {
  auto node = value ? value.getDefiningOp<NodeOp>() : NodeOp();
  return node && node.is(name) && node.input(0) ? node : NodeOp();
}

/// True where a cast keeps every number: of a narrow integer or float to a
/// wide one.
static bool keepsNumbers(Type from, Type to) {
  auto narrow = dyn_cast<IntegerType>(from);
  if (narrow && isa<FloatType>(to))
    return narrow.getWidth() <= 8 && to.isF32();
  if (auto wide = dyn_cast<IntegerType>(to))
    return narrow && narrow.isUnsigned() && wide.getWidth() > narrow.getWidth();
  return isa<FloatType>(from) && (to.isF32() || (from == to)) &&
         from.getIntOrFloatBitWidth() <= 32;
}

/// The constant behind casts that lose nothing, as it is stored.
static Value storedBehindCasts(Value value) {
  while (NodeOp cast = nodeOf(value, "Cast")) {
    Value from = cast.input(0);
    if (!keepsNumbers(getElementTypeOrSelf(from.getType()),
                      getElementTypeOrSelf(value.getType())))
      return {};
    value = from;
  }
  WeightRef ref = value ? resolveWeight(value) : WeightRef();
  return ref && isWhole(ref) && ref.root == value ? value : Value();
}

/// The code whose 16 numbers `table` holds; empty where there is none.
static StringRef codeOf(Value table) {
  DenseElementsAttr numbers;
  auto constant = table.getDefiningOp<onnx::ConstantOp>();
  if (constant)
    numbers = dyn_cast<DenseElementsAttr>(constant.getValue());
  if (!numbers || !numbers.getElementType().isF32() ||
      numbers.getNumElements() != 16)
    return {};
  for (StringRef code : {"fp4", "nf4"}) {
    unsigned q = 0;
    if (llvm::all_of(numbers.getValues<float>(), [&](float number) {
          return number == static_cast<float>(QuantAttr::decode(code, q++));
        }))
      return code;
  }
  return {};
}

/// The elements of a constant under another type of the same width.
static Value reread(Value value, Type element, BankNames &banks) {
  auto type = cast<RankedTensorType>(value.getType()).clone(element);
  OpBuilder builder(value.getDefiningOp());
  Location loc = value.getDefiningOp()->getLoc();
  if (auto constant = value.getDefiningOp<onnx::ConstantOp>()) {
    auto numbers = dyn_cast<DenseElementsAttr>(constant.getValue());
    return numbers ? onnx::ConstantOp::create(builder, loc,
                                              numbers.bitcast(element))
                         .getResult()
                   : Value();
  }
  auto weight = value.getDefiningOp<WeightOp>();
  auto bank = banks.getSymbols().lookup<BankOp>(weight.getBank());
  if (!bank || bank.getRecipe())
    return {};
  auto copy = cast<BankOp>(bank->clone());
  copy.setType(type);
  auto name = FlatSymbolRefAttr::get(
      banks.getSymbols().insert(copy, bank->getIterator()));
  return WeightOp::create(builder, loc, type, name).getResult();
}

/// `2 ^ (stored - 127)`, as exponents; or what is stored, if it is float.
static Value scalesOf(Value value, BankNames &banks) {
  if (NodeOp power = nodeOf(value, "Pow")) {
    NodeOp offset = nodeOf(power.input(1), "Sub");
    Value stored = offset ? storedBehindCasts(offset.input(0)) : Value();
    if (!stored || constantFloat(power.input(0)) != 2.0 ||
        constantFloat(offset.input(1)) != 127.0 ||
        !getElementTypeOrSelf(stored).isUnsignedInteger(8))
      return {};
    return reread(stored, Float8E8M0FNUType::get(value.getContext()), banks);
  }
  Value stored = storedBehindCasts(value);
  return stored && isa<Float32Type, Float16Type, BFloat16Type>(
                       getElementTypeOrSelf(stored))
             ? stored
             : Value();
}

/// `Reshape(Mul(Reshape(numbers), Reshape(scales)))` as a derived bank, or
/// null.
static Value deriveBank(NodeOp node, BankNames &banks) {
  auto typed = [](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.hasStaticShape() ? type : RankedTensorType();
  };
  RankedTensorType type = typed(node.getResult(0));
  NodeOp product = nodeOf(node.input(0), "Mul");
  if (!type || type.getRank() != 2 || !type.getElementType().isF32() ||
      !product || !product.input(1))
    return {};
  NodeOp blocks = nodeOf(product.input(0), "Reshape");
  NodeOp each = nodeOf(product.input(1), "Reshape");
  RankedTensorType blocked = blocks ? typed(blocks.getResult(0)) : nullptr;
  RankedTensorType side = each ? typed(each.getResult(0)) : nullptr;
  int64_t out = type.getDimSize(0), in = type.getDimSize(1);
  if (!blocked || !side || blocked.getRank() != 3 || side.getRank() != 3 ||
      blocked.getDimSize(0) != out || side.getDimSize(0) != out ||
      side.getDimSize(1) != blocked.getDimSize(1) || side.getDimSize(2) != 1)
    return {};
  // Codes of 4 bits are looked up, floats of 8 bits widened.
  Value numbers = blocks.input(0);
  StringRef code = "int";
  if (NodeOp lookup = nodeOf(numbers, "Gather")) {
    if (lookup.intAttribute("axis", 0) != 0)
      return {};
    code = codeOf(lookup.input(0));
    numbers = lookup.input(1);
  }
  Value values = storedBehindCasts(numbers);
  bool isCode = code != "int";
  if (!values || code.empty() ||
      !llvm::equal(cast<RankedTensorType>(values.getType()).getShape(),
                   type.getShape()) ||
      (isCode ? !getElementTypeOrSelf(values).isUnsignedInteger(4)
              : !isa<Float8E4M3FNType>(getElementTypeOrSelf(values))))
    return {};
  int64_t count = blocked.getDimSize(1);
  if (count < 1 || in % count != 0)
    return {};
  Value scales = scalesOf(each.input(0), banks);
  if (!scales)
    return {};
  auto scaleType = cast<RankedTensorType>(scales.getType());
  int64_t block = scaleType.getRank() == 1 ? 0 : in / count;
  SmallVector<int64_t> expected = {out};
  if (block)
    expected.push_back(count);
  if (!llvm::equal(scaleType.getShape(), expected))
    return {};
  MLIRContext *context = node.getContext();
  auto quant =
      QuantAttr::get(context, isCode ? 4 : 8, block,
                     banks.slice(resolveWeight(scales)), SliceAttr(), code);
  FlatSymbolRefAttr bank = banks.bankOf(values);
  auto slice = SliceAttr::get(context, bank, {}, /*transposed=*/false, quant);
  OpBuilder builder(node);
  auto recipe = MixAttr::get(context, builder.getArrayAttr(slice),
                             builder.getF64ArrayAttr(1.0));
  return banks.derive(builder, node.getLoc(), bank.getValue(), recipe, type);
}

void moe::foldCodes(FunctionOpInterface function, BankNames &banks) {
  SmallVector<NodeOp> nodes;
  function.walk([&](NodeOp node) {
    if (node.is("Reshape"))
      nodes.push_back(node);
  });
  for (NodeOp node : nodes)
    if (Value weight = deriveBank(node, banks)) {
      node.getResult(0).replaceAllUsesWith(weight);
      node.erase();
    }
}
