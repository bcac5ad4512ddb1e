// Quantised values that are no integers: DequantizeLinear knows none of them.
#include "frontends/ONNX/ExporterImpl.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

/// Scales as numbers of `type`. Powers of two are stored as their exponents
/// plus 127, a type that ONNX has and ONNX Runtime does not read.
std::string Exporter::exportScales(const BankView &scales, StringRef name,
                                   Type type) {
  PlannedWeight scale;
  scale.name = name.str();
  scale.pieces.push_back({scales, {}});
  Type element = scales.elementType();
  bool isExponent = isa<Float8E8M0FNUType>(element);
  if (isExponent)
    element = builder.getIntegerType(8, /*isSigned=*/false);
  scale.type = RankedTensorType::get(scales.shape, element);
  std::string stored = plan(std::move(scale));
  if (!isExponent)
    return cast(stored, element, type);
  Type f32 = builder.getF32Type();
  std::string exponent =
      emit("Sub", {cast(stored, element, f32), scalar(127.0, f32)});
  return cast(emit("Pow", {scalar(2.0, f32), exponent}), f32, type);
}

bool Exporter::isCoded(SliceAttr slice, QuantAttr quant) {
  auto bank = symbols.lookup<BankOp>(slice.getBank().getValue());
  return !quant.isInteger() ||
         (bank && isa<FloatType>(bank.getTensorType().getElementType()));
}

/// Numbers that codes stand for, looked up or widened, times their scales.
FailureOr<std::string> Exporter::exportCodes(Operation *op, SliceAttr slice,
                                             QuantAttr quant, StringRef name,
                                             Type type) {
  auto view = BankView::of(slice, symbols, op);
  auto scales = BankView::of(quant.getScales(), symbols, op);
  if (failed(view) || failed(scales))
    return failure();
  int64_t bits = quant.getBits(), block = quant.getBlock();
  Type element = view->elementType();
  int64_t out = view->shape[0];
  int64_t in = view->shape.back() * element.getIntOrFloatBitWidth() / bits;
  bool isFloat = isa<FloatType>(element);
  if (slice.getTransposed() || view->shape.size() != 2 ||
      (block && in % block != 0) || isFloat != (bits == 8))
    return op->emitError("matrix '")
           << name << "': values of code '" << quant.getCode()
           << "' cannot be written as ONNX unless they are [out, in] in whole "
              "blocks";
  MLIRContext *context = op->getContext();
  auto integer = [&](unsigned width, bool isSigned) {
    return IntegerType::get(context, width,
                            isSigned ? IntegerType::Signless
                                     : IntegerType::Unsigned);
  };
  Type f32 = Float32Type::get(context);
  PlannedWeight values;
  values.name = prefix + name.str();
  values.type =
      RankedTensorType::get({out, in}, isFloat ? element : integer(4, false));
  values.pieces.push_back({*view, {}});
  std::string scaleName = values.name + ".scales";
  std::string numbers =
      cast(plan(std::move(values)), isFloat ? element : integer(4, false),
           isFloat ? f32 : Type(integer(32, true)));
  if (!isFloat) {
    SmallVector<float> table;
    for (unsigned code = 0; code < 16; ++code)
      table.push_back(
          static_cast<float>(QuantAttr::decode(quant.getCode(), code)));
    numbers =
        emit("Gather",
             {constant(DenseElementsAttr::get(RankedTensorType::get({16}, f32),
                                              ArrayRef<float>(table))),
              numbers});
  }
  std::string factor = exportScales(*scales, scaleName, f32);
  int64_t blocks = block ? in / block : 1;
  std::string scaled =
      emit("Mul", {emit("Reshape", {numbers, ints({out, blocks, in / blocks})}),
                   emit("Reshape", {factor, ints({out, blocks, 1})})});
  return cast(emit("Reshape", {scaled, ints({out, in})}), f32, type);
}
