#include "mlir/IR/Builders.h"
#include "passes/Raise/Evaluate.h"
#include "passes/Raise/FindLayers.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

/// Numbers of `DequantizeLinear(q, scale, zero)`, exact in f64.
static bool dequantize(NodeOp node, HostTensor &result) {
  HostTensor q, scale, zero;
  std::string error;
  if (!node.input(1) || !readConstant(node.input(0), q, error) ||
      !readConstant(node.input(1), scale, error) ||
      (node.input(2) && !readConstant(node.input(2), zero, error)))
    return false;
  int64_t axis = node.intAttribute("axis", 1);
  axis = axis < 0 ? axis + q.rank() : axis;
  int64_t block = node.intAttribute("block_size", 0);
  bool perTensor = scale.size() == 1 && block == 0;
  if (!perTensor && (axis < 0 || axis >= q.rank()))
    return false;
  int64_t inner = 1;
  for (int64_t d = axis + 1; !perTensor && d < q.rank(); ++d)
    inner *= q.shape[d];
  int64_t along = perTensor ? 1 : q.shape[axis];
  int64_t groups = perTensor ? 1 : block ? (along + block - 1) / block : along;
  int64_t expected = block && !perTensor
                         ? q.size() / (along * inner) * groups * inner
                         : groups;
  if (q.size() == 0 || scale.size() != expected ||
      (node.input(2) && zero.size() != scale.size()))
    return false;
  result = q;
  result.isInteger = false;
  for (int64_t i = 0; i < q.size(); ++i) {
    int64_t at = 0;
    if (!perTensor) {
      int64_t a = i / inner % along, o = i / inner / along;
      at = block ? (o * groups + a / block) * inner + i % inner : a;
    }
    result.data[i] =
        (q.data[i] - (node.input(2) ? zero.data[at] : 0.0)) * scale.data[at];
  }
  return true;
}

/// True where a cast to a narrower type stands between a weight and its use.
static bool isRounded(Value value) {
  for (NodeOp node; (node = value.getDefiningOp<NodeOp>());
       value = node.input(0))
    if (node.is("Cast") &&
        getElementTypeOrSelf(node.input(0).getType()).getIntOrFloatBitWidth() >
            getElementTypeOrSelf(value.getType()).getIntOrFloatBitWidth())
      return true;
  return false;
}

/// The weight as a derived bank: a `#moe.mix` of the quantised matrix alone.
/// Null where the scales do not lie along rows or columns of a matrix, or
/// where packed values would have to be transposed.
static Value deriveBank(NodeOp node, RankedTensorType type, BankNames &banks) {
  WeightRef q = resolveWeight(node.input(0));
  WeightRef scales = node.input(1) ? resolveWeight(node.input(1)) : WeightRef();
  if (!q || !scales || q.rank() != 2 || type.getRank() != 2 || !isWhole(q) ||
      !isWhole(scales) || isRounded(node.input(1)))
    return {};
  Type element = q.rootType().getElementType();
  unsigned bits = element.isInteger() ? element.getIntOrFloatBitWidth() : 0;
  int64_t axis = node.intAttribute("axis", 1);
  axis = axis < 0 ? axis + 2 : axis;
  int64_t block = node.intAttribute("block_size", 0);
  // Rows of the quantised matrix have the scales: those along the axis, or,
  // in blocks, those of the other dimension.
  bool transposed = block ? axis == 0 : axis == 1;
  int64_t rows = q.shape[transposed], columns = q.shape[!transposed];
  SmallVector<int64_t, 2> expected = {rows};
  if (block)
    expected.push_back((columns + block - 1) / block);
  if (block && transposed)
    std::swap(expected[0], expected[1]);
  if ((bits != 4 && bits != 8) || (bits == 4 && transposed) || axis < 0 ||
      axis > 1 || !llvm::equal(scales.shape, expected) ||
      (block == 0 && node.attribute("block_size")))
    return {};
  OpBuilder builder(node);
  auto turn = [&](SliceAttr slice) {
    return SliceAttr::get(slice.getBank(), slice.getRanges(),
                          transposed && block);
  };
  SliceAttr values = banks.slice(q), scale = turn(banks.slice(scales)), zero;
  if (node.input(2)) {
    WeightRef zeros = resolveWeight(node.input(2));
    if (!zeros || !isWhole(zeros) || zeros.shape != scales.shape)
      return {};
    zero = turn(banks.slice(zeros));
  } else if (element.isUnsignedInteger()) {
    // ONNX counts from 0 where #moe.quant counts from the middle.
    auto zeroType = RankedTensorType::get(scales.shape, element);
    auto constant = onnx::ConstantOp::create(
        builder, node.getLoc(),
        DenseElementsAttr::get(zeroType, builder.getIntegerAttr(element, 0)));
    zero = turn(banks.slice(resolveWeight(constant.getResult())));
  }
  auto quant = QuantAttr::get(node.getContext(), bits, block, scale, zero);
  auto slice = SliceAttr::get(node.getContext(), values.getBank(), {},
                              transposed, quant);
  auto recipe = MixAttr::get(node.getContext(), builder.getArrayAttr(slice),
                             builder.getF64ArrayAttr(1.0));
  auto made = RankedTensorType::get({rows, columns}, type.getElementType());
  Value weight = banks.derive(builder, node.getLoc(),
                              values.getBank().getValue(), recipe, made);
  if (!transposed)
    return weight;
  auto back = NodeOp::create(builder, node.getLoc(), TypeRange(type),
                             builder.getStringAttr("Transpose"),
                             builder.getStringAttr(""),
                             builder.getI64IntegerAttr(13), weight,
                             builder.getDictionaryAttr(builder.getNamedAttr(
                                 "perm", builder.getDenseI64ArrayAttr({1, 0}))),
                             0);
  return back.getResult(0);
}

void moe::foldDequantize(FunctionOpInterface function, BankNames &banks) {
  SmallVector<NodeOp> nodes;
  function.walk([&](NodeOp node) {
    if (node.is("DequantizeLinear"))
      nodes.push_back(node);
  });
  for (NodeOp node : nodes) {
    HostTensor numbers;
    auto type = dyn_cast<RankedTensorType>(node.getResult(0).getType());
    if (!type || !type.hasStaticShape() || !type.getElementType().isF32())
      continue;
    if (!dequantize(node, numbers) || type.getNumElements() != numbers.size()) {
      if (Value weight = deriveBank(node, type, banks)) {
        node.getResult(0).replaceAllUsesWith(weight);
        node.erase();
      }
      continue;
    }
    SmallVector<float> values;
    for (double value : numbers.data)
      values.push_back(static_cast<float>(value));
    OpBuilder builder(node);
    // Named like the quantised weight.
    Location loc = node.input(0).getLoc();
    auto constant = onnx::ConstantOp::create(
        builder, loc, DenseElementsAttr::get(type, ArrayRef<float>(values)));
    node.getResult(0).replaceAllUsesWith(constant.getResult());
    node.erase();
  }
}
