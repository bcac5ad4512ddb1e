// Experts in standard operators: each is run on the rows that chose it.
#include "frontends/ONNX/ExporterImpl.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

/// A linear layer of an expert, y = W x + b, on rows.
FailureOr<std::string> Exporter::exportLinear(ExpertOp expert, StringRef matrix,
                                              const std::string &rows,
                                              Type type) {
  auto bias = expert->getAttrOfType<SliceAttr>((matrix + "_bias").str());
  Attribute stored = expert->getAttr(matrix);
  if (auto factored = dyn_cast<FactoredAttr>(stored))
    return exportFactored(expert, factored, bias, matrix, rows, type);
  return exportProduct(expert, llvm::cast<SliceAttr>(stored), bias, matrix,
                       rows, type);
}

FailureOr<std::string> Exporter::exportProduct(Operation *op, SliceAttr matrix,
                                               SliceAttr bias, StringRef name,
                                               const std::string &rows,
                                               Type type) {
  auto weight = exportMatrix(op, matrix, (name + ".weight").str(), type);
  if (failed(weight))
    return failure();
  SmallVector<std::string> inputs = {rows, weight->weight};
  if (bias) {
    auto vector = exportVector(op, bias, (name + ".bias").str(), type);
    if (failed(vector))
      return failure();
    inputs.push_back(*vector);
  }
  if (weight->transposed)
    return emit("Gemm", inputs);
  return emit("Gemm", inputs, attribute("transB", 1));
}

/// The type in which sums are scattered: ONNX Runtime does none of f16.
static Type sumTypeOf(Type type) {
  return type.isF16() ? Float32Type::get(type.getContext()) : type;
}

/// base x + scale left (right x) + the rows that stand on their own.
FailureOr<std::string>
Exporter::exportFactored(ExpertOp expert, FactoredAttr matrix, SliceAttr bias,
                         StringRef name, const std::string &rows, Type type) {
  std::string sum;
  auto add = [&](std::string value) {
    sum = sum.empty() ? value : emit("Add", {sum, value});
  };
  if (matrix.getBase()) {
    auto base = exportProduct(expert, matrix.getBase(), {},
                              (name + ".base").str(), rows, type);
    if (failed(base))
      return failure();
    add(*base);
  }
  if (matrix.getLeft()) {
    std::string &inner =
        rightProducts[{rows, matrix.getRight().getAsOpaquePointer()}];
    if (inner.empty()) {
      auto product = exportProduct(expert, matrix.getRight(), {},
                                   (name + ".right").str(), rows, type);
      if (failed(product))
        return failure();
      inner = *product;
    }
    auto outer = exportProduct(expert, matrix.getLeft(), {},
                               (name + ".left").str(), inner, type);
    if (failed(outer))
      return failure();
    double scale =
        matrix.getScale() ? matrix.getScale().getValueAsDouble() : 1.0;
    add(scale == 1 ? *outer : emit("Mul", {*outer, scalar(scale, type)}));
  }
  if (matrix.getRows()) {
    auto some = exportProduct(expert, matrix.getRows(), {},
                              (name + ".rows").str(), rows, type);
    auto ids = BankView::of(matrix.getRowIds(), symbols, expert);
    if (failed(some) || failed(ids))
      return failure();
    auto shape = expert.getShape(tables);
    if (failed(shape))
      return expert.emitOpError("does not fit its banks");
    int64_t outputs = name == "down" || expert.getKind() == ExpertKind::Linear
                          ? shape->out
                          : shape->hidden;
    // A matrix of ones would be large: rows are scattered as columns.
    PlannedWeight planned;
    planned.name = prefix + name.str() + ".row_ids";
    planned.type = RankedTensorType::get(ids->shape, ids->elementType());
    planned.pieces.push_back({*ids, {}});
    std::string columns = cast(plan(std::move(planned)), ids->elementType(),
                               builder.getI64Type());
    std::string count =
        emit("Shape", {rows}, {attribute("start", 0), attribute("end", 1)});
    Type sumType = sumTypeOf(type);
    auto zero =
        DenseElementsAttr::get(RankedTensorType::get({1}, sumType),
                               Attribute(builder.getFloatAttr(sumType, 0.0)));
    std::string zeros =
        emit("ConstantOfShape",
             {emit("Concat", {count, ints({outputs})}, attribute("axis", 0))},
             builder.getNamedAttr("value", zero));
    std::string where = emit("Expand", {columns, emit("Shape", {*some})});
    std::string spread =
        emit("ScatterElements", {zeros, where, cast(*some, type, sumType)},
             {attribute("axis", 1),
              builder.getNamedAttr("reduction", builder.getStringAttr("add"))});
    add(cast(spread, sumType, type));
  }
  if (!bias)
    return sum;
  auto vector = exportVector(expert, bias, (name + ".bias").str(), type);
  if (failed(vector))
    return failure();
  return emit("Add", {sum, *vector});
}

