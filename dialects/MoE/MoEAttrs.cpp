#include "dialects/CodeTables.h"
#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include <limits>

using namespace mlir;
using namespace moe;

#include "dialects/MoE/MoEEnums.cpp.inc"
#include "dialects/MoE/MoEInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/MoE/MoEAttrs.cpp.inc"

// @bank[3, 0:8:2] transposed quant #moe.quant<...>, without brackets around it:
// ops print it so, the attribute puts it between < and >.
ParseResult moe::parseSliceBody(AsmParser &parser, SliceAttr &slice) {
  StringAttr name;
  if (parser.parseSymbolName(name))
    return failure();
  SmallVector<int64_t> ranges;
  auto parseSelector = [&]() -> ParseResult {
    int64_t start = 0, stop = ShapedType::kDynamic, step = 1;
    OptionalParseResult first = parser.parseOptionalInteger(start);
    if (first.has_value() && failed(*first))
      return failure();
    if (failed(parser.parseOptionalColon())) {
      if (!first.has_value() || start == std::numeric_limits<int64_t>::max())
        return parser.emitError(parser.getCurrentLocation(),
                                "expected an index or a range");
      ranges.append({start, start + 1, 0});
      return success();
    }
    OptionalParseResult second = parser.parseOptionalInteger(stop);
    if (second.has_value() && failed(*second))
      return failure();
    if (succeeded(parser.parseOptionalColon()) &&
        (parser.parseInteger(step) || step < 1))
      return parser.emitError(parser.getCurrentLocation(),
                              "expected a positive step");
    ranges.append({start, stop, step});
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::OptionalSquare,
                                     parseSelector))
    return failure();
  bool transposed = succeeded(parser.parseOptionalKeyword("transposed"));
  Attribute quant;
  if (succeeded(parser.parseOptionalKeyword("quant")) &&
      !(quant = QuantAttr::parse(parser, Type())))
    return failure();
  slice = SliceAttr::getChecked(
      [&] { return parser.emitError(parser.getNameLoc()); },
      parser.getContext(), FlatSymbolRefAttr::get(name), ranges, transposed,
      quant);
  return success(static_cast<bool>(slice));
}

void moe::printSliceBody(AsmPrinter &printer, SliceAttr slice) {
  printer.printSymbolName(slice.getBank().getValue());
  ArrayRef<int64_t> ranges = slice.getRanges();
  if (!ranges.empty())
    printer << "[";
  for (size_t i = 0; i + 2 < ranges.size(); i += 3) {
    int64_t start = ranges[i], stop = ranges[i + 1], step = ranges[i + 2];
    if (i)
      printer << ", ";
    if (step == 0) {
      printer << start;
      continue;
    }
    if (start != 0 || !ShapedType::isDynamic(stop))
      printer << start;
    printer << ":";
    if (!ShapedType::isDynamic(stop))
      printer << stop;
    if (step != 1)
      printer << ":" << step;
  }
  if (!ranges.empty())
    printer << "]";
  if (slice.getTransposed())
    printer << " transposed";
  if (auto quant = dyn_cast_or_null<QuantAttr>(slice.getQuant())) {
    printer << " quant";
    quant.print(printer);
  }
}

Attribute SliceAttr::parse(AsmParser &parser, Type) {
  SliceAttr slice;
  if (parser.parseLess() || parseSliceBody(parser, slice) ||
      parser.parseGreater())
    return {};
  return slice;
}

void SliceAttr::print(AsmPrinter &printer) const {
  printer << "<";
  printSliceBody(printer, *this);
  printer << ">";
}

// slice_c1
LogicalResult SliceAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                FlatSymbolRefAttr bank,
                                ArrayRef<int64_t> ranges, bool transposed,
                                Attribute quant) {
  if (ranges.size() % 3 != 0)
    return emitError() << "needs start, stop and step for each selector of "
                       << bank;
  for (size_t i = 0; i < ranges.size(); i += 3)
    if (ranges[i] < 0 || ranges[i + 2] < 0 ||
        (ranges[i + 2] == 0 && ranges[i + 1] - 1 != ranges[i]) ||
        (!ShapedType::isDynamic(ranges[i + 1]) && ranges[i + 1] <= ranges[i]))
      return emitError() << "selector " << i / 3 << " of " << bank
                         << " is empty or negative";
  if (!quant)
    return success();
  auto quantised = dyn_cast<QuantAttr>(quant);
  if (!quantised)
    return emitError() << "expected #moe.quant, not " << quant;
  if (transposed && quantised.getBits() < 8)
    return emitError() << bank << " is packed along its inputs, so it cannot "
                       << "be transposed";
  return success();
}

SliceAttr SliceAttr::at(FlatSymbolRefAttr bank, int64_t index,
                        bool transposed) {
  return get(bank, {index, index + 1, 0}, transposed);
}

