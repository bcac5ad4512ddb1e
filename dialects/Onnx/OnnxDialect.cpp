#include "dialects/Onnx/OnnxOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace moe::onnx;

#include "dialects/Onnx/OnnxDialect.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/Onnx/OnnxOps.cpp.inc"

void OnnxDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/Onnx/OnnxOps.cpp.inc"
      >();
}

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

OpFoldResult NoneOp::fold(FoldAdaptor) { return UnitAttr::get(getContext()); }

static bool isTrue(Value value) {
  DenseElementsAttr constant;
  return matchPattern(value, m_Constant(&constant)) &&
         constant.getElementType().isInteger(1) &&
         constant.getNumElements() == 1 && constant.getSplatValue<bool>();
}

bool moe::onnx::conditionHolds(Value condition, Block &body) {
  if ((condition && !isTrue(condition)) || body.getNumArguments() < 2 ||
      body.getTerminator()->getNumOperands() == 0)
    return false;
  Value next = body.getTerminator()->getOperand(0);
  for (auto node = next.getDefiningOp<NodeOp>(); node && node.is("Identity");
       node = next.getDefiningOp<NodeOp>())
    next = node.getInputs()[0];
  return next == body.getArgument(1) || isTrue(next);
}

// onnx.node "Gemm" v 13 (%a, %b) {transB = 1 : i64} : (types) -> types
// onnx.node "com.microsoft" "MoE" v 1 (...) {...} : ...
// onnx.node "If" v 16 (%c) do {...} do {...} : ...
ParseResult NodeOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  std::string name, domain;
  int64_t version;
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  NamedAttrList attributes;
  FunctionType type;
  if (parser.parseString(&name))
    return failure();
  if (succeeded(parser.parseOptionalString(&domain)))
    std::swap(name, domain);
  if (parser.parseKeyword("v") || parser.parseInteger(version) ||
      parser.parseOperandList(operands, OpAsmParser::Delimiter::Paren) ||
      parser.parseOptionalAttrDict(attributes))
    return failure();
  while (succeeded(parser.parseOptionalKeyword("do")))
    if (parser.parseRegion(*result.addRegion()))
      return failure();
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseColonType(type) ||
      parser.resolveOperands(operands, type.getInputs(), location,
                             result.operands))
    return failure();
  result.addTypes(type.getResults());
  result.addAttribute("op_type", builder.getStringAttr(name));
  if (!domain.empty())
    result.addAttribute("domain", builder.getStringAttr(domain));
  result.addAttribute("version", builder.getI64IntegerAttr(version));
  if (!attributes.empty())
    result.addAttribute("onnx_attributes",
                        attributes.getDictionary(builder.getContext()));
  return success();
}

void NodeOp::print(OpAsmPrinter &printer) {
  printer << " ";
  if (!getDomain().empty()) {
    printer.printString(getDomain());
    printer << " ";
  }
  printer.printString(getOpType());
  printer << " v " << static_cast<int64_t>(getVersion()) << " (" << getInputs()
          << ")";
  if (getOnnxAttributes())
    printer.printOptionalAttrDict(getOnnxAttributes()->getValue());
  for (Region &body : getBodies()) {
    printer << " do ";
    printer.printRegion(body);
  }
  printer << " : ";
  printer.printFunctionalType(*this);
}

int64_t NodeOp::intAttribute(StringRef name, int64_t otherwise) {
  auto value = dyn_cast_or_null<IntegerAttr>(attribute(name));
  return value ? value.getInt() : otherwise;
}

double NodeOp::floatAttribute(StringRef name, double otherwise) {
  auto value = dyn_cast_or_null<FloatAttr>(attribute(name));
  return value ? value.getValueAsDouble() : otherwise;
}

StringRef NodeOp::stringAttribute(StringRef name, StringRef otherwise) {
  auto value = dyn_cast_or_null<StringAttr>(attribute(name));
  return value ? value.getValue() : otherwise;
}

SmallVector<int64_t> NodeOp::intsAttribute(StringRef name) {
  auto value = dyn_cast_or_null<DenseI64ArrayAttr>(attribute(name));
  return value ? SmallVector<int64_t>(value.asArrayRef())
               : SmallVector<int64_t>();
}
