// Quantised values that are no integers: DequantizeLinear knows none of them.
#include "frontends/ONNX/ExporterImpl.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

/// Powers of two that are stored as their exponents plus 127.
static bool isExponent(Type element) { return isa<Float8E8M0FNUType>(element); }

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
  PlannedWeight scale;
  scale.name = values.name + ".scales";
  scale.type = RankedTensorType::get(
      scales->shape, isExponent(scales->elementType()) ? Type(integer(8, false))
                                                       : scales->elementType());
  scale.pieces.push_back({*scales, {}});
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
  Type stored = scale.type.getElementType();
  std::string factor = cast(plan(std::move(scale)), stored, f32);
  if (isExponent(scales->elementType()))
    factor = emit(
        "Pow", {scalar(2.0, f32), emit("Sub", {factor, scalar(127.0, f32)})});
  int64_t blocks = block ? in / block : 1;
  std::string scaled =
      emit("Mul", {emit("Reshape", {numbers, ints({out, blocks, in / blocks})}),
                   emit("Reshape", {factor, ints({out, blocks, 1})})});
  return cast(emit("Reshape", {scaled, ints({out, in})}), f32, type);
}
