#include "frontends/ONNX/Importer.h"

#include "dialects/MoE/MoEOps.h"
#include "dialects/Onnx/OnnxOps.h"
#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/GraphSort.h"
#include "frontends/ONNX/ModelFile.h"
#include "frontends/ONNX/OpRegistry.h"
#include "frontends/ONNX/TensorImport.h"
#include "frontends/ONNX/TypeInference.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace moe::onnx;

/// The default domain has two spellings.
static StringRef plainDomain(StringRef domain) {
  return domain == "ai.onnx" ? StringRef() : domain;
}

namespace {
using Opsets = llvm::StringMap<int64_t>;
using AttributeMap = llvm::StringMap<const pb::Attribute *>;

/// Names of one graph or function body. A function sees nothing of its
/// caller; a subgraph sees all of the graph around it.
struct Scope {
  Scope *outer = nullptr;
  const Opsets *opsets = nullptr;
  /// Attributes of the function call being inlined, or null.
  const AttributeMap *arguments = nullptr;
  llvm::StringMap<Value> values;
  llvm::StringMap<const pb::Tensor *> tensors;
};

class Importer {
public:
  Importer(const ModelFile &file, StringRef path, MLIRContext &context)
      : file(file), model(file.model), context(context), builder(&context),
        path(path), archive(llvm::sys::path::filename(path)),
        files(llvm::sys::path::parent_path(path).str()) {}

  FailureOr<ImportedModel> run();

private:
  InFlightDiagnostic error() {
    return emitError(FileLineColLoc::get(&context, path, 0, 0));
  }
  InFlightDiagnostic nodeError();

  LogicalResult importSignature(const pb::Graph &graph, Scope &scope,
                                func::FuncOp function);
  LogicalResult importGraph(const pb::Graph &graph, Scope &scope);
  LogicalResult
  importNodes(const google::protobuf::RepeatedPtrField<pb::Node> &nodes,
              Scope &scope);
  LogicalResult importNode(const pb::Node &node, Scope &scope);
  LogicalResult importCall(const pb::Node &node, const pb::Function &callee,
                           Scope &scope);
  LogicalResult importRegions(const pb::Node &node, Scope &scope,
                              OperationState &state);
  LogicalResult define(StringRef name, Value value, Scope &scope);
  /// The value of `name`; where there is none, `missing` starts the message
  /// that the name then continues.
  FailureOr<Value> lookup(StringRef name, Scope &scope,
                          function_ref<void()> missing);
  FailureOr<Value> materialize(const pb::Tensor &tensor, bool mainGraph);
  void rememberIntegers(Value value, DenseElementsAttr constant);
  FailureOr<Attribute> importAttribute(const pb::Attribute &attribute);
  FailureOr<Type> importType(const pb::ValueInfo &value,
                             SmallVectorImpl<Attribute> *symbols);
  const pb::Function *findFunction(const pb::Node &node);
  LogicalResult importArchives(ImportedModel &result);

  const ModelFile &file;
  const pb::Model &model;
  MLIRContext &context;
  OpBuilder builder;
  StringRef path;
  std::string archive;
  ExternalFiles files;
  ModuleOp module;
  OpBuilder weights{static_cast<MLIRContext *>(nullptr)};
  llvm::StringMap<unsigned> bankNames;
  llvm::DenseMap<const pb::Tensor *, Value> materialized;
  llvm::DenseMap<Value, PartialInts> integers;
  SmallVector<const pb::Function *> calls;
  // For messages.
  const pb::Node *current = nullptr;
  int currentIndex = 0;
  int64_t currentOpset = 0;
};
} // namespace

InFlightDiagnostic Importer::nodeError() {
  InFlightDiagnostic diagnostic =
      emitError(FileLineColLoc::get(&context, path, currentIndex + 1, 0));
  diagnostic << "node " << currentIndex + 1;
  if (!current->name().empty())
    diagnostic << " '" << current->name() << "'";
  diagnostic << " (";
  if (!current->domain().empty())
    diagnostic << current->domain() << ".";
  diagnostic << current->op_type();
  if (currentOpset)
    diagnostic << ", opset " << currentOpset;
  return std::move(diagnostic << "): ");
}

