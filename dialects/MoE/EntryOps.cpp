#include "dialects/MoE/MoEOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moe;

/// The type of the bank that a slice reads, or null.
static RankedTensorType bankType(Operation *from, SliceAttr slice,
                                 SymbolTableCollection &symbols) {
  auto bank = symbols.lookupNearestSymbolFrom<BankOp>(from, slice.getBank());
  return bank ? bank.getTensorType() : RankedTensorType();
}

using EmitError = function_ref<InFlightDiagnostic()>;

/// The sizes of a slice, `[out, in]` for matrices, unpacked where quantised.
static FailureOr<SmallVector<int64_t, 2>>
sizesOf(Operation *from, SliceAttr slice, size_t rank,
        SymbolTableCollection &symbols, EmitError emitError) {
  RankedTensorType type = bankType(from, slice, symbols);
  if (!type) {
    if (emitError)
      emitError() << "reads " << slice.getBank() << ", which is not a moe.bank";
    return failure();
  }
  FailureOr<SliceGeometry> geometry = slice.resolve(type, emitError);
  if (failed(geometry))
    return failure();
  SmallVector<int64_t, 2> sizes = geometry->shape;
  if (sizes.size() != rank) {
    if (emitError)
      emitError() << "needs " << (rank == 2 ? "a matrix" : "a vector")
                  << ", but the slice of " << slice.getBank() << " has rank "
                  << sizes.size();
    return failure();
  }
  auto quant = dyn_cast_or_null<QuantAttr>(slice.getQuant());
  if (quant) {
    Type element = type.getElementType();
    bool isCode = element.isIntOrFloat() && // packed bytes, or values
                  (element.getIntOrFloatBitWidth() == 8 ||
                   element.isInteger(quant.getBits()));
    bool isFloat = isa<FloatType>(element);
    if (!isCode || (isFloat && (quant.getBits() != 8 || quant.getZeros()))) {
      if (emitError)
        emitError() << "cannot read elements of type " << element << " of "
                    << slice.getBank() << " as values of " << quant.getBits()
                    << " bits"
                    << (isFloat && quant.getZeros() ? " with zero points" : "");
      return failure();
    }
    if (element.getIntOrFloatBitWidth() == 8)
      sizes.back() *= 8 / quant.getBits();
  }
  if (slice.getTransposed() && rank == 2)
    std::swap(sizes[0], sizes[1]);
  if (!quant || rank != 2)
    return sizes;
  SmallVector<int64_t, 2> wanted = {sizes[0]};
  if (int64_t block = quant.getBlock())
    wanted.push_back((sizes[1] + block - 1) / block);
  for (SliceAttr part : {quant.getScales(), quant.getZeros()}) {
    if (!part)
      continue;
    auto own = sizesOf(from, part, wanted.size(), symbols, emitError);
    if (failed(own))
      return failure();
    Type element = bankType(from, part, symbols).getElementType();
    bool isScale = part == quant.getScales();
    if (isScale != isa<FloatType>(element)) {
      if (emitError)
        emitError() << "has " << (isScale ? "scales" : "zero points") << " "
                    << part.getBank() << " of type " << element;
      return failure();
    }
    if (*own == wanted)
      continue;
    if (emitError)
      emitError() << "has scales or zero points " << part.getBank()
                  << " that do not fit a matrix of [" << sizes[0] << ", "
                  << sizes[1] << "] in blocks of " << quant.getBlock();
    return failure();
  }
  return sizes;
}

