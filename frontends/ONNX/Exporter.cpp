#include "frontends/ONNX/Export.h"

#include "dialects/MoE/MoEOps.h"
#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/ExportFile.h"
#include "frontends/ONNX/ExporterImpl.h"
#include "frontends/ONNX/OpRegistry.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

/// A name that nothing else in the file has, `name` where that is free.
std::string Exporter::unique(StringRef name) {
  std::string text = name.empty() ? "value" : name.str();
  for (unsigned i = 1; !names.insert(text).second; ++i)
    text = (name + "_" + Twine(i)).str();
  return text;
}

void Exporter::describe(pb::ValueInfo &info, StringRef name, Type type,
                        ArrayAttr dims) {
  info.set_name(name.str());
  auto tensor = llvm::cast<TensorType>(type);
  pb::Type::TensorType *to = info.mutable_type()->mutable_tensor_type();
  to->set_elem_type(*numberOfElement(tensor.getElementType()));
  auto ranked = dyn_cast<RankedTensorType>(type);
  // A file may say nothing of a shape that follows from others.
  if (!ranked || (dims && dims.empty() && ranked.getRank() > 0))
    return;
  pb::Shape *shape = to->mutable_shape();
  for (int64_t d = 0; d < ranked.getRank(); ++d) {
    pb::Shape::Dimension *dim = shape->add_dim();
    StringRef symbol;
    if (dims && d < static_cast<int64_t>(dims.size()))
      if (auto text = dyn_cast<StringAttr>(dims[d]))
        symbol = text.getValue();
    if (!symbol.empty())
      dim->set_dim_param(symbol.str());
    else if (!ranked.isDynamicDim(d))
      dim->set_dim_value(ranked.getDimSize(d));
  }
}

LogicalResult Exporter::readOpsets() {
  // Modules that were no ONNX file: what ONNX Runtime has read for long.
  opset = 21;
  auto given = module->getAttrOfType<DictionaryAttr>("onnx.opset");
  if (!given)
    return success();
  for (NamedAttribute entry : given) {
    auto version = dyn_cast<IntegerAttr>(entry.getValue());
    if (!version)
      return module.emitError("'onnx.opset' gives no number for domain '")
             << entry.getName().getValue() << "'";
    if (entry.getName() == "ai.onnx")
      opset = version.getInt();
    else
      domains[entry.getName().getValue()] = version.getInt();
  }
  if (opset < kOldestOpset || opset > kNewestOpset)
    return module.emitError("'onnx.opset' is ")
           << opset << ", known are " << kOldestOpset << " to " << kNewestOpset;
  return success();
}

/// The opset that a stored quantisation needs where it becomes `type`: scales
/// of f16 came with 19, blocks and four bits with 21.
static int64_t opsetFor(QuantAttr quant, bool coded, Type type) {
  if (coded || quant.getBits() < 8 || quant.getBlock())
    return 21;
  return type.isF16() ? 19 : 13;
}

/// What a matrix is made of.
static SmallVector<SliceAttr> termsOf(Attribute matrix) {
  if (auto slice = dyn_cast_or_null<SliceAttr>(matrix))
    return {slice};
  auto factored = dyn_cast_or_null<FactoredAttr>(matrix);
  if (!factored)
    return {};
  SmallVector<SliceAttr> terms = {factored.getBase(), factored.getLeft(),
                                  factored.getRight(), factored.getRows()};
  llvm::erase_if(terms, [](SliceAttr term) { return !term; });
  return terms;
}

