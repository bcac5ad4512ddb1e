// Weights of experts as initializers: what is stored is kept as it lies.
#include "dialects/MoE/QuantisedBank.h"
#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/ExporterImpl.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

/// The quantised matrix behind a slice: its own, or the one that a derived bank
/// dequantises. Null where it is not quantised.
SliceAttr Exporter::storedQuant(SliceAttr slice) {
  if (slice.getQuant())
    return slice;
  return quantisedSlice(slice,
                        symbols.lookup<BankOp>(slice.getBank().getValue()));
}

/// Numbers of less than a byte must lie in whole bytes.
static LogicalResult checkBytes(Operation *op, const BankView &view) {
  Type element = view.elementType();
  if (element.getIntOrFloatBitWidth() >= 8 || element.isInteger(1))
    return success();
  bool whole = view.offset % 2 == 0 && !view.shape.empty() &&
               view.shape.back() % 2 == 0 && view.strides.back() == 1;
  for (int64_t stride : ArrayRef<int64_t>(view.strides).drop_back())
    whole &= stride % 2 == 0;
  if (element.getIntOrFloatBitWidth() == 4 && whole)
    return success();
  BankOp bank = view.bank;
  return op->emitOpError("takes numbers from the middle of bytes of @")
         << bank.getSymName() << ", which cannot be exported";
}

/// `slice` of an initializer, by nodes.
std::string Exporter::cut(const std::string &whole, SliceAttr slice,
                          const BankView &view) {
  SmallVector<int64_t> starts, stops, steps, axes;
  bool drops = false;
  ArrayRef<int64_t> ranges = slice.getRanges();
  for (size_t i = 0; i < ranges.size(); i += 3) {
    if (ranges[i] == 0 && ShapedType::isDynamic(ranges[i + 1]) &&
        ranges[i + 2] == 1)
      continue;
    axes.push_back(static_cast<int64_t>(i / 3));
    starts.push_back(ranges[i]);
    stops.push_back(ShapedType::isDynamic(ranges[i + 1]) ? INT64_MAX
                                                         : ranges[i + 1]);
    steps.push_back(std::max<int64_t>(ranges[i + 2], 1));
    drops |= ranges[i + 2] == 0;
  }
  if (axes.empty())
    return whole;
  std::string part = emit(
      "Slice", {whole, ints(starts), ints(stops), ints(axes), ints(steps)});
  return drops ? emit("Reshape", {part, ints(view.shape)}) : part;
}

FailureOr<std::string> Exporter::exportVector(Operation *op, SliceAttr slice,
                                              StringRef name, Type type) {
  auto view = BankView::of(slice, symbols, op);
  if (failed(view))
    return failure();
  // The graph has the whole bank: its bytes are not written twice.
  if (auto whole = banks.find(view->bank);
      whole != banks.end() && !turned.contains(view->bank))
    return cast(cut(whole->second, slice, *view), view->elementType(), type);
  if (failed(checkBytes(op, *view)))
    return failure();
  PlannedWeight weight;
  weight.name = prefix + name.str();
  weight.type = RankedTensorType::get(view->shape, view->elementType());
  weight.pieces.push_back({*view, {}});
  return cast(plan(std::move(weight)), view->elementType(), type);
}

FailureOr<MatrixNames> Exporter::exportMatrix(Operation *op, SliceAttr slice,
                                              StringRef name, Type type) {
  MatrixNames names;
  SliceAttr stored = storedQuant(slice);
  names.transposed = (stored ? stored : slice).getTransposed();
  auto made = stored ? exportQuantised(op, stored,
                                       llvm::cast<QuantAttr>(stored.getQuant()),
                                       name, type)
                     : exportVector(op, slice, name, type);
  if (failed(made))
    return failure();
  names.weight = *made;
  return names;
}