/// `[out, in]` of a slice or of a sum, whose terms must agree.
static FailureOr<SmallVector<int64_t, 2>>
matrixSizes(Operation *from, Attribute matrix, SymbolTableCollection &symbols,
            EmitError emitError) {
  if (auto slice = dyn_cast<SliceAttr>(matrix))
    return sizesOf(from, slice, 2, symbols, emitError);
  auto factored = cast<FactoredAttr>(matrix);
  SmallVector<int64_t, 2> sizes;
  auto meet = [&](int64_t out, int64_t in, StringRef what) -> LogicalResult {
    if (sizes.empty()) {
      sizes = {out, in};
      return success();
    }
    if ((out < 0 || sizes[0] < 0 || sizes[0] == out) && sizes[1] == in)
      return success();
    if (emitError)
      emitError() << "adds " << what << " of [" << out << ", " << in
                  << "] to a matrix of [" << sizes[0] << ", " << sizes[1]
                  << "]";
    return failure();
  };
  if (SliceAttr base = factored.getBase()) {
    auto own = sizesOf(from, base, 2, symbols, emitError);
    if (failed(own) || failed(meet((*own)[0], (*own)[1], "a base")))
      return failure();
  }
  if (SliceAttr left = factored.getLeft()) {
    auto l = sizesOf(from, left, 2, symbols, emitError);
    auto r = sizesOf(from, factored.getRight(), 2, symbols, emitError);
    if (failed(l) || failed(r))
      return failure();
    if ((*l)[1] != (*r)[0]) {
      if (emitError)
        emitError() << "multiplies factors of rank " << (*l)[1] << " and "
                    << (*r)[0];
      return failure();
    }
    if (failed(meet((*l)[0], (*r)[1], "a product")))
      return failure();
  }
  if (SliceAttr rows = factored.getRows()) {
    auto own = sizesOf(from, rows, 2, symbols, emitError);
    auto ids = sizesOf(from, factored.getRowIds(), 1, symbols, emitError);
    if (failed(own) || failed(ids))
      return failure();
    if ((*own)[0] != (*ids)[0]) {
      if (emitError)
        emitError() << "has " << (*own)[0] << " rows but " << (*ids)[0]
                    << " row ids";
      return failure();
    }
    // Rows alone do not say how many outputs there are.
    if (failed(meet(sizes.empty() ? -1 : sizes[0], (*own)[1], "rows")))
      return failure();
  }
  return sizes;
}

//===----------------------------------------------------------------------===//
// moe.expert
//===----------------------------------------------------------------------===//

void ExpertOp::build(OpBuilder &builder, OperationState &state, StringRef name,
                     ExpertKind kind, Activation activation, Attribute gate,
                     Attribute up, Attribute down) {
  auto &properties = state.getOrAddProperties<Properties>();
  MLIRContext *context = builder.getContext();
  properties.entry_name = builder.getStringAttr(name);
  properties.kind = ExpertKindAttr::get(context, kind);
  properties.activation = ActivationAttr::get(context, activation);
  properties.gate = gate;
  properties.up = up;
  properties.down = down;
}

LogicalResult ExpertOp::verify() {
  ExpertKind kind = getKind();
  bool glu = kind == ExpertKind::Glu, ffn = kind == ExpertKind::Ffn;
  // expert_c1
  if (getGateAttr() && !glu)
    return emitOpError("has a gate matrix, which only glu has");
  if (!getGateAttr() && glu)
    return emitOpError("is glu but has no gate matrix");
  if (getDownAttr() && !glu && !ffn)
    return emitOpError("has a down matrix, which only ffn and glu have");
  if (!getDownAttr() && (glu || ffn))
    return emitOpError("needs a down matrix");
  if (kind == ExpertKind::Scale && !isa<SliceAttr>(getUp()))
    return emitOpError("scales by a vector, which cannot be factored");
  // expert_c2
  if (getGateBias() && !getGateAttr())
    return emitOpError("has a gate bias but no gate matrix");
  if (getDownBias() && !getDownAttr())
    return emitOpError("has a down bias but no down matrix");
  if (getUpBias() && kind == ExpertKind::Scale)
    return emitOpError("scales by a vector, which has no bias");
  // expert_c3
  if (!glu && !ffn && getActivation() != Activation::Identity)
    return emitOpError("is linear, so it has no activation");
  if (!glu && !getBeta().isZero())
    return emitOpError("has a beta, which only glu has");
  if (getLimit().isNegative() || getLimit().isNaN())
    return emitOpError("has a negative limit");
  // expert_c4
  if (std::optional<ArrayRef<int64_t>> nm = getNOfM())
    if (nm->size() != 2 || (*nm)[0] <= 0 || (*nm)[0] >= (*nm)[1])
      return emitOpError("needs n_of_m with 0 < n < m");
  // expert_c5
  if (!getVariants())
    return success();
  for (auto variant : getVariants()->getAsRange<VariantAttr>())
    for (NamedAttribute weight : variant.getWeights()) {
      StringRef name = weight.getName();
      bool known = name == "up" || (name == "gate" && getGateAttr()) ||
                   (name == "down" && getDownAttr());
      if (!known)
        return emitOpError("has no matrix '")
               << name << "', which variant '" << variant.getName().getValue()
               << "' stores";
      if (!isa<SliceAttr, FactoredAttr>(weight.getValue()))
        return emitOpError("variant '")
               << variant.getName().getValue() << "' needs a matrix for '"
               << name << "'";
    }
  return success();
}