std::string Exporter::activate(ExpertOp expert, std::string value, Type type) {
  double limit = expert.getLimit().convertToDouble();
  if (limit > 0)
    value = emit("Clip", {value, "", scalar(limit, type)});
  auto half = [&](const std::string &one) {
    return emit("Mul", {emit("Mul", {value, scalar(0.5, type)}),
                        emit("Add", {one, scalar(1.0, type)})});
  };
  switch (expert.getActivation()) {
  case Activation::Identity:
    return value;
  case Activation::Relu:
    return emit("Relu", {value});
  case Activation::Relu2:
    value = emit("Relu", {value});
    return emit("Mul", {value, value});
  case Activation::Silu: {
    double alpha = expert.getAlpha().convertToDouble();
    std::string scaled =
        alpha == 1 ? value : emit("Mul", {value, scalar(alpha, type)});
    return emit("Mul", {value, emit("Sigmoid", {scaled})});
  }
  case Activation::Gelu:
    return half(
        emit("Erf", {emit("Mul", {value, scalar(std::sqrt(0.5), type)})}));
  case Activation::GeluTanh: {
    std::string cube =
        emit("Mul", {emit("Mul", {value, value}),
                     emit("Mul", {value, scalar(0.044715, type)})});
    return half(
        emit("Tanh", {emit("Mul", {emit("Add", {value, cube}),
                                   scalar(std::sqrt(2 / M_PI), type)})}));
  }
  }
  return value;
}

FailureOr<std::string>
Exporter::exportExpert(ExpertOp expert, const std::string &rows, Type type) {
  std::string result;
  if (expert.getKind() == ExpertKind::Scale) {
    auto vector = exportVector(
        expert, llvm::cast<SliceAttr>(expert.getUpAttr()), "up.weight", type);
    if (failed(vector))
      return failure();
    result = emit("Mul", {rows, *vector});
    if (expert.getUpBias())
      return expert.emitOpError("scales with a bias, which is not exported");
  } else {
    auto up = exportLinear(expert, "up", rows, type);
    if (failed(up))
      return failure();
    result = *up;
  }
  if (expert.isGlu()) {
    auto gate = exportLinear(expert, "gate", rows, type);
    if (failed(gate))
      return failure();
    double limit = expert.getLimit().convertToDouble();
    double beta = expert.getBeta().convertToDouble();
    if (limit > 0)
      result =
          emit("Clip", {result, scalar(-limit, type), scalar(limit, type)});
    if (beta != 0)
      result = emit("Add", {result, scalar(beta, type)});
    result = emit("Mul", {activate(expert, *gate, type), result});
  } else if (expert.getKind() == ExpertKind::Ffn) {
    result = activate(expert, result, type);
  }
  if (expert.getDown()) {
    auto down = exportLinear(expert, "down", result, type);
    if (failed(down))
      return failure();
    result = *down;
  }
  double scale = expert.getOutputScale().convertToDouble();
  return scale == 1 ? result : emit("Mul", {result, scalar(scale, type)});
}

/// A null expert of kind `constant`, on rows; of kind `copy`, the rows.
FailureOr<std::string>
Exporter::exportNull(NullExpertOp expert, const std::string &rows, Type type) {
  if (expert.getKind() == NullKind::Copy)
    return rows;
  auto value = exportVector(expert, *expert.getValue(), "value", type);
  if (failed(value))
    return failure();
  if (!expert.getMix()) // one row for each
    return emit("Add", {emit("Mul", {rows, scalar(0.0, type)}), *value});
  auto mix = exportProduct(expert, *expert.getMix(), {}, "mix", rows, type);
  if (failed(mix))
    return failure();
  std::string parts = emit("Softmax", {*mix}, attribute("axis", -1));
  auto part = [&](int64_t i) {
    return emit("Slice", {parts, ints({i}), ints({i + 1}), ints({1})});
  };
  return emit("Add",
              {emit("Mul", {part(0), rows}), emit("Mul", {part(1), *value})});
}