// --- values -----------------------------------------------------------------

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

// --- attributes
// ---------------------------------------------------------------

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

static char letterOf(const pb::Attribute &attribute) {
  switch (attribute.type()) {
  case 1:
    return 'f';
  case 2:
    return 'i';
  case 3:
    return 's';
  case 4:
    return 't';
  case 5:
    return 'g';
  case 6:
    return 'F';
  case 7:
    return 'I';
  case 8:
    return 'S';
  default:
    return '?';
  }
}

// --- nodes ------------------------------------------------------------------

const pb::Function *Importer::findFunction(const pb::Node &node) {
  for (const pb::Function &function : model.functions())
    if (function.name() == node.op_type() &&
        plainDomain(function.domain()) == plainDomain(node.domain()) &&
        function.overload() == node.overload())
      return &function;
  return nullptr;
}

/// Inlines a call of a model-local function.
LogicalResult Importer::importCall(const pb::Node &node,
                                   const pb::Function &callee, Scope &scope) {
  if (llvm::is_contained(calls, &callee))
    return nodeError() << "calls itself: functions may not be recursive";
  if (node.input_size() > callee.input_size() ||
      node.output_size() > callee.output_size())
    return nodeError() << "has " << node.input_size() << " inputs and "
                       << node.output_size() << " outputs, the function has "
                       << callee.input_size() << " and "
                       << callee.output_size();
  Scope inner;
  Opsets opsets;
  for (const pb::OperatorSet &set : callee.opset_import())
    opsets[plainDomain(set.domain())] = set.version();
  inner.opsets = &opsets;
  AttributeMap arguments;
  for (const pb::Attribute &attribute : callee.attribute_proto())
    arguments[attribute.name()] = &attribute; // defaults
  for (const pb::Attribute &attribute : node.attribute()) {
    const pb::Attribute *given = &attribute;
    if (!attribute.ref_attr_name().empty()) {
      given = scope.arguments
                  ? scope.arguments->lookup(attribute.ref_attr_name())
                  : nullptr;
      if (!given)
        continue; // absent outside, so absent inside
    }
    arguments[attribute.name()] = given;
  }
  inner.arguments = &arguments;
  for (auto [i, name] : llvm::enumerate(callee.input())) {
    Value value;
    if (static_cast<int>(i) < node.input_size() && !node.input(i).empty()) {
      auto found = lookup(node.input(i), scope, [&] {
        nodeError() << "reads '" << node.input(i) << "', which nothing defines";
      });
      if (failed(found))
        return failure();
      value = *found;
    } else {
      value = NoneOp::create(builder, builder.getUnknownLoc(),
                             builder.getNoneType());
    }
    inner.values[name] = value;
  }
  calls.push_back(&callee);
  const pb::Node *outer = current;
  int outerIndex = currentIndex;
  if (failed(importNodes(callee.node(), inner)))
    return failure();
  calls.pop_back();
  current = outer, currentIndex = outerIndex;
  for (auto [i, name] : llvm::enumerate(node.output())) {
    auto value = lookup(callee.output(i), inner, [&] {
      nodeError() << "calls a function whose output '" << callee.output(i)
                  << "' is never produced";
    });
    if (failed(value))
      return failure();
    if (failed(define(name, *value, scope)))
      return failure();
  }
  return success();
}