FailureOr<ExpertShape> ExpertOp::getShape(SymbolTableCollection &symbols,
                                          EmitError emitError) {
  auto fail = [&](const Twine &what) -> FailureOr<ExpertShape> {
    if (emitError)
      emitError() << what;
    return failure();
  };
  auto biasFits = [&](std::optional<SliceAttr> bias, int64_t outputs,
                      StringRef name) -> LogicalResult {
    if (!bias)
      return success();
    auto sizes = sizesOf(*this, *bias, 1, symbols, emitError);
    if (failed(sizes))
      return failure();
    if ((*sizes)[0] == outputs || outputs < 0)
      return success();
    return fail("has " + Twine(outputs) + " outputs of " + name +
                " but a bias of " + Twine((*sizes)[0]));
  };
  // expert_c6, expert_c7
  if (getKind() == ExpertKind::Scale) {
    auto sizes =
        sizesOf(*this, cast<SliceAttr>(getUp()), 1, symbols, emitError);
    if (failed(sizes))
      return failure();
    return ExpertShape{(*sizes)[0], 0, (*sizes)[0]};
  }
  auto up = matrixSizes(*this, getUp(), symbols, emitError);
  if (failed(up) || failed(biasFits(getUpBias(), (*up)[0], "up")))
    return failure();
  if (getKind() == ExpertKind::Linear)
    return ExpertShape{(*up)[1], 0, (*up)[0]};
  if (Attribute gate = getGateAttr()) {
    auto sizes = matrixSizes(*this, gate, symbols, emitError);
    if (failed(sizes) || failed(biasFits(getGateBias(), (*sizes)[0], "gate")))
      return failure();
    if (*sizes != *up)
      return fail("has a gate of [" + Twine((*sizes)[0]) + ", " +
                  Twine((*sizes)[1]) + "] but an up of [" + Twine((*up)[0]) +
                  ", " + Twine((*up)[1]) + "]");
  }
  auto down = matrixSizes(*this, getDownAttr(), symbols, emitError);
  if (failed(down) || failed(biasFits(getDownBias(), (*down)[0], "down")))
    return failure();
  if ((*up)[0] >= 0 && (*down)[1] != (*up)[0])
    return fail("has " + Twine((*up)[0]) + " hidden features, but down takes " +
                Twine((*down)[1]));
  return ExpertShape{(*up)[1], (*down)[1], (*down)[0]};
}

LogicalResult ExpertOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<ExpertShape> shape =
      getShape(symbols, [&] { return emitOpError(); });
  if (failed(shape) || !getVariants())
    return shape;
  for (auto variant : getVariants()->getAsRange<VariantAttr>())
    for (NamedAttribute weight : variant.getWeights()) {
      auto sizes = matrixSizes(*this, weight.getValue(), symbols,
                               [&] { return emitOpError(); });
      if (failed(sizes))
        return failure();
      bool down = weight.getName() == "down";
      int64_t hidden =
          getKind() == ExpertKind::Linear ? shape->out : shape->hidden;
      int64_t out = down ? shape->out : hidden;
      int64_t in = down ? hidden : shape->in;
      if ((*sizes)[0] != out || (*sizes)[1] != in)
        return emitOpError("stores ")
               << weight.getName().getValue() << " of [" << out << ", " << in
               << "] as one of [" << (*sizes)[0] << ", " << (*sizes)[1]
               << "] in variant '" << variant.getName().getValue() << "'";
    }
  return success();
}

