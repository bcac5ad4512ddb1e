// Nodes, constants and subgraphs.
#include "dialects/MoE/MoEOps.h"
#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/ExporterImpl.h"
#include "frontends/ONNX/OpRegistry.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

std::string moe::onnx::rawBytes(DenseElementsAttr value) {
  Type element = value.getElementType();
  std::string bytes;
  if (element.isInteger(1)) {
    for (bool b : value.getValues<bool>())
      bytes += static_cast<char>(b);
    return bytes;
  }
  unsigned bits = element.getIntOrFloatBitWidth();
  if (bits >= 8) {
    // A splat has one element's bytes.
    for (int64_t n = value.isSplat() ? value.getNumElements() : 1; n > 0; --n)
      bytes.append(value.getRawData().begin(), value.getRawData().end());
    return bytes;
  }
  // Low bits first.
  uint64_t i = 0;
  auto put = [&](const APInt &pattern) {
    uint64_t at = i++ * bits;
    bytes.resize(at / 8 + 1);
    bytes[at / 8] |= static_cast<char>(pattern.getZExtValue() << (at % 8));
  };
  if (isa<FloatType>(element))
    for (const APFloat &number : value.getValues<APFloat>())
      put(number.bitcastToAPInt());
  else
    for (const APInt &number : value.getValues<APInt>())
      put(number);
  return bytes;
}

static void fill(pb::Tensor &tensor, DenseElementsAttr value) {
  for (int64_t size : cast<ShapedType>(value.getType()).getShape())
    tensor.add_dims(size);
  tensor.set_data_type(*numberOfElement(value.getElementType()));
  tensor.set_raw_data(rawBytes(value));
}

/// Versions in which an operator's inputs or attributes changed their meaning,
/// of those that are not converted (see exportNode).
bool moe::onnx::sameMeaning(StringRef op, int64_t from, int64_t to) {
  static constexpr struct {
    StringRef op;
    int64_t version;
  } breaks[] = {{"Softmax", 13},
                {"LogSoftmax", 13},
                {"Slice", 10},
                {"TopK", 10},
                {"Clip", 11}};
  for (auto entry : breaks)
    if (entry.op == op && std::min(from, to) < entry.version &&
        entry.version <= std::max(from, to))
      return false;
  return true;
}

std::string Exporter::constant(DenseElementsAttr value, StringRef name) {
  std::string &known = constants[value];
  if (!known.empty())
    return known;
  known = unique(name);
  pb::Tensor *tensor = model.mutable_graph()->add_initializer();
  fill(*tensor, value);
  tensor->set_name(known);
  return known;
}

SmallVector<std::string>
Exporter::emit(StringRef op, ArrayRef<std::string> inputs, unsigned outputs,
               ArrayRef<NamedAttribute> attributes, StringRef domain) {
  pb::Node *node = graph->add_node();
  node->set_op_type(op.str());
  node->set_domain(domain.str());
  std::string name = unique((prefix + op).str());
  node->set_name(name);
  for (const std::string &input : inputs)
    node->add_input(input);
  for (NamedAttribute attribute : attributes)
    (void)exportAttribute(attribute.getName(), attribute.getValue(), *node,
                          module);
  SmallVector<std::string> results;
  for (unsigned i = 0; i < outputs; ++i) {
    results.push_back(unique(name + "_output_" + std::to_string(i)));
    node->add_output(results.back());
  }
  return results;
}

std::string Exporter::cast(const std::string &value, Type from, Type to) {
  if (from == to)
    return value;
  return emit("Cast", {value}, attribute("to", *numberOfElement(to)));
}

/// A reduction over one axis, which newer opsets take as an input.
std::string Exporter::reduce(StringRef op, const std::string &value,
                             int64_t axis, bool keep) {
  auto kept = attribute("keepdims", keep);
  if (op == "ReduceSum" || opset >= 18)
    return emit(op, {value, ints({axis})}, kept);
  return emit(op, {value},
              {kept, builder.getNamedAttr(
                         "axes", builder.getDenseI64ArrayAttr({axis}))});
}

/// The name of a value that has been exported.
std::string Exporter::nameOf(Value value) {
  auto it = values.find(value);
  assert(it != values.end() && "values are exported in their order");
  return it->second;
}

