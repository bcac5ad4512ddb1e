#include "passes/Analysis/Dequantize.h"

#include "dialects/MoE/MoEOps.h"
#include "llvm/ADT/APFloat.h"
#include <cstring>

using namespace mlir;
using namespace moe;

namespace {
/// A slice with its bytes: elements by row and column.
struct View {
  StringRef bytes;
  Type element;
  SliceGeometry at;

  double get(int64_t row, int64_t column) const {
    int64_t place = at.offset + row * at.strides[0] +
                    (at.strides.size() > 1 ? column * at.strides[1] : 0);
    unsigned width = element.getIntOrFloatBitWidth() / 8;
    uint64_t raw = 0;
    memcpy(&raw, bytes.data() + place * width, width);
    if (auto type = dyn_cast<FloatType>(element))
      return APFloat(type.getFloatSemantics(), APInt(8 * width, raw))
          .convertToDouble();
    APInt value(8 * width, raw);
    return element.isUnsignedInteger() ? value.getZExtValue()
                                       : value.getSExtValue();
  }
  int64_t columns() const { return at.shape.size() > 1 ? at.shape[1] : 1; }
};
} // namespace

static FailureOr<View> viewOf(BankOp bank, SliceAttr slice,
                              WeightSource &source) {
  auto from =
      SymbolTable::lookupNearestSymbolFrom<BankOp>(bank, slice.getBank());
  if (!from)
    return bank.emitOpError("takes a slice of ")
           << slice.getBank() << ", which is not a moe.bank";
  RankedTensorType type = from.getTensorType();
  if (type.getElementTypeBitWidth() % 8 != 0)
    return bank.emitOpError("takes a slice of ")
           << type << ", whose elements are no whole bytes";
  auto geometry = slice.resolve(type, [&] { return bank.emitOpError(); });
  auto bytes = source.bytes(from);
  if (failed(geometry) || failed(bytes))
    return failure();
  return View{*bytes, type.getElementType(), *geometry};
}

FailureOr<std::vector<float>> moe::dequantize(BankOp bank, SliceAttr slice,
                                              WeightSource &source) {
  auto quant = dyn_cast_or_null<QuantAttr>(slice.getQuant());
  if (!quant || slice.getTransposed())
    return bank.emitOpError("has a slice as its recipe that is not quantised, "
                            "or is transposed");
  auto values = viewOf(bank, slice, source);
  auto scales = viewOf(bank, quant.getScales(), source);
  if (failed(values) || failed(scales))
    return failure();
  std::optional<View> zeros;
  if (quant.getZeros()) {
    auto view = viewOf(bank, quant.getZeros(), source);
    if (failed(view))
      return failure();
    zeros = *view;
  }
  int64_t rows = values->at.shape[0],
          pack = 8 / std::min<int64_t>(8, quant.getBits());
  int64_t inputs = values->columns() * pack;
  int64_t block = quant.getBlock() ? quant.getBlock() : inputs;
  bool isUnsigned = values->element.isUnsignedInteger();
  double middle = isUnsigned ? double(int64_t(1) << (quant.getBits() - 1)) : 0;
  if (scales->at.shape[0] < rows || scales->columns() * block < inputs)
    return bank.emitOpError("has too few scales for ")
           << rows << " rows of " << inputs << " in blocks of " << block;
  std::vector<float> result(rows * inputs);
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t k = 0; k < inputs; ++k) {
      double q = values->get(n, k / pack);
      if (pack > 1)
        q = (static_cast<uint64_t>(q) >> (k % pack * quant.getBits())) &
            ((1u << quant.getBits()) - 1);
      double zero = zeros ? zeros->get(n, k / block) : middle;
      result[n * inputs + k] =
          static_cast<float>((q - zero) * scales->get(n, k / block));
    }
  return result;
}
