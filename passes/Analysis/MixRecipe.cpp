#include "passes/Analysis/MixRecipe.h"
#include "passes/Analysis/WeightSource.h"
#include "llvm/ADT/bit.h"
#include <cstring>

using namespace mlir;
using namespace moe;

namespace {
/// A slice over the bytes of its bank.
struct View {
  StringRef bytes;
  Type element;
  SliceGeometry geometry;

  int64_t at(int64_t row, int64_t column) const {
    int64_t index = geometry.offset;
    if (!geometry.shape.empty())
      index += row * geometry.strides[0];
    if (geometry.shape.size() > 1)
      index += column * geometry.strides[1];
    return index;
  }
  double number(int64_t row, int64_t column) const;
  unsigned byte(int64_t row, int64_t column) const {
    return static_cast<unsigned char>(bytes[at(row, column)]);
  }
};
} // namespace

double View::number(int64_t row, int64_t column) const {
  int64_t index = at(row, column);
  unsigned width = element.getIntOrFloatBitWidth();
  if (width == 4) { // two to a byte, the first in the low half
    int nibble =
        static_cast<unsigned char>(bytes[index / 2]) >> (index % 2 ? 4 : 0) &
        15;
    return element.isUnsignedInteger() || nibble < 8 ? nibble : nibble - 16;
  }
  const char *from = bytes.data() + index * (width / 8);
  if (element.isF32()) {
    float value;
    memcpy(&value, from, 4);
    return value;
  }
  if (width == 8)
    return element.isUnsignedInteger(8)
               ? static_cast<double>(static_cast<unsigned char>(*from))
               : static_cast<double>(static_cast<signed char>(*from));
  uint64_t bits = 0;
  memcpy(&bits, from, width / 8);
  APFloat value(cast<FloatType>(element).getFloatSemantics(),
                APInt(width, bits));
  bool lost;
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
  return value.convertToDouble();
}

static FailureOr<View> open(BankOp bank, SliceAttr slice,
                            WeightSource &source) {
  auto from =
      SymbolTable::lookupNearestSymbolFrom<BankOp>(bank, slice.getBank());
  if (!from)
    return bank.emitOpError("is made of ")
           << slice.getBank() << ", which is not a moe.bank";
  auto geometry =
      slice.resolve(from.getTensorType(), [&] { return bank.emitOpError(); });
  if (failed(geometry))
    return failure();
  Type element = from.getTensorType().getElementType();
  bool isInteger = element.isInteger(8) || element.isInteger(4);
  if (!isInteger &&
      !(isa<FloatType>(element) && element.getIntOrFloatBitWidth() % 8 == 0))
    return bank.emitOpError("cannot be made of numbers of type ") << element;
  auto bytes = source.bytes(from);
  if (failed(bytes))
    return failure();
  if (slice.getTransposed() && geometry->shape.size() == 2) {
    std::swap(geometry->shape[0], geometry->shape[1]);
    std::swap(geometry->strides[0], geometry->strides[1]);
  }
  return View{*bytes, element, *geometry};
}

/// Adds `weight` times the slice to the `[rows, columns]` sums.
static LogicalResult add(BankOp bank, SliceAttr slice, double weight,
                         WeightSource &source, int64_t rows, int64_t columns,
                         std::vector<double> &sums) {
  auto values = open(bank, slice, source);
  if (failed(values))
    return failure();
  auto quant = dyn_cast_or_null<QuantAttr>(slice.getQuant());
  // Several to a byte, unless the bank's own type says so already.
  int64_t pack = quant && quant.getBits() < 8 && !values->element.isInteger(4)
                     ? 8 / quant.getBits()
                     : 1;
  ArrayRef<int64_t> shape = values->geometry.shape;
  int64_t haveRows = shape.empty() ? 1 : shape[0];
  int64_t haveColumns = (shape.size() > 1 ? shape[1] : 1) * pack;
  if (haveRows != rows || haveColumns != columns)
    return bank.emitOpError("has ")
           << rows << " x " << columns << " numbers, but a slice of "
           << slice.getBank() << " has " << haveRows << " x " << haveColumns;
  if (!quant) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        sums[r * columns + c] += weight * values->number(r, c);
    return success();
  }
  auto scales = open(bank, quant.getScales(), source);
  if (failed(scales))
    return failure();
  std::optional<View> zeros;
  if (quant.getZeros()) {
    auto opened = open(bank, quant.getZeros(), source);
    if (failed(opened))
      return failure();
    zeros = *opened;
  }
  int64_t block = quant.getBlock() ? quant.getBlock() : columns;
  int64_t blocks = (columns + block - 1) / block;
  auto fits = [&](const View &view) {
    ArrayRef<int64_t> have = view.geometry.shape;
    return !have.empty() && have[0] >= rows &&
           (have.size() > 1 ? have[1] : 1) >= blocks;
  };
  if (!fits(*scales) || (zeros && !fits(*zeros)))
    return bank.emitOpError("needs ")
           << blocks << " scales for each row of " << slice.getBank();
  bool isSigned = !values->element.isUnsignedInteger();
  double middle =
      isSigned ? 0 : static_cast<double>(1 << (quant.getBits() - 1));
  unsigned mask = (1u << quant.getBits()) - 1;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      double q = pack == 1
                     ? values->number(r, c)
                     : static_cast<double>((values->byte(r, c / pack) >>
                                            (c % pack * quant.getBits())) &
                                           mask);
      double zero = zeros ? zeros->number(r, c / block) : middle;
      sums[r * columns + c] +=
          weight * (q - zero) * scales->number(r, c / block);
    }
  return success();
}

LogicalResult moe::evaluateMix(BankOp bank, MixAttr mix, WeightSource &source,
                               std::string &bytes) {
  RankedTensorType type = bank.getTensorType();
  auto element = dyn_cast<FloatType>(type.getElementType());
  if (type.getRank() < 1 || type.getRank() > 2 || !element ||
      element.getWidth() % 8 != 0)
    return bank.emitOpError("of type ") << type << " cannot be made by a mix";
  int64_t rows = type.getDimSize(0);
  int64_t columns = type.getRank() > 1 ? type.getDimSize(1) : 1;
  std::vector<double> sums(static_cast<size_t>(rows * columns));
  for (auto [from, weight] : llvm::zip(mix.getSources(), mix.getWeights())) {
    auto slice = dyn_cast<SliceAttr>(from);
    if (!slice)
      return bank.emitOpError("mixes a recipe, which cannot be executed: ")
             << from;
    if (failed(add(bank, slice, cast<FloatAttr>(weight).getValueAsDouble(),
                   source, rows, columns, sums)))
      return failure();
  }
  size_t width = element.getWidth() / 8;
  bytes.resize(sums.size() * width);
  for (size_t i = 0; i < sums.size(); ++i) {
    if (element.isF32()) {
      float value = static_cast<float>(sums[i]);
      memcpy(bytes.data() + i * width, &value, width);
      continue;
    }
    APFloat value(sums[i]);
    bool lost;
    value.convert(element.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &lost);
    uint64_t bits = value.bitcastToAPInt().getZExtValue();
    memcpy(bytes.data() + i * width, &bits, width);
  }
  return success();
}