LogicalResult Exporter::exportExperts(ApplyOp apply) {
  auto refuse = [&](StringRef feature) {
    return apply.emitError("layer '") << layerName(apply) << "': " << feature
                                      << " cannot be written as ONNX";
  };
  auto pool = PoolOp::lookup(apply, apply.getPoolAttr(), tables);
  if (!pool)
    return apply.emitOpError("reads ")
           << apply.getPoolAttr() << ", which is not a moe.pool";
  if (!apply.getVariants().empty())
    return refuse("a choice of storage variants");
  if (!apply.getExtras().empty() || !apply.getStates().empty())
    return refuse("state or extra operands of experts");
  if (apply.getCombine() == Combine::Probability)
    return refuse("a mixture of probabilities");

  // bfloat16 is for storage: ONNX Runtime's CPU kernels do not compute in it.
  Type stored = elementOf(apply.getTokens()[0]);
  Type type = stored.isBF16() ? Type(builder.getF32Type()) : stored;
  prefix = layerName(apply) + "/";
  std::string layer = prefix;
  SmallVector<std::string> tokens;
  for (Value value : apply.getTokens()) {
    std::string name = cast(nameOf(value), elementOf(value), type);
    double prescale = apply.getPrescale().convertToDouble();
    tokens.push_back(
        prescale == 1 ? name : emit("Mul", {name, scalar(prescale, type)}));
  }
  std::string count =
      emit("Shape", {tokens[0]}, {attribute("start", 0), attribute("end", 1)});
  Type sumType = sumTypeOf(type);
  auto zero =
      DenseElementsAttr::get(RankedTensorType::get({1}, sumType),
                             Attribute(builder.getFloatAttr(sumType, 0.0)));
  for (int64_t g = 0; g < apply.getNumGates(); ++g) {
    Value result = apply.getGateResults()[g];
    auto resultType = llvm::cast<RankedTensorType>(result.getType());
    int64_t width = resultType.getDimSize(1);
    if (ShapedType::isDynamic(width))
      return refuse("an open width of the result");
    std::string ids, weights;
    if (!apply.getIds().empty())
      ids = nameOf(apply.getIds()[g]);
    Type weightType = apply.getScaleInput() ? type : sumType;
    if (!apply.getWeights().empty())
      weights = cast(nameOf(apply.getWeights()[g]),
                     elementOf(apply.getWeights()[g]), weightType);
    bool anyZero = llvm::any_of(pool.getEntries(), [](ExpertOpInterface entry) {
      auto null = dyn_cast<NullExpertOp>(entry.getOperation());
      return null && null.getKind() == NullKind::Zero;
    });
    if (anyZero && !ids.empty() && !weights.empty())
      weights = emit("Where", {whereNull(pool, ids, /*zeroOnly=*/true),
                               scalar(0.0, weightType), weights});
    std::string sum =
        emit("ConstantOfShape",
             {emit("Concat", {count, ints({width})}, attribute("axis", 0))},
             builder.getNamedAttr("value", zero));

    int64_t columns = pool.getNumEntries();
    SmallVector<int64_t> entries;
    if (apply.getSubsets())
      entries.assign(
          llvm::cast<DenseI64ArrayAttr>((*apply.getSubsets())[g]).asArrayRef());
    else
      for (int64_t e = 0; e < columns; ++e)
        entries.push_back(e);
    for (auto [column, e] : llvm::enumerate(entries)) {
      ExpertOpInterface entry = pool.getResolvedEntry(e);
      prefix = layer + pool.getEntry(e).getEntryName().str() + "/";
      auto null = dyn_cast<NullExpertOp>(entry.getOperation());
      if (null && null.getKind() == NullKind::Zero)
        continue;
      auto expert = dyn_cast<ExpertOp>(entry.getOperation());
      if (!null && !expert)
        return refuse("expert '" + entry.getEntryName().str() + "', a " +
                      entry->getName().getStringRef().str() + ",");
      const std::string &input = tokens[entry.getInputGroup()];
      std::string rows = input, weight, token;
      if (ids.empty()) { // every token
        weight = emit("Slice", {weights, ints({int64_t(column)}),
                                ints({int64_t(column) + 1}), ints({1})});
      } else {
        std::string found = emit("NonZero", {emit("Equal", {ids, scalar(e)})});
        token =
            emit("Gather", {found, scalar(int64_t(0))}, attribute("axis", 0));
        rows = emit("Gather", {input, token}, attribute("axis", 0));
        if (!weights.empty())
          weight =
              emit("Unsqueeze",
                   {emit("GatherND", {weights, emit("Transpose", {found})}),
                    ints({1})});
      }
      if (apply.getScaleInput())
        rows = emit("Mul", {rows, weight});
      auto output = expert ? exportExpert(expert, rows, type)
                           : exportNull(null, rows, type);
      if (failed(output))
        return failure();
      std::string term = cast(*output, type, sumType);
      if (!weight.empty() && !apply.getScaleInput())
        term = emit("Mul", {term, weight});
      sum = ids.empty()
                ? emit("Add", {sum, term})
                : emit("ScatterND",
                       {sum, emit("Unsqueeze", {token, ints({1})}), term},
                       builder.getNamedAttr("reduction",
                                            builder.getStringAttr("add")));
    }
    prefix = layer;
    values[result] = cast(sum, sumType, resultType.getElementType());
  }
  prefix.clear();
  return success();
}