/// Subgraphs, in the order of the operator's definition.
LogicalResult Importer::importRegions(const pb::Node &node, Scope &scope,
                                      OperationState &state) {
  SmallVector<StringRef> names;
  if (node.op_type() == "If")
    names = {"then_branch", "else_branch"};
  for (StringRef name : names) {
    const pb::Attribute *body = nullptr;
    for (const pb::Attribute &attribute : node.attribute())
      if (attribute.name() == name && attribute.has_g())
        body = &attribute;
    if (!body)
      return nodeError() << "has no " << name;
    Region *region = state.addRegion();
    OpBuilder::InsertionGuard guard(builder);
    builder.createBlock(region);
    Scope inner;
    inner.outer = &scope;
    inner.opsets = scope.opsets;
    inner.arguments = scope.arguments;
    const pb::Node *outer = current;
    int outerIndex = currentIndex;
    if (failed(importGraph(body->g(), inner)))
      return failure();
    current = outer, currentIndex = outerIndex;
    SmallVector<Value> results;
    for (const pb::ValueInfo &output : body->g().output()) {
      auto value = lookup(output.name(), inner, [&] {
        nodeError() << name << " never produces its output '" << output.name()
                    << "'";
      });
      if (failed(value))
        return failure();
      results.push_back(*value);
    }
    YieldOp::create(builder, state.location, results);
  }
  return success();
}

/// What both branches of an If promise of one result.
static Type join(Type a, Type b) {
  auto x = dyn_cast<RankedTensorType>(a), y = dyn_cast<RankedTensorType>(b);
  if (a == b || !x || !y || x.getRank() != y.getRank())
    return a == b ? a
                  : Type(UnrankedTensorType::get(
                        cast<TensorType>(a).getElementType()));
  SmallVector<int64_t> shape;
  for (auto [m, n] : llvm::zip(x.getShape(), y.getShape()))
    shape.push_back(m == n ? m : ShapedType::kDynamic);
  return RankedTensorType::get(shape, x.getElementType());
}