LogicalResult Exporter::exportAttribute(StringRef name, Attribute value,
                                        pb::Node &to, Operation *op) {
  pb::Attribute *attribute = to.add_attribute();
  attribute->set_name(name.str());
  if (auto f = dyn_cast<FloatAttr>(value)) {
    attribute->set_type(1);
    attribute->set_f(static_cast<float>(f.getValueAsDouble()));
  } else if (auto i = dyn_cast<IntegerAttr>(value)) {
    attribute->set_type(2);
    attribute->set_i(i.getInt());
  } else if (auto s = dyn_cast<StringAttr>(value)) {
    attribute->set_type(3);
    attribute->set_s(s.str());
  } else if (auto t = dyn_cast<DenseElementsAttr>(value)) {
    attribute->set_type(4);
    fill(*attribute->mutable_t(), t);
  } else if (auto floats = dyn_cast<DenseF32ArrayAttr>(value)) {
    attribute->set_type(6);
    for (float number : floats.asArrayRef())
      attribute->add_floats(number);
  } else if (auto ints = dyn_cast<DenseI64ArrayAttr>(value)) {
    attribute->set_type(7);
    for (int64_t number : ints.asArrayRef())
      attribute->add_ints(number);
  } else if (auto strings = dyn_cast<ArrayAttr>(value);
             strings && llvm::all_of(strings, llvm::IsaPred<StringAttr>)) {
    attribute->set_type(8);
    for (auto text : strings.getAsRange<StringAttr>())
      attribute->add_strings(text.str());
  } else {
    return op->emitError("attribute '")
           << name << "' is " << value << ", which ONNX cannot store";
  }
  return success();
}

LogicalResult Exporter::exportBody(Region &body, StringRef attribute,
                                   pb::Node &to) {
  pb::Attribute *attr = to.add_attribute();
  attr->set_name(attribute.str());
  attr->set_type(5);
  pb::Graph *outer = graph;
  graph = attr->mutable_g();
  graph->set_name(unique(attribute));
  Block &block = body.front();
  for (BlockArgument argument : block.getArguments()) {
    values[argument] = unique("argument");
    describe(*graph->add_input(), values[argument], argument.getType());
  }
  if (failed(exportBlock(block)))
    return failure();
  llvm::StringSet<> produced;
  for (const pb::Node &node : graph->node())
    for (const std::string &name : node.output())
      produced.insert(name);
  for (Value value : block.getTerminator()->getOperands()) {
    if (!isa<TensorType>(value.getType()))
      return block.getTerminator()->emitError(
          "a subgraph yields an absent value");
    std::string name = nameOf(value);
    // What a subgraph yields, it must have made.
    if (!produced.contains(name))
      name = emit("Identity", {name});
    produced.erase(name);
    describe(*graph->add_output(), name, value.getType());
  }
  graph = outer;
  return success();
}