/// DequantizeLinear of the stored values.
FailureOr<std::string> Exporter::exportQuantised(Operation *op, SliceAttr slice,
                                                 QuantAttr quant,
                                                 StringRef name, Type type) {
  if (isCoded(slice, quant))
    return exportCodes(op, slice, quant, name, type);
  auto view = BankView::of(slice, symbols, op);
  auto scales = BankView::of(quant.getScales(), symbols, op);
  if (failed(view) || failed(scales) || failed(checkBytes(op, *view)))
    return failure();
  Type element = view->elementType();
  int64_t bits = quant.getBits();
  bool packed = bits < 8 && element.isInteger(8);
  auto refuse = [&](const Twine &what) -> FailureOr<std::string> {
    return op->emitError("matrix '")
           << name << "': " << what << " cannot be written as ONNX";
  };
  if (bits != 4 && bits != 8)
    return refuse(Twine(bits) + "-bit values");
  if (view->shape.size() != 2)
    return refuse("quantised values that are no matrix");
  if (packed && slice.getTransposed())
    return refuse("packed values stored [in, out]");
  bool isSigned = element.isSignlessInteger();
  // Without zero points, unsigned values lie around their middle.
  bool recode = !isSigned && !quant.getZeros();
  auto stored = [&](bool asSigned) {
    return IntegerType::get(module.getContext(), bits,
                            asSigned ? IntegerType::Signless
                                     : IntegerType::Unsigned);
  };
  PlannedWeight values;
  values.name = prefix + name.str();
  SmallVector<int64_t> shape(view->shape.begin(), view->shape.end());
  if (packed)
    shape.back() *= 2;
  values.type = RankedTensorType::get(shape, stored(isSigned || recode));
  values.flip = recode ? (bits == 4 ? 0x88 : 0x80) : 0;
  values.pieces.push_back({*view, {}});

  // Scales and zero points in the order of the values.
  auto side = [&](SliceAttr part, BankView &of) {
    bool turn = part.getTransposed() != slice.getTransposed();
    if (turn && of.shape.size() == 2) {
      std::swap(of.shape[0], of.shape[1]);
      std::swap(of.strides[0], of.strides[1]);
    }
  };
  side(quant.getScales(), *scales);
  // The operator's result has the type of its scales, to which it would round
  // the product. It knows f32, and f16.
  Type product = type.isF16() ? type : builder.getF32Type();
  std::string scaleName = values.name + ".scales";
  SmallVector<std::string> inputs = {plan(std::move(values)),
                                     exportScales(*scales, scaleName, product)};
  if (quant.getZeros()) {
    auto zeros = BankView::of(quant.getZeros(), symbols, op);
    if (failed(zeros))
      return failure();
    side(quant.getZeros(), *zeros);
    PlannedWeight zero;
    zero.name = prefix + name.str() + ".zeros";
    zero.type = RankedTensorType::get(zeros->shape, stored(isSigned));
    if (bits == 4 && zeros->elementType().getIntOrFloatBitWidth() == 8)
      zero.pack = true;
    else if (failed(checkBytes(op, *zeros)))
      return failure();
    zero.pieces.push_back({*zeros, {}});
    inputs.push_back(plan(std::move(zero)));
  }
  int64_t rowAxis = slice.getTransposed() ? 1 : 0;
  SmallVector<NamedAttribute> attributes = {
      attribute("axis", quant.getBlock() ? 1 - rowAxis : rowAxis)};
  if (quant.getBlock())
    attributes.push_back(attribute("block_size", quant.getBlock()));
  return cast(emit("DequantizeLinear", inputs, attributes), product, type);
}

/// The initializer of a whole bank; quantised ones are dequantised by a node,
/// some of them (`turned`) the other way round.
FailureOr<std::string> Exporter::exportBank(BankOp bank) {
  std::string &known = banks[bank];
  if (!known.empty())
    return known;
  auto type = bank.getTensorType();
  auto reference = FlatSymbolRefAttr::get(bank.getSymNameAttr());
  if (SliceAttr stored = storedQuant(SliceAttr::get(reference))) {
    auto name =
        exportQuantised(bank, stored, llvm::cast<QuantAttr>(stored.getQuant()),
                        bank.getSymName(), type.getElementType());
    if (failed(name))
      return failure();
    if (stored.getTransposed())
      turned.insert(bank);
    return banks[bank] = *name;
  }
  if (!numberOfElement(type.getElementType()))
    return bank.emitOpError("has ")
           << type.getElementType() << " elements, which ONNX does not have";
  PlannedWeight weight;
  weight.name = bank.getSymName().str();
  weight.type = type;
  weight.pieces.push_back({BankView::whole(bank), {}});
  return banks[bank] = plan(std::move(weight));
}