LogicalResult Importer::importNode(const pb::Node &node, Scope &scope) {
  if (const pb::Function *callee = findFunction(node))
    return importCall(node, *callee, scope);
  StringRef domain = plainDomain(node.domain());
  auto opset = scope.opsets->find(domain);
  if (opset == scope.opsets->end())
    return nodeError() << "belongs to domain '"
                       << (domain.empty() ? "ai.onnx" : domain)
                       << "', of which the model imports no opset";
  currentOpset = opset->second;
  const OpEntry *entry = findOp(domain, node.op_type());
  if (!entry)
    return nodeError() << "operator " << node.op_type() << " of domain '"
                       << (domain.empty() ? "ai.onnx" : domain)
                       << "' is not supported (moe-opt --list-ops lists those "
                          "that are)";
  int64_t version = sinceVersion(*entry, currentOpset);
  if (!version)
    return nodeError() << "operator " << node.op_type()
                       << " does not exist in this opset; its versions are "
                       << entry->versions;

  auto count = [&](StringRef what, int n, int low, int high) -> LogicalResult {
    if (n >= low && (high < 0 || n <= high))
      return success();
    InFlightDiagnostic diagnostic = nodeError();
    diagnostic << "operator " << node.op_type() << " has " << n << " " << what
               << ", but takes " << low;
    if (high < 0)
      diagnostic << " or more";
    else if (high != low)
      diagnostic << " to " << high;
    return diagnostic;
  };
  if (failed(count("inputs", node.input_size(), entry->minInputs,
                   entry->maxInputs)) ||
      failed(count("outputs", node.output_size(), entry->minOutputs,
                   entry->maxOutputs)))
    return failure();

  Location loc =
      NameLoc::get(builder.getStringAttr(node.name()),
                   FileLineColLoc::get(&context, path, currentIndex + 1, 0));
  OperationState state(loc, NodeOp::getOperationName());
  NamedAttrList attributes;
  for (const pb::Attribute &given : node.attribute()) {
    const pb::Attribute *attribute = &given;
    if (!given.ref_attr_name().empty()) {
      attribute = scope.arguments
                      ? scope.arguments->lookup(given.ref_attr_name())
                      : nullptr;
      if (!attribute)
        continue;
    }
    char wanted = attributeType(*entry, given.name(), version);
    if (!wanted)
      return nodeError() << "operator " << node.op_type() << " version "
                         << version << " has no attribute '" << given.name()
                         << "'";
    // Old files leave the type out where the value says it.
    if (attribute->has_type() && wanted != letterOf(*attribute))
      return nodeError() << "attribute '" << given.name()
                         << "' has the wrong type (" << attribute->type()
                         << ")";
    if (wanted == 'g')
      continue;
    auto value = importAttribute(*attribute);
    if (failed(value))
      return failure();
    attributes.set(given.name(), *value);
  }

  NodeFacts facts;
  facts.context = &context;
  facts.domain = domain;
  facts.op = node.op_type();
  facts.version = version;
  facts.attributes = attributes.getDictionary(&context);
  facts.numOutputs = node.output_size();
  auto report = [&]() -> InFlightDiagnostic { return nodeError(); };
  facts.emitError = report;
  for (auto [i, name] : llvm::enumerate(node.input())) {
    Value value;
    if (name.empty()) {
      if (static_cast<int>(i) < entry->minInputs && node.domain().empty())
        return nodeError() << "operator " << node.op_type()
                           << " leaves out input " << i << ", which it needs";
      value = NoneOp::create(builder, loc, builder.getNoneType());
    } else {
      auto found = lookup(name, scope, [&] {
        nodeError() << "reads '" << name << "', which nothing defines";
      });
      if (failed(found))
        return failure();
      value = *found;
    }
    state.addOperands(value);
    facts.inputs.push_back(value.getType());
    auto known = integers.find(value);
    facts.values.push_back(
        known == integers.end() ? std::nullopt : std::optional(known->second));
  }

  if (node.op_type() == "Constant" && domain.empty()) {
    Attribute value = facts.attributes.get("value");
    auto scalar = [&](Type element, Attribute attribute) {
      return DenseElementsAttr::get(RankedTensorType::get({}, element),
                                    attribute);
    };
    if (Attribute f = facts.attributes.get("value_float"))
      value = scalar(builder.getF32Type(), f);
    else if (Attribute i = facts.attributes.get("value_int"))
      value = scalar(builder.getI64Type(), i);
    else if (auto ints = facts.integers("value_ints"))
      value = builder.getI64TensorAttr(*ints);
    else if (auto floats = dyn_cast_or_null<DenseF32ArrayAttr>(
                 facts.attributes.get("value_floats")))
      value = DenseElementsAttr::get(
          RankedTensorType::get({floats.size()}, builder.getF32Type()),
          floats.asArrayRef());
    auto dense = dyn_cast_or_null<DenseElementsAttr>(value);
    if (!dense)
      return nodeError() << "has no numeric value";
    Value result = ConstantOp::create(builder, loc, dense);
    rememberIntegers(result, dense);
    return define(node.output(0), result, scope);
  }

  if (failed(importRegions(node, scope, state)))
    return failure();
  SmallVector<Type> types;
  if (!state.regions.empty()) {
    for (int i = 0; i < node.output_size(); ++i) {
      Type joined;
      for (auto &region : state.regions) {
        auto yield = cast<YieldOp>(region->front().getTerminator());
        if (static_cast<int>(yield.getValues().size()) != node.output_size())
          return nodeError()
                 << "has " << node.output_size() << " outputs, but a branch of "
                 << yield.getValues().size();
        Type type = yield.getValues()[i].getType();
        joined = joined ? join(joined, type) : type;
      }
      types.push_back(joined);
    }
  } else {
    auto inferred = inferTypes(facts);
    if (failed(inferred))
      return failure();
    types = *inferred;
  }
  for (auto [i, name] : llvm::enumerate(node.output()))
    if (name.empty())
      types[i] = builder.getNoneType();
  state.addTypes(types);
  state.addAttribute("op_type", builder.getStringAttr(node.op_type()));
  if (!domain.empty())
    state.addAttribute("domain", builder.getStringAttr(domain));
  state.addAttribute("version", builder.getI64IntegerAttr(version));
  if (!attributes.empty())
    state.addAttribute("onnx_attributes", facts.attributes);
  Operation *op = builder.create(state);
  if (op->getNumResults())
    if (auto known = inferInts(facts, op->getResult(0).getType()))
      integers[op->getResult(0)] = *known;
  for (auto [i, name] : llvm::enumerate(node.output()))
    if (failed(define(name, op->getResult(i), scope)))
      return failure();
  return success();
}

