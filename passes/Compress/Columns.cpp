// Router columns: some of them, or means of them.
#include "dialects/Onnx/OnnxOps.h"
#include "passes/Compress/ProfileColumns.h"

using namespace mlir;
using namespace moe;

namespace {
/// What becomes of dimension `dim` of a constant of the router.
class ColumnEditor {
public:
  ColumnEditor(MoELayer &layer, SymbolTable &symbols)
      : layer(layer), symbols(symbols) {}

  /// `value` with `columns` in dimension `dim`, or in dimension 0 where they
  /// are means.
  Value edit(Value value, int64_t dim, ArrayRef<MixedColumn> columns,
             StringRef what);

private:
  MoELayer &layer;
  SymbolTable &symbols;
};
} // namespace

static bool isChoice(ArrayRef<MixedColumn> columns) {
  return llvm::all_of(columns, [](const MixedColumn &column) {
    return column.size() == 1 && column[0].second == 1.0;
  });
}

/// The bank of a value that is a weight, null where it is none.
static BankOp bankOf(Value value, const SymbolTable &symbols) {
  auto weight = value.getDefiningOp<WeightOp>();
  return weight ? symbols.lookup<BankOp>(weight.getBank()) : BankOp();
}

/// The numbers that stand in the graph where `value` is made, or null.
static DenseElementsAttr numbersOf(Value value) {
  auto constant = value.getDefiningOp<onnx::ConstantOp>();
  return constant ? dyn_cast<DenseElementsAttr>(constant.getValue())
                  : DenseElementsAttr();
}

/// Can `ColumnEditor` edit it?
static LogicalResult checkConstant(const MoELayer &layer, Value value,
                                   StringRef what, const SymbolTable &symbols) {
  auto type = cast<RankedTensorType>(value.getType());
  if (isa<FloatType>(type.getElementType()) &&
      (bankOf(value, symbols) || numbersOf(value)))
    return success();
  return emitLayerError(layer)
         << "its " << what << " is no constant, so columns cannot be taken";
}

Value ColumnEditor::edit(Value value, int64_t dim,
                         ArrayRef<MixedColumn> columns, StringRef what) {
  auto type = cast<RankedTensorType>(value.getType());
  OpBuilder builder(layer.gate);
  if (layer.router)
    builder.setInsertionPoint(layer.router);
  BankOp bank = bankOf(value, symbols);
  if (!bank)
    bank = addBank(layer, symbols, layer.name + "." + what, numbersOf(value),
                   type);
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] = static_cast<int64_t>(columns.size());
  Attribute recipe;
  if (isChoice(columns)) {
    SmallVector<int64_t> order;
    for (const MixedColumn &column : columns)
      order.push_back(column[0].first);
    recipe = PermuteAttr::get(builder.getContext(), wholeOf(bank), dim,
                              builder.getDenseI64ArrayAttr(order));
  } else {
    SmallVector<Attribute> rows;
    for (const MixedColumn &column : columns) {
      SmallVector<Attribute> sources;
      SmallVector<double> weights;
      for (auto [place, weight] : column) {
        auto reference = FlatSymbolRefAttr::get(bank.getSymNameAttr());
        sources.push_back(
            dim == 0 ? SliceAttr::at(reference, place)
                     : SliceAttr::get(reference, {0, ShapedType::kDynamic, 1,
                                                  place, place + 1, 0}));
        weights.push_back(weight);
      }
      rows.push_back(MixAttr::get(builder.getContext(),
                                  builder.getArrayAttr(sources),
                                  builder.getF64ArrayAttr(weights)));
    }
    recipe = StackAttr::get(builder.getContext(), builder.getArrayAttr(rows));
    // Means of columns come out as rows.
    if (dim == 1)
      std::swap(shape[0], shape[1]);
  }
  auto newType = RankedTensorType::get(shape, type.getElementType());
  BankOp made =
      addBank(layer, symbols, bank.getSymName() + ".kept", recipe, newType);
  return WeightOp::create(builder, value.getLoc(), newType,
                          FlatSymbolRefAttr::get(made.getSymNameAttr()));
}

LogicalResult moe::checkChoiceUnread(const MoELayer &layer) {
  GateOp gate = layer.gate;
  ApplyOp apply = layer.apply;
  for (Operation *user : gate->getUsers())
    if (user != apply)
      return emitLayerError(layer)
             << "something else reads which experts its gate chooses";
  return success();
}

static LogicalResult emitUnequal(const MoELayer &layer, int64_t groups) {
  return emitLayerError(layer)
         << "its gate has " << groups
         << " groups of experts, which must stay equally large";
}

