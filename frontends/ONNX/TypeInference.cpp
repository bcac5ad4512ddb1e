#include "frontends/ONNX/TypeInference.h"

#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/TypeRules.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

Type onnx::tensor(ArrayRef<int64_t> shape, Type element) {
  return RankedTensorType::get(shape, element);
}

Type onnx::unranked(Type element) { return UnrankedTensorType::get(element); }

Type onnx::withElement(Type type, Type element) {
  if (auto ranked = dyn_cast<RankedTensorType>(type))
    return ranked.clone(element);
  return unranked(element);
}

FailureOr<int64_t> onnx::axisOf(const NodeFacts &node, int64_t axis,
                                int64_t rank) {
  if (axis < -rank || axis >= rank)
    return node.emitError()
           << "axis " << axis << " does not exist: the input has rank " << rank;
  return axis < 0 ? axis + rank : axis;
}

onnx::Axes onnx::axesOf(const NodeFacts &node, unsigned input) {
  Axes result;
  result.given = node.attributes.get("axes") || node.has(input);
  auto values = node.integers("axes", input);
  if (values && !llvm::is_contained(*values, kDynamic))
    result.axes.assign(values->begin(), values->end());
  else
    result.known = !result.given;
  return result;
}

std::string onnx::spell(Type type) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (auto ranked = dyn_cast<RankedTensorType>(type)) {
    os << "[";
    llvm::interleave(
        ranked.getShape(), os,
        [&](int64_t size) {
          if (ShapedType::isDynamic(size))
            os << "?";
          else
            os << size;
        },
        ", ");
    os << "]";
  } else {
    os << type;
  }
  return text;
}

FailureOr<SmallVector<int64_t>> onnx::broadcast(const NodeFacts &node,
                                                ArrayRef<int64_t> a,
                                                ArrayRef<int64_t> b) {
  SmallVector<int64_t> shape(std::max(a.size(), b.size()));
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    int64_t size;
    if (x == y || y == 1)
      size = x;
    else if (x == 1)
      size = y;
    else if (ShapedType::isDynamic(x))
      size = y;
    else if (ShapedType::isDynamic(y))
      size = x;
    else
      return node.emitError() << "cannot broadcast sizes " << x << " and " << y
                              << " (dimension " << i << " from the end)";
    shape[shape.size() - 1 - i] = size;
  }
  return shape;
}

LogicalResult onnx::sameElements(const NodeFacts &node, unsigned first) {
  Type element = node.element(first);
  for (unsigned i = first + 1; i < node.inputs.size(); ++i)
    if (node.has(i) && node.element(i) != element)
      return node.emitError() << "input " << first << " has elements of type "
                              << nameOfElement(element) << ", input " << i
                              << " of type " << nameOfElement(node.element(i));
  return success();
}

onnx::Types onnx::broadcastAll(const NodeFacts &node, unsigned first,
                               Type element) {
  SmallVector<int64_t> shape;
  for (unsigned i = first; i < node.inputs.size(); ++i) {
    RankedTensorType type = node.ranked(i);
    if (!type)
      return one(unranked(element));
    auto joined = broadcast(node, shape, type.getShape());
    if (failed(joined))
      return failure();
    shape = *joined;
  }
  return one(tensor(shape, element));
}

int64_t NodeFacts::integer(StringRef name, int64_t otherwise) const {
  auto value = dyn_cast_or_null<IntegerAttr>(attributes.get(name));
  return value ? value.getInt() : otherwise;
}

std::optional<SmallVector<int64_t>> NodeFacts::integers(StringRef name) const {
  auto value = dyn_cast_or_null<DenseI64ArrayAttr>(attributes.get(name));
  if (!value)
    return std::nullopt;
  return SmallVector<int64_t>(value.asArrayRef());
}

StringRef NodeFacts::string(StringRef name, StringRef otherwise) const {
  auto value = dyn_cast_or_null<StringAttr>(attributes.get(name));
  return value ? value.getValue() : otherwise;
}

FailureOr<SmallVector<Type>> moe::onnx::inferTypes(const NodeFacts &node) {
  static const TypeRules rules = [] {
    TypeRules rules;
    addElementTypeRules(rules);
    addShapeTypeRules(rules);
    addIndexingTypeRules(rules);
    addMathTypeRules(rules);
    return rules;
  }();
  std::string key = node.op.str();
  if (!node.domain.empty())
    key = (node.domain + "." + node.op).str();
  TypeRule rule = rules.lookup(key);
  if (!rule)
    return node.emitError() << "has no type rule (please report)";
  Types types = rule(node);
  if (succeeded(types))
    types->resize(node.numOutputs, NoneType::get(node.context));
  return types;
}