/// The name that the importer's location gives a node.
static StringRef nameIn(Location loc) {
  StringRef found;
  loc->walk([&](Location part) {
    if (auto name = dyn_cast<NameLoc>(part)) {
      found = name.getName();
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return found;
}

LogicalResult Exporter::exportNode(NodeOp node) {
  StringRef op = node.getOpType(), domain = node.getDomain();
  const OpEntry *entry = findOp(domain, op);
  if (!entry)
    return node.emitError("operator ")
           << op << " of domain '" << (domain.empty() ? "ai.onnx" : domain)
           << "' is unknown (moe-opt --list-ops lists those that are known)";
  if (!domain.empty())
    domains.try_emplace(domain, 1);
  int64_t imported = domain.empty() ? opset : domains[domain];
  int64_t from = node.getVersion(), to = sinceVersion(*entry, imported);
  auto fail = [&]() {
    return node.emitError("operator ")
           << op << " version " << from << " cannot be written in opset "
           << imported;
  };
  if (!to)
    return fail();

  std::string name =
      unique(nameIn(node.getLoc()).empty() ? op : nameIn(node.getLoc()));
  SmallVector<std::string> inputs;
  for (Value input : node.getInputs())
    inputs.push_back(nameOf(input));
  NamedAttrList attributes(node.getOnnxAttributesAttr());
  // Lists that have become inputs.
  for (StringRef list : {"axes", "split"}) {
    Attribute value = attributes.get(list);
    if (!value || attributeType(*entry, list, to))
      continue;
    if (inputs.size() != 1 || !isa<DenseI64ArrayAttr>(value))
      return fail();
    inputs.push_back(ints(llvm::cast<DenseI64ArrayAttr>(value)));
    attributes.erase(list);
  }
  if (op == "Split" && domain.empty() && to >= 18 && from < 18 &&
      inputs.size() == 1)
    attributes.set("num_outputs",
                   builder.getI64IntegerAttr(node.getNumResults()));
  if (from != to && domain.empty() && !sameMeaning(op, from, to)) {
    // Over the last dimension, old and new softmax are the same.
    auto type = dyn_cast<RankedTensorType>(node.getInputs()[0].getType());
    int64_t axis = node.intAttribute("axis", from < 13 ? 1 : -1);
    if (!op.ends_with("Softmax") || !type ||
        (axis != -1 && axis != type.getRank() - 1))
      return fail();
    attributes.set("axis", builder.getI64IntegerAttr(type.getRank() - 1));
  }

  // Subgraphs first: they may add to the graph's list of nodes.
  pb::Node made;
  made.set_op_type(op.str());
  made.set_domain(domain.str());
  made.set_name(name);
  for (const std::string &input : inputs)
    made.add_input(input);
  for (NamedAttribute attribute : attributes) {
    if (!attributeType(*entry, attribute.getName(), to))
      return fail();
    if (failed(exportAttribute(attribute.getName(), attribute.getValue(), made,
                               node)))
      return failure();
  }
  SmallVector<StringRef> bodies;
  if (op == "If")
    bodies = {"then_branch", "else_branch"};
  else if (op == "Loop")
    bodies = {"body"};
  if (bodies.size() != node.getBodies().size())
    return node.emitError("operator ")
           << op << " has " << node.getBodies().size() << " subgraphs, not "
           << bodies.size();
  for (auto [body, attribute] : llvm::zip(node.getBodies(), bodies))
    if (failed(exportBody(body, attribute, made)))
      return failure();
  for (auto [i, result] : llvm::enumerate(node.getResults())) {
    std::string output;
    if (!isa<NoneType>(result.getType()))
      output = unique(name + "_output_" + std::to_string(i));
    values[result] = output;
    made.add_output(output);
  }
  *graph->add_node() = std::move(made);
  return success();
}

std::string Exporter::plan(PlannedWeight weight) {
  std::string &known = plannedNames[weight.key()];
  if (!known.empty())
    return known;
  known = weight.name = unique(weight.name);
  planned.push_back(std::move(weight));
  return known;
}

LogicalResult Exporter::exportWeight(WeightOp weight) {
  auto bank = symbols.lookup<BankOp>(weight.getBank());
  if (!bank)
    return weight.emitOpError("reads ")
           << weight.getBankAttr() << ", which is not a moe.bank";
  auto name = exportBank(bank);
  if (failed(name))
    return failure();
  if (!turned.contains(bank)) {
    values[weight.getResult()] = *name;
    return success();
  }
  // A transpose of what is stored the other way round is what is stored.
  auto perm = builder.getDenseI64ArrayAttr({1, 0});
  for (Operation *user : weight->getUsers()) {
    auto node = dyn_cast<NodeOp>(user);
    if (node && node.is("Transpose") && node.attribute("perm") == perm)
      values[node.getResult(0)] = *name;
    else if (!values.count(weight.getResult()))
      values[weight.getResult()] =
          emit("Transpose", {*name}, builder.getNamedAttr("perm", perm));
  }
  return success();
}

LogicalResult Exporter::exportOp(Operation &op) {
  if (isOpTriviallyDead(&op))
    return success();
  if (auto node = dyn_cast<NodeOp>(op))
    return node->getNumResults() && values.count(node.getResult(0))
               ? success()
               : exportNode(node);
  if (auto constantOp = dyn_cast<ConstantOp>(op)) {
    auto value = dyn_cast<DenseElementsAttr>(constantOp.getValue());
    if (!value)
      return op.emitError("holds numbers in a form that cannot be exported");
    StringRef name = nameIn(op.getLoc());
    values[constantOp.getResult()] =
        constant(value, name.empty() ? "constant" : name);
    return success();
  }
  if (auto none = dyn_cast<NoneOp>(op)) {
    values[none.getResult()] = "";
    return success();
  }
  if (auto weight = dyn_cast<WeightOp>(op))
    return exportWeight(weight);
  // What is known of a type, and nothing of the values.
  if (op.getName().getStringRef() == "tensor.cast") {
    values[op.getResult(0)] = nameOf(op.getOperand(0));
    return success();
  }
  if (auto router = dyn_cast<RouterOp>(op))
    return exportRouter(router);
  if (auto gate = dyn_cast<GateOp>(op))
    return exportGate(gate);
  if (auto apply = dyn_cast<ApplyOp>(op))
    return exportApply(apply);
  return op.emitError("ONNX cannot express ") << op.getName();
}

LogicalResult Exporter::exportBlock(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(exportOp(op)))
      return failure();
  return success();
}