bool ExpertOp::isPlain() {
  for (Attribute matrix : {getGateAttr(), getUpAttr(), getDownAttr()}) {
    auto slice = dyn_cast_or_null<SliceAttr>(matrix);
    if (matrix && (!slice || slice.getQuant()))
      return false;
  }
  return true;
}

ColumnsAttr ExpertOp::getColumns(Attribute matrix,
                                 SymbolTableCollection &symbols) {
  auto slice = dyn_cast_or_null<SliceAttr>(matrix);
  if (!slice || slice.getQuant())
    return {};
  RankedTensorType type = bankType(*this, slice, symbols);
  return type ? slice.getColumns(type) : ColumnsAttr();
}

int64_t ExpertOp::getInputGroup() { return getInput(); }

bool ExpertOp::needsDispatch() { return getKind() != ExpertKind::Scale; }

/// Adds what a slice holds; its scales and zero points are bytes, but no
/// parameters.
static void addSlice(Operation *from, SliceAttr slice,
                     SymbolTableCollection &symbols, ExpertCost &cost,
                     int64_t flopsPerParam) {
  RankedTensorType type = bankType(from, slice, symbols);
  if (!type)
    return;
  FailureOr<SliceGeometry> geometry = slice.resolve(type, nullptr);
  if (failed(geometry) || !type.getElementType().isIntOrFloat())
    return;
  int64_t count = 1;
  for (int64_t size : geometry->shape)
    count *= size;
  cost.bytes += (count * type.getElementTypeBitWidth() + 7) / 8;
  if (auto quant = dyn_cast_or_null<QuantAttr>(slice.getQuant())) {
    count *= 8 / quant.getBits();
    ExpertCost side;
    addSlice(from, quant.getScales(), symbols, side, 0);
    if (quant.getZeros())
      addSlice(from, quant.getZeros(), symbols, side, 0);
    cost.bytes += side.bytes;
  }
  cost.params += count;
  *cost.flopsPerToken += flopsPerParam * count;
}

/// `known` are right factors that other matrices of the expert have counted.
static void addMatrix(Operation *from, Attribute matrix,
                      SymbolTableCollection &symbols, ExpertCost &cost,
                      llvm::SmallDenseSet<Attribute> &known) {
  if (!matrix)
    return;
  if (auto slice = dyn_cast<SliceAttr>(matrix))
    return addSlice(from, slice, symbols, cost, 2);
  auto factored = cast<FactoredAttr>(matrix);
  SliceAttr right = factored.getRight();
  if (right && known.insert(right).second)
    addSlice(from, right, symbols, cost, 2);
  for (SliceAttr term :
       {factored.getBase(), factored.getLeft(), factored.getRows()})
    if (term)
      addSlice(from, term, symbols, cost, 2);
  if (!factored.getRowIds())
    return;
  ExpertCost ids; // where rows stand is no parameter
  addSlice(from, factored.getRowIds(), symbols, ids, 0);
  cost.bytes += ids.bytes;
}

ExpertCost ExpertOp::getCost(SymbolTableCollection &symbols) {
  ExpertCost cost;
  if (getKind() == ExpertKind::Scale) {
    addSlice(*this, cast<SliceAttr>(getUp()), symbols, cost, 1);
    return cost;
  }
  llvm::SmallDenseSet<Attribute> known;
  for (Attribute matrix : {getGateAttr(), getUpAttr(), getDownAttr()})
    addMatrix(*this, matrix, symbols, cost, known);
  for (std::optional<SliceAttr> bias :
       {getGateBias(), getUpBias(), getDownBias()})
    if (bias)
      addSlice(*this, *bias, symbols, cost, 1);
  if (getVariants())
    for (auto variant : getVariants()->getAsRange<VariantAttr>()) {
      known.clear();
      for (NamedAttribute matrix : variant.getWeights()) {
        ExpertCost own;
        addMatrix(*this, matrix.getValue(), symbols, own, known);
        cost.variantBytes += own.bytes;
      }
    }
  return cost;
}

//===----------------------------------------------------------------------===//
// moe.null_expert
//===----------------------------------------------------------------------===//

void NullExpertOp::build(OpBuilder &builder, OperationState &state,
                         StringRef name, NullKind kind) {
  auto &properties = state.getOrAddProperties<Properties>();
  properties.entry_name = builder.getStringAttr(name);
  properties.kind = NullKindAttr::get(builder.getContext(), kind);
}