LogicalResult moe::checkColumns(const MoELayer &layer,
                                ArrayRef<MixedColumn> columns,
                                const SymbolTable &symbols) {
  GateOp gate = layer.gate;
  RouterOp router = layer.router;
  if (!router || router.getKind() != RouterKind::Linear || router.getSeed() ||
      router.getResidual())
    return emitLayerError(layer)
           << "only columns of a linear router with stored weights can be "
              "changed";
  if (!router->hasOneUse())
    return emitLayerError(layer) << "something else reads its logits";
  if (gate.getValues())
    return emitLayerError(layer)
           << "its weights come from other values than its logits";
  if (failed(checkChoiceUnread(layer)))
    return failure();
  int64_t count = static_cast<int64_t>(columns.size());
  if (gate.getGroups()) {
    // Groups lie side by side and must stay equally large.
    int64_t groups = *gate.getGroups(), size = gate.getNumColumns() / groups;
    if (count % groups != 0)
      return emitUnequal(layer, groups);
    if (int64_t held = count / groups * *gate.getTopGroups(),
        wanted = std::min<int64_t>(*gate.getTopK(), count);
        held < wanted)
      return emitLayerError(layer)
             << "its gate chooses " << wanted << " experts of "
             << *gate.getTopGroups() << " of " << groups
             << " groups, which hold " << held << " then";
    for (auto [i, column] : llvm::enumerate(columns))
      for (auto [place, weight] : column)
        if (place / size != static_cast<int64_t>(i) * groups / count)
          return emitUnequal(layer, groups);
  }
  Value bias = router.getBias(), choice = gate.getChoiceBias();
  if (failed(
          checkConstant(layer, router.getWeight(), "router weight", symbols)) ||
      (bias && failed(checkConstant(layer, bias, "router bias", symbols))) ||
      (choice && failed(checkConstant(layer, choice, "choice bias", symbols))))
    return failure();
  return LogicalResult(ProfileColumns::of(layer));
}

LogicalResult moe::mixColumns(MoELayer &layer, ArrayRef<MixedColumn> columns,
                              SymbolTable &symbols) {
  if (failed(checkColumns(layer, columns, symbols)))
    return failure();
  GateOp gate = layer.gate;
  RouterOp router = layer.router;
  int64_t count = static_cast<int64_t>(columns.size());
  ColumnEditor editor(layer, symbols);
  Value weight = editor.edit(router.getWeight(), router.getTransposed() ? 1 : 0,
                             columns, "router weight");
  Value bias = router.getBias(), choice = gate.getChoiceBias();
  if (bias)
    bias = editor.edit(bias, 0, columns, "router bias");
  if (choice)
    choice = editor.edit(choice, 0, columns, "choice bias");
  SmallVector<Value> old{router.getWeight()};
  if (bias)
    old.push_back(router.getBias());
  if (choice)
    old.push_back(gate.getChoiceBias());
  router.getWeightMutable().assign(weight);
  if (!isChoice(columns))
    router.setTransposed(false);
  if (bias)
    router.getBiasMutable().assign(bias);
  if (choice)
    gate.getChoiceBiasMutable().assign(choice);
  // What nobody reads any more must not keep its bank.
  for (Value value : old)
    if (auto op = value.getDefiningOp<WeightOp>(); op && op->use_empty())
      op->erase();
  auto logits = cast<RankedTensorType>(router.getLogits().getType());
  router.getLogits().setType(RankedTensorType::get(
      {logits.getDimSize(0), count}, logits.getElementType()));
  if (static_cast<int64_t>(*gate.getTopK()) > count)
    setTopK(layer, count);
  return success();
}

LogicalResult moe::checkNoAlias(const MoELayer &layer) {
  PoolOp pool = layer.pool;
  for (ExpertOpInterface entry : pool.getEntries())
    if (isa<AliasOp>(entry.getOperation()))
      return emitLayerError(layer)
             << "has merged experts; prune before merging, for a removed "
                "expert may serve several columns";
  return success();
}

static SmallVector<MixedColumn> columnsKept(ArrayRef<int64_t> kept) {
  SmallVector<MixedColumn> columns;
  for (int64_t column : kept)
    columns.push_back({{column, 1.0}});
  return columns;
}

LogicalResult moe::checkKept(const MoELayer &layer, ArrayRef<int64_t> kept,
                             const SymbolTable &symbols) {
  if (failed(checkNoAlias(layer)))
    return failure();
  return checkColumns(layer, columnsKept(kept), symbols);
}

LogicalResult moe::keepColumns(MoELayer &layer, ArrayRef<int64_t> kept,
                               SymbolTable &symbols) {
  if (failed(checkKept(layer, kept, symbols)))
    return failure();
  SmallVector<MixedColumn> columns = columnsKept(kept);
  auto behind = ProfileColumns::of(layer);
  auto entries = layer.pool.getEntries();
  if (failed(mixColumns(layer, columns, symbols)))
    return failure();
  behind->change(layer, columns);
  Block &body = layer.pool.getBody().front();
  for (auto [i, entry] : llvm::enumerate(entries))
    if (!llvm::is_contained(kept, static_cast<int64_t>(i)))
      entry->erase();
  for (int64_t column : kept)
    entries[column]->moveBefore(&body, body.end());
  return success();
}

void moe::setTopK(MoELayer &layer, int64_t topK) {
  GateOp gate = layer.gate;
  SmallVector<Type> types;
  for (Value result : gate.getResults()) {
    auto type = cast<RankedTensorType>(result.getType());
    types.push_back(RankedTensorType::get({type.getDimSize(0), topK},
                                          type.getElementType()));
  }
  gate.setTopK(topK);
  for (auto [result, type] : llvm::zip(gate.getResults(), types))
    result.setType(type);
}
