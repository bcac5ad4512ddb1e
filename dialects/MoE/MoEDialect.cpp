#include "dialects/MoE/MoEOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

#include "dialects/MoE/MoEDialect.cpp.inc"

// Directives of the ops' formats, which the generated parsers call.

static ParseResult parseSlice(OpAsmParser &parser, SliceAttr &slice) {
  return parseSliceBody(parser, slice);
}

static void printSlice(OpAsmPrinter &printer, Operation *, SliceAttr slice) {
  printSliceBody(printer, slice);
}

// A slice as above, or `factored<...>`.
static ParseResult parseMatrix(OpAsmParser &parser, Attribute &matrix) {
  if (succeeded(parser.parseOptionalKeyword("factored"))) {
    matrix = FactoredAttr::parse(parser, Type());
    return success(static_cast<bool>(matrix));
  }
  SliceAttr slice;
  if (parseSliceBody(parser, slice))
    return failure();
  matrix = slice;
  return success();
}

static void printMatrix(OpAsmPrinter &printer, Operation *, Attribute matrix) {
  if (auto slice = dyn_cast<SliceAttr>(matrix))
    return printSliceBody(printer, slice);
  printer << "factored";
  cast<FactoredAttr>(matrix).print(printer);
}

#define GET_OP_CLASSES
#include "dialects/MoE/MoEOps.cpp.inc"

void moe::MoEDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialects/MoE/MoEOps.cpp.inc"
      >();
}