LogicalResult
Importer::importNodes(const google::protobuf::RepeatedPtrField<pb::Node> &nodes,
                      Scope &scope) {
  std::string cycle;
  SmallVector<int> order = sortNodes(nodes, cycle);
  if (!cycle.empty())
    return error() << "the graph has a cycle: " << cycle;
  for (int i : order) {
    current = &nodes[i], currentIndex = i, currentOpset = 0;
    if (failed(importNode(nodes[i], scope)))
      return failure();
  }
  return success();
}

LogicalResult Importer::importGraph(const pb::Graph &graph, Scope &scope) {
  if (graph.sparse_initializer_size())
    return error() << "has a sparse initializer '"
                   << graph.sparse_initializer(0).values().name()
                   << "'; sparse tensors are not supported";
  for (const pb::Tensor &tensor : graph.initializer()) {
    if (!scope.tensors.try_emplace(tensor.name(), &tensor).second)
      return error() << "has two initializers of the name '" << tensor.name()
                     << "'";
  }
  return importNodes(graph.node(), scope);
}

LogicalResult Importer::importSignature(const pb::Graph &graph, Scope &scope,
                                        func::FuncOp function) {
  Block *body = function.addEntryBlock();
  builder.setInsertionPointToEnd(body);
  for (const pb::ValueInfo &input : graph.input()) {
    // Inputs with a default are constants: see the README.
    if (llvm::any_of(graph.initializer(), [&](const pb::Tensor &tensor) {
          return tensor.name() == input.name();
        }))
      continue;
    SmallVector<Attribute> symbols;
    auto type = importType(input, &symbols);
    if (failed(type))
      return failure();
    unsigned index = function.getNumArguments();
    if (failed(function.insertArgument(
            index, *type,
            builder.getDictionaryAttr(
                {builder.getNamedAttr("moe.name",
                                      builder.getStringAttr(input.name())),
                 builder.getNamedAttr("moe.dims",
                                      builder.getArrayAttr(symbols))}),
            function.getLoc())))
      return failure();
    if (!scope.values.try_emplace(input.name(), function.getArgument(index))
             .second)
      return error() << "has two inputs of the name '" << input.name() << "'";
  }
  return success();
}

LogicalResult Importer::importArchives(ImportedModel &result) {
  SmallVector<Attribute> list;
  auto add = [&](StringRef name, uint64_t size, StringRef where) {
    list.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr("name", builder.getStringAttr(name)),
         builder.getNamedAttr("size", builder.getI64IntegerAttr(size))}));
    result.archives[name] = where.str();
  };
  uint64_t size = 0;
  if (!llvm::sys::fs::file_size(path, size))
    add(archive, size, path);
  SmallVector<StringRef> locations(files.files().keys());
  llvm::sort(locations);
  for (StringRef location : locations) {
    const ExternalFiles::File &found = files.files().find(location)->second;
    add(location, found.size, found.path);
  }
  module->setAttr("moe.archives", builder.getArrayAttr(list));
  return success();
}