SliceAttr SliceAttr::rows(FlatSymbolRefAttr bank, int64_t index, int64_t start,
                          int64_t stop, int64_t step, bool transposed) {
  return get(bank, {index, index + 1, 0, start, stop, step}, transposed);
}

FailureOr<SliceGeometry>
SliceAttr::resolve(RankedTensorType type,
                   function_ref<InFlightDiagnostic()> emitError) {
  ArrayRef<int64_t> ranges = getRanges(), shape = type.getShape();
  auto fail = [&](const Twine &what) -> FailureOr<SliceGeometry> {
    if (emitError)
      emitError() << what << " of " << getBank() << ", which is " << type;
    return failure();
  };
  if (static_cast<int64_t>(ranges.size()) > 3 * type.getRank())
    return fail("takes " + Twine(ranges.size() / 3) + " dimensions");
  SliceGeometry geometry;
  int64_t stride = 1;
  SmallVector<int64_t> strides(shape.size());
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i])
    strides[i] = stride;
  for (size_t i = 0; i < shape.size(); ++i) {
    bool selected = 3 * i < ranges.size();
    int64_t start = selected ? ranges[3 * i] : 0;
    int64_t stop = selected ? ranges[3 * i + 1] : ShapedType::kDynamic;
    int64_t step = selected ? ranges[3 * i + 2] : 1;
    if (ShapedType::isDynamic(stop))
      stop = shape[i];
    if (stop > shape[i] || start >= stop)
      return fail("takes " + Twine(start) +
                  (step ? ":" + Twine(stop) : Twine("")) + " in dimension " +
                  Twine(i));
    geometry.offset += start * strides[i];
    if (step == 0)
      continue;
    geometry.shape.push_back((stop - start - 1) / step + 1);
    geometry.strides.push_back(step * strides[i]);
  }
  return geometry;
}

ColumnsAttr SliceAttr::getColumns(RankedTensorType type) {
  FailureOr<SliceGeometry> geometry = resolve(type, nullptr);
  if (failed(geometry) || geometry->shape.empty() || geometry->shape.size() > 2)
    return {};
  if (geometry->shape.size() == 1)
    return ColumnsAttr::get(getContext(), getBank(), geometry->shape[0],
                            geometry->offset, geometry->strides[0], 0);
  unsigned out = getTransposed() ? 1 : 0;
  return ColumnsAttr::get(getContext(), getBank(), geometry->shape[out],
                          geometry->offset, geometry->strides[out],
                          geometry->strides[1 - out]);
}

// quant_c1
LogicalResult QuantAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                int64_t bits, int64_t block, SliceAttr scales,
                                SliceAttr zeros, StringRef code) {
  if (bits != 2 && bits != 4 && bits != 8)
    return emitError() << "needs 2, 4 or 8 bits, not " << bits;
  if (block < 0)
    return emitError() << "has a block of " << block << " values";
  if (code == "int")
    return success();
  if (code != "fp4" && code != "nf4")
    return emitError() << "needs code \"int\", \"fp4\" or \"nf4\", not \""
                       << code << "\"";
  if (bits != 4)
    return emitError() << "has values of " << bits << " bits, but code \""
                       << code << "\" has 4";
  if (zeros)
    return emitError() << "has zero points, which code \"" << code
                       << "\" has not";
  return success();
}

double QuantAttr::decode(StringRef code, unsigned q) {
  return (code == "nf4" ? kNf4Table : kFp4Table)[q & 15];
}

// quant_panels_c1
LogicalResult
QuantPanelsAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                        int64_t bits, int64_t stored, int64_t flip,
                        int64_t width, int64_t depth, int64_t interleave,
                        ArrayAttr matrices) {
  for (int64_t n : {bits, stored})
    if (n != 4 && n != 8)
      return emitError() << "needs values of 4 or 8 bits, not " << n;
  if (bits > stored)
    return emitError() << "makes values of " << bits << " bits of " << stored;
  if (flip < 0 || flip >= (1 << bits))
    return emitError() << "flips " << flip << " in values of " << bits
                       << " bits";
  if (width < 2 || width % 2 != 0 || depth < 1 || interleave < 0)
    return emitError() << "needs an even width and a depth, not " << width
                       << " and " << depth;
  return success();
}

// factored_c1
LogicalResult FactoredAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   SliceAttr base, SliceAttr left,
                                   SliceAttr right, FloatAttr scale,
                                   SliceAttr rows, SliceAttr rowIds) {
  if (!base && !left && !rows)
    return emitError() << "needs a base, factors or rows";
  if (!left != !right)
    return emitError() << "needs left and right together";
  if (scale && !left)
    return emitError() << "has a scale but no factors";
  if (!rows != !rowIds)
    return emitError() << "needs rows and row_ids together";
  return success();
}

void MoEDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/MoE/MoEAttrs.cpp.inc"
      >();
}