LogicalResult NullExpertOp::verify() {
  // null_expert_c1
  bool constant = getKind() == NullKind::Constant;
  if (constant && !getValue())
    return emitOpError("is constant but has no value");
  if (!constant && (getValue() || getMix()))
    return emitOpError("has a value or mix, which only constant has");
  return success();
}

LogicalResult NullExpertOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // null_expert_c2
  auto emitError = [&] { return emitOpError(); };
  if (getValue() && failed(sizesOf(*this, *getValue(), 1, symbols, emitError)))
    return failure();
  if (!getMix())
    return success();
  auto mix = sizesOf(*this, *getMix(), 2, symbols, emitError);
  if (failed(mix))
    return failure();
  if ((*mix)[0] != 2)
    return emitOpError("mixes two terms, but mix has ")
           << (*mix)[0] << " outputs";
  return success();
}

int64_t NullExpertOp::getInputGroup() { return getInput(); }

bool NullExpertOp::needsDispatch() { return false; }

ExpertCost NullExpertOp::getCost(SymbolTableCollection &symbols) {
  ExpertCost cost;
  if (getValue())
    addSlice(*this, *getValue(), symbols, cost, getMix() ? 3 : 0);
  if (getMix())
    addSlice(*this, *getMix(), symbols, cost, 2);
  return cost;
}

//===----------------------------------------------------------------------===//
// moe.alias
//===----------------------------------------------------------------------===//

void AliasOp::build(OpBuilder &builder, OperationState &state, StringRef name,
                    StringRef target) {
  auto &properties = state.getOrAddProperties<Properties>();
  properties.entry_name = builder.getStringAttr(name);
  properties.target = builder.getStringAttr(target);
}

static ExpertOpInterface targetOf(AliasOp alias) {
  return cast<PoolOp>(alias->getParentOp()).getEntry(alias.getTarget());
}

int64_t AliasOp::getInputGroup() {
  ExpertOpInterface target = targetOf(*this);
  return target ? target.getInputGroup() : 0;
}

bool AliasOp::needsDispatch() {
  ExpertOpInterface target = targetOf(*this);
  return !target || target.needsDispatch();
}

ExpertCost AliasOp::getCost(SymbolTableCollection &symbols) {
  ExpertCost cost;
  if (ExpertOpInterface target = targetOf(*this))
    cost.flopsPerToken = target.getCost(symbols).flopsPerToken;
  return cost;
}

//===----------------------------------------------------------------------===//
// moe.expert_fn
//===----------------------------------------------------------------------===//

LogicalResult ExpertFnOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // expert_fn_c1
  auto callee = symbols.lookupNearestSymbolFrom<FunctionOpInterface>(
      *this, getCalleeAttr());
  if (!callee)
    return emitOpError("calls ") << getCalleeAttr() << ", which is no function";
  size_t states = getStates() ? getStates()->size() : 0;
  if (callee.getNumArguments() < 1 + states)
    return emitOpError("needs a function of rows and ")
           << states << " states, but " << getCalleeAttr() << " takes "
           << callee.getNumArguments() << " arguments";
  if (callee.getNumResults() != 1 + states)
    return emitOpError("needs a function that returns rows and ")
           << states << " states, but " << getCalleeAttr() << " returns "
           << callee.getNumResults() << " values";
  return success();
}

int64_t ExpertFnOp::getInputGroup() { return getInput(); }

ExpertCost ExpertFnOp::getCost(SymbolTableCollection &symbols) {
  ExpertCost cost;
  cost.flopsPerToken = std::nullopt;
  auto callee = symbols.lookupNearestSymbolFrom<FunctionOpInterface>(
      *this, getCalleeAttr());
  if (!callee)
    return cost;
  callee->walk([&](WeightOp weight) {
    auto type = cast<RankedTensorType>(weight.getResult().getType());
    if (!type.getElementType().isIntOrFloat())
      return;
    cost.params += type.getNumElements();
    cost.bytes +=
        (type.getNumElements() * type.getElementTypeBitWidth() + 7) / 8;
  });
  return cost;
}