FailureOr<ImportedModel> Importer::run() {
  context.loadDialect<OnnxDialect, moe::MoEDialect, func::FuncDialect>();
  Opsets opsets;
  for (const pb::OperatorSet &set : model.opset_import()) {
    StringRef domain = plainDomain(set.domain());
    int64_t newest = domain.empty() ? kNewestOpset : INT64_MAX;
    if (set.version() < 1 || set.version() > newest ||
        (domain.empty() && set.version() < kOldestOpset))
      return error() << "imports opset " << set.version() << " of domain '"
                     << (domain.empty() ? "ai.onnx" : domain) << "'; versions "
                     << kOldestOpset << " to " << kNewestOpset << " are known";
    opsets[domain] = set.version();
  }
  Location loc = FileLineColLoc::get(&context, path, 0, 0);
  ImportedModel result;
  result.module = ModuleOp::create(loc);
  module = *result.module;
  builder.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(builder, loc, "main",
                                       builder.getFunctionType({}, {}));
  Scope scope;
  scope.opsets = &opsets;
  if (failed(importSignature(model.graph(), scope, function)))
    return failure();
  weights = OpBuilder::atBlockBegin(&function.front());
  // Weights go before everything else, in the order of their first use.
  Operation *marker = NoneOp::create(weights, loc, builder.getNoneType());
  weights.setInsertionPoint(marker);
  builder.setInsertionPointToEnd(&function.front());
  if (failed(importGraph(model.graph(), scope)))
    return failure();

  SmallVector<Value> results;
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> resultAttributes;
  for (const pb::ValueInfo &output : model.graph().output()) {
    auto value = lookup(output.name(), scope, [&] {
      error() << "output '" << output.name() << "' is never produced";
    });
    if (failed(value))
      return failure();
    SmallVector<Attribute> symbols;
    auto declared = importType(output, &symbols);
    if (failed(declared))
      return failure();
    auto type = dyn_cast<TensorType>((*value).getType());
    if (!type ||
        type.getElementType() != cast<TensorType>(*declared).getElementType())
      return error() << "output '" << output.name() << "' is declared as "
                     << nameOfElement(
                            cast<TensorType>(*declared).getElementType())
                     << ", but is "
                     << (type ? nameOfElement(type.getElementType())
                              : "absent");
    results.push_back(*value);
    types.push_back(type);
    resultAttributes.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr("moe.name", builder.getStringAttr(output.name())),
         builder.getNamedAttr("moe.dims", builder.getArrayAttr(symbols))}));
  }
  func::ReturnOp::create(builder, loc, results);
  marker->erase();
  function.setType(
      builder.getFunctionType(function.front().getArgumentTypes(), types));
  function.setAllResultAttrs(resultAttributes);

  SmallVector<NamedAttribute> imports;
  for (auto &set : opsets)
    imports.push_back(
        builder.getNamedAttr(set.first().empty() ? "ai.onnx" : set.first(),
                             builder.getI64IntegerAttr(set.second)));
  module->setAttr("onnx.opset", builder.getDictionaryAttr(imports));
  module->setAttr("onnx.producer", builder.getStringAttr(
                                       model.producer_name() +
                                       (model.producer_version().empty()
                                            ? ""
                                            : " " + model.producer_version())));
  if (failed(importArchives(result)))
    return failure();
  return result;
}

FailureOr<ImportedModel> moe::onnx::importBuffer(StringRef buffer,
                                                 StringRef path,
                                                 MLIRContext &context) {
  auto file = ModelFile::parse(buffer, [&] {
    return emitError(FileLineColLoc::get(&context, path, 0, 0));
  });
  if (!file)
    return failure();
  return Importer(*file, path, context).run();
}

FailureOr<ImportedModel> moe::onnx::importModel(StringRef path,
                                                MLIRContext &context) {
  auto fail = [&](const llvm::Twine &why) {
    return emitError(FileLineColLoc::get(&context, path, 0, 0)) << why;
  };
  llvm::sys::fs::file_status status;
  if (std::error_code error = llvm::sys::fs::status(path, status))
    return fail("cannot be read: " + error.message());
  if (status.type() == llvm::sys::fs::file_type::directory_file)
    return fail("is a directory, not an ONNX file");
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fail("cannot be read: " + buffer.getError().message());
  return importBuffer((*buffer)->getBuffer(), path, context);
}