/// The model's own opset, or the one that the layers' operators need where
/// every node means the same in it.
LogicalResult Exporter::chooseOpset(func::FuncOp main) {
  int64_t own = opset;
  std::string reason;
  auto need = [&](int64_t version, const Twine &what) {
    if (version <= opset)
      return;
    opset = version;
    reason = what.str();
  };
  auto needMatrix = [&](Attribute matrix, Type type, const Twine &what) {
    for (SliceAttr term : termsOf(matrix))
      if (SliceAttr stored = storedQuant(term)) {
        auto quant = llvm::cast<QuantAttr>(stored.getQuant());
        need(opsetFor(quant, isCoded(stored, quant), type), what);
      }
  };
  main.walk([&](Operation *op) {
    if (auto weight = dyn_cast<WeightOp>(op))
      needMatrix(SliceAttr::get(weight.getBankAttr()),
                 elementOf(weight.getResult()),
                 "weight '" + weight.getBank() + "'");
    auto apply = dyn_cast<ApplyOp>(op);
    if (!apply || isContrib(apply))
      return;
    std::string layer = "layer '" + layerName(apply) + "'";
    need(16, layer);
    auto pool = PoolOp::lookup(apply, apply.getPoolAttr(), tables);
    Type type = elementOf(apply.getTokens()[0]);
    for (ExpertOpInterface entry :
         pool ? pool.getEntries() : SmallVector<ExpertOpInterface>()) {
      if (auto expert = dyn_cast<ExpertOp>(entry.getOperation()))
        for (Attribute matrix :
             {expert.getGateAttr(), expert.getUpAttr(), expert.getDownAttr()})
          needMatrix(matrix, type, layer);
      if (auto null = dyn_cast<NullExpertOp>(entry.getOperation()))
        needMatrix(null.getMixAttr(), type, layer);
    }
  });
  if (opset == own)
    return success();
  WalkResult result = main.walk([&](NodeOp node) {
    const OpEntry *entry = findOp(node.getDomain(), node.getOpType());
    int64_t from = node.getVersion();
    if (!node.getDomain().empty() || !entry ||
        sameMeaning(node.getOpType(), from, sinceVersion(*entry, opset)) ||
        node.getOpType().ends_with("Softmax"))
      return WalkResult::advance();
    node.emitError() << reason << " needs opset " << opset << ", but this is a "
                     << node.getOpType() << " of version " << from
                     << ", which means something else there; convert "
                     << "the model to opset " << opset << " first";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

/// IR versions and the newest opset that came with each.
static int64_t irVersionFor(int64_t opset) {
  static constexpr struct {
    int64_t opset, version;
  } table[] = {{14, 7},  {18, 8},  {20, 9}, {22, 10},
               {23, 11}, {24, 12}, {27, 13}};
  for (auto entry : table)
    if (opset <= entry.opset)
      return entry.version;
  return kNewestIrVersion;
}

LogicalResult Exporter::exportSignature(func::FuncOp main) {
  // Names of the model's border are kept: they are taken first.
  for (unsigned i = 0; i < main.getNumResults(); ++i) {
    auto name = main.getResultAttrOfType<StringAttr>(i, "moe.name");
    names.insert(name ? name.getValue()
                      : StringRef("output_" + std::to_string(i)));
  }
  for (auto [i, argument] : llvm::enumerate(main.getArguments())) {
    auto type = dyn_cast<TensorType>(argument.getType());
    if (!type || !numberOfElement(type.getElementType()))
      return main.emitError("argument ")
             << i << " has type " << argument.getType()
             << ", which ONNX does not have";
    auto name = main.getArgAttrOfType<StringAttr>(i, "moe.name");
    std::string text =
        unique(name ? name.getValue() : "input_" + std::to_string(i));
    describe(*model.mutable_graph()->add_input(), text, type,
             main.getArgAttrOfType<ArrayAttr>(i, "moe.dims"));
    values[argument] = text;
  }
  return success();
}

static void rename(pb::Graph &graph,
                   const llvm::StringMap<std::string> &renames) {
  auto change = [&](std::string *name) {
    if (auto it = renames.find(*name); it != renames.end())
      *name = it->second;
  };
  for (pb::Node &node : *graph.mutable_node()) {
    for (std::string &name : *node.mutable_input())
      change(&name);
    for (std::string &name : *node.mutable_output())
      change(&name);
    for (pb::Attribute &attribute : *node.mutable_attribute())
      if (attribute.has_g())
        rename(*attribute.mutable_g(), renames);
  }
  for (pb::ValueInfo &info : *graph.mutable_output())
    change(info.mutable_name());
}

LogicalResult Exporter::exportResults(func::FuncOp main) {
  llvm::StringSet<> produced;
  for (const pb::Node &node : graph->node())
    for (const std::string &name : node.output())
      produced.insert(name);
  Operation *end = main.front().getTerminator();
  llvm::StringMap<std::string> renames;
  for (auto [i, value] : llvm::enumerate(end->getOperands())) {
    auto type = dyn_cast<TensorType>(value.getType());
    if (!type || !numberOfElement(type.getElementType()))
      return main.emitError("result ") << i << " has type " << value.getType()
                                       << ", which ONNX does not have";
    auto given = main.getResultAttrOfType<StringAttr>(i, "moe.name");
    std::string name = given ? given.str() : "output_" + std::to_string(i);
    std::string inner = nameOf(value);
    // Inputs, weights and what is returned twice need a node of their own.
    if (!produced.contains(inner) || renames.count(inner))
      inner = emit("Identity", {inner});
    renames[inner] = name;
    describe(*model.mutable_graph()->add_output(), name, type,
             main.getResultAttrOfType<ArrayAttr>(i, "moe.dims"));
  }
  auto outputs = model.graph().output();
  model.mutable_graph()->clear_output();
  rename(*model.mutable_graph(), renames);
  *model.mutable_graph()->mutable_output() = outputs;
  return success();
}

LogicalResult Exporter::run(StringRef path) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main || main.isExternal() || !main.getBody().hasOneBlock())
    return module.emitError("the module has no function @main to export");
  model.mutable_graph()->set_name("main");
  graph = model.mutable_graph();
  if (failed(readOpsets()) || failed(chooseOpset(main)) ||
      failed(exportSignature(main)))
    return failure();
  // Banks that the graph has as a whole come first: experts may cut from them.
  WalkResult stored = main.walk([&](WeightOp weight) {
    auto bank = symbols.lookup<BankOp>(weight.getBank());
    return weight->use_empty() || !bank || succeeded(exportBank(bank))
               ? WalkResult::advance()
               : WalkResult::interrupt();
  });
  if (stored.wasInterrupted() || failed(exportBlock(main.front())) ||
      failed(exportResults(main)))
    return failure();
  model.set_ir_version(irVersionFor(opset));
  model.set_producer_name("moe-opt");
  model.set_producer_version(MOE_VERSION);
  auto import = [&](StringRef domain, int64_t version) {
    pb::OperatorSet *set = model.add_opset_import();
    set->set_domain(domain.str());
    set->set_version(version);
  };
  import("", opset);
  SmallVector<StringRef> others(domains.keys());
  llvm::sort(others);
  for (StringRef domain : others)
    import(domain, domains[domain]);
  return writeModel(model, planned, path, module.getLoc(), options);
}

LogicalResult moe::onnx::exportModel(ModuleOp module, StringRef path,
                                     const ExportOptions &options) {
  return Exporter(module, options).run(path);
}
