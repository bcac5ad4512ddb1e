#include "frontends/ONNX/ImporterImpl.h"

#include "dialects/MoE/MoEOps.h"
#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/TensorImport.h"

using namespace mlir;
using namespace moe::onnx;

LogicalResult Importer::define(StringRef name, Value value, Scope &scope) {
  if (name.empty())
    return success();
  if (scope.tensors.contains(name) ||
      !scope.values.try_emplace(name, value).second)
    return nodeError() << "defines '" << name
                       << "', which has been defined before";
  return success();
}

FailureOr<Value> Importer::lookup(StringRef name, Scope &scope,
                                  function_ref<void()> missing) {
  for (Scope *at = &scope; at; at = at->outer) {
    if (auto it = at->values.find(name); it != at->values.end())
      return it->second;
    if (auto it = at->tensors.find(name); it != at->tensors.end())
      return materialize(*it->second, /*mainGraph=*/at->outer == nullptr);
  }
  missing();
  return failure();
}

/// Shapes are computed from the small integer constants among `value`s.
void Importer::rememberIntegers(Value value, DenseElementsAttr constant) {
  auto type = cast<RankedTensorType>(constant.getType());
  if (type.getRank() > 1 || !type.getElementType().isSignlessInteger() ||
      type.getNumElements() > 64)
    return;
  PartialInts &known = integers[value];
  for (const APInt &element : constant.getValues<APInt>())
    // INT64_MIN means "from the start" in Slice; it is our mark for unknown,
    // and one more does the same there.
    known.push_back(std::max(element.getBitWidth() == 1
                                 ? int64_t(element.getZExtValue())
                                 : element.getSExtValue(),
                             INT64_MIN + 1));
}

/// A constant or a weight, at the function's start so that it dominates all.
FailureOr<Value> Importer::materialize(const pb::Tensor &tensor,
                                       bool mainGraph) {
  if (Value value = materialized.lookup(&tensor))
    return value;
  const ModelFile::Range *raw = nullptr;
  if (mainGraph)
    if (auto it = file.rawRanges.find(tensor.name());
        it != file.rawRanges.end())
      raw = &it->second;
  auto imported = importTensor(tensor, &context, archive, raw, files,
                               [&] { return error(); });
  if (failed(imported))
    return failure();
  Location loc = NameLoc::get(builder.getStringAttr(tensor.name()));
  Value value;
  if (imported->value) {
    value = ConstantOp::create(weights, loc, imported->value);
    rememberIntegers(value, imported->value);
  } else {
    std::string symbol = tensor.name().empty() ? "weight" : tensor.name();
    if (unsigned n = bankNames[symbol]++)
      symbol += "#" + std::to_string(n);
    OpBuilder atModule = OpBuilder::atBlockEnd(module.getBody());
    auto bank = moe::BankOp::create(
        atModule, loc, builder.getStringAttr(symbol),
        builder.getStringAttr(imported->archive), StringAttr(),
        builder.getI64IntegerAttr(imported->offset),
        builder.getI64IntegerAttr(imported->length), Attribute(),
        TypeAttr::get(imported->type));
    value =
        moe::WeightOp::create(weights, loc, imported->type,
                              FlatSymbolRefAttr::get(bank.getSymNameAttr()));
  }
  materialized[&tensor] = value;
  return value;
}

FailureOr<Type> Importer::importType(const pb::ValueInfo &value,
                                     SmallVectorImpl<Attribute> *symbols) {
  if (!value.type().has_tensor_type())
    return error()
           << "'" << value.name()
           << "' is not a tensor; sequences, "
              "maps and optional values cannot cross the model's border";
  const pb::Type::TensorType &type = value.type().tensor_type();
  Type element = elementTypeOf(&context, type.elem_type());
  if (!element)
    return error() << "'" << value.name() << "' has "
                   << describeElement(type.elem_type())
                   << ", which is not supported";
  if (!type.has_shape())
    return Type(UnrankedTensorType::get(element));
  SmallVector<int64_t> shape;
  for (const pb::Shape::Dimension &dim : type.shape().dim()) {
    if (dim.has_dim_value() && dim.dim_value() < 0)
      return error() << "'" << value.name() << "' has a negative dimension, "
                     << dim.dim_value();
    shape.push_back(dim.has_dim_value() ? dim.dim_value()
                                        : ShapedType::kDynamic);
    if (symbols)
      symbols->push_back(
          builder.getStringAttr(dim.has_dim_value() ? "" : dim.dim_param()));
  }
  return Type(RankedTensorType::get(shape, element));
}

FailureOr<Attribute> Importer::importAttribute(const pb::Attribute &attribute) {
  switch (attribute.type()) {
  case 1:
    return Attribute(builder.getF32FloatAttr(attribute.f()));
  case 2:
    return Attribute(builder.getI64IntegerAttr(attribute.i()));
  case 3:
    return Attribute(builder.getStringAttr(attribute.s()));
  case 4: {
    auto tensor = importTensor(attribute.t(), &context, archive, nullptr, files,
                               [&] { return nodeError(); });
    if (failed(tensor))
      return failure();
    if (!tensor->value)
      return nodeError() << "attribute '" << attribute.name()
                         << "' is a large external tensor; make it an "
                            "initializer";
    return Attribute(tensor->value);
  }
  case 6:
    return Attribute(builder.getDenseF32ArrayAttr(SmallVector<float>(
        attribute.floats().begin(), attribute.floats().end())));
  case 7:
    return Attribute(builder.getDenseI64ArrayAttr(SmallVector<int64_t>(
        attribute.ints().begin(), attribute.ints().end())));
  case 8: {
    SmallVector<Attribute> strings;
    for (const std::string &text : attribute.strings())
      strings.push_back(builder.getStringAttr(text));
    return Attribute(builder.getArrayAttr(strings));
  }
  default:
    return nodeError() << "attribute '" << attribute.name() << "' has type "
                       << attribute.type() << ", which is not supported";
  }
}
