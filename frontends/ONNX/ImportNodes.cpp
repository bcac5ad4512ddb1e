#include "frontends/ONNX/ImporterImpl.h"

#include "frontends/ONNX/GraphSort.h"
#include "frontends/ONNX/OpRegistry.h"

using namespace mlir;
using namespace moe::onnx;

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

  auto types = importRegions(node, scope, state, facts);
  if (succeeded(types) && state.regions.empty())
    types = inferTypes(facts);
  if (failed(types))
    return failure();
  for (auto [i, name] : llvm::enumerate(node.output()))
    if (name.empty())
      (*types)[i] = builder.getNoneType();
  state.addTypes(*types);
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
