#include "passes/Analysis/MatrixRows.h"

#include "dialects/MoE/MoEOps.h"
#include "passes/Analysis/Loops.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"

using namespace mlir;
using namespace moe;

/// From codes to numbers: `(code - zero) * scale`.
static LogicalResult applyScales(Operation *at, SliceAttr slice,
                                 bool isUnsigned, WeightSource &source,
                                 Numbers &numbers) {
  auto quant = cast<QuantAttr>(slice.getQuant());
  if (!quant.isInteger())
    for (double &number : numbers.values)
      number =
          QuantAttr::decode(quant.getCode(), static_cast<int64_t>(number) & 15);
  auto scales = sliceNumbers(at, quant.getScales(), source);
  if (failed(scales))
    return failure();
  Numbers zeros;
  if (quant.getZeros()) {
    auto found = sliceNumbers(at, quant.getZeros(), source);
    if (failed(found))
      return failure();
    zeros = std::move(*found);
  }
  int64_t block = quant.getBlock() ? quant.getBlock() : numbers.columns;
  int64_t blocks = llvm::divideCeil(numbers.columns, block);
  auto fits = [&](const Numbers &own) {
    return own.rows >= numbers.rows && own.columns >= blocks;
  };
  if (!fits(*scales) || (quant.getZeros() && !fits(zeros)))
    return at->emitOpError("needs ")
           << blocks << " scales for each row of " << slice.getBank();
  double middle = isUnsigned && quant.isInteger()
                      ? static_cast<double>(1 << (quant.getBits() - 1))
                      : 0;
  forRows(numbers.rows, numbers.columns, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      for (int64_t b = 0; b < blocks; ++b) {
        double zero = quant.getZeros() ? zeros.at(r, b) : middle;
        double scale = scales->at(r, b);
        int64_t end = std::min((b + 1) * block, numbers.columns);
        for (int64_t c = b * block; c < end; ++c)
          numbers.at(r, c) = (numbers.at(r, c) - zero) * scale;
      }
  });
  return success();
}

/// Rows of packed codes as one number each.
static Numbers unpack(const Numbers &bytes, int64_t bits) {
  int64_t each = 8 / bits, mask = (1 << bits) - 1;
  Numbers numbers(bytes.rows, bytes.columns * each);
  forRows(bytes.rows, numbers.columns, [&](int64_t first, int64_t last) {
    for (int64_t i = first * bytes.columns; i < last * bytes.columns; ++i) {
      int64_t byte = static_cast<int64_t>(bytes.values[i]);
      for (int64_t part = 0; part < each; ++part)
        numbers.values[i * each + part] =
            static_cast<double>(byte >> (part * bits) & mask);
    }
  });
  return numbers;
}

/// The elements of a slice as they are stored.
LogicalResult MatrixRows::openSlice(Operation *at, SliceAttr slice,
                                    WeightSource &source) {
  BankOp from = source.lookup(at, slice.getBank());
  if (!from)
    return at->emitOpError("is made of ")
           << slice.getBank() << ", which is not a moe.bank";
  auto geometry =
      slice.resolve(from.getTensorType(), [&] { return at->emitOpError(); });
  if (failed(geometry))
    return failure();
  element = from.getTensorType().getElementType();
  if (!isNumberType(element) || geometry->shape.size() > 2)
    return at->emitOpError("cannot be made of ")
           << slice.getBank() << " of type " << from.getTensorType();
  wasMade = source.isMade(from);
  auto found = source.bytes(from);
  if (failed(found))
    return failure();
  bytes = *found;
  SmallVector<int64_t, 2> shape(geometry->shape), strides(geometry->strides);
  shape.resize(2, 1), strides.resize(2, 0);
  if (slice.getTransposed() && geometry->shape.size() == 2) {
    std::swap(shape[0], shape[1]);
    std::swap(strides[0], strides[1]);
  }
  numRows = shape[0], numColumns = shape[1];
  offset = geometry->offset, strideRow = strides[0], strideColumn = strides[1];
  return success();
}

FailureOr<MatrixRows> MatrixRows::open(Operation *at, Attribute recipe,
                                       WeightSource &source) {
  MatrixRows rows;
  auto slice = dyn_cast<SliceAttr>(recipe);
  if (slice && !slice.getQuant()) {
    if (failed(rows.openSlice(at, slice, source)))
      return failure();
    return rows;
  }
  auto numbers = evaluate(at, recipe, source);
  if (failed(numbers))
    return failure();
  rows.numRows = numbers->rows, rows.numColumns = numbers->columns;
  rows.numbers = std::move(*numbers);
  return rows;
}

const double *MatrixRows::read(int64_t first, int64_t last,
                               double *buffer) const {
  if (!element)
    return numbers.values.data() + first * numColumns;
  // Rows that lie one after the other are as good as one.
  if (strideColumn == 1 && strideRow == numColumns)
    readNumbers(bytes, element, offset + first * strideRow, 1,
                (last - first) * numColumns, buffer);
  else
    for (int64_t r = first; r < last; ++r)
      readNumbers(bytes, element, offset + r * strideRow, strideColumn,
                  numColumns, buffer + (r - first) * numColumns);
  return buffer;
}

void MatrixRows::close(WeightSource &source) {
  if (!element || wasMade)
    return;
  // Only what was read: others may be reading other slices of the bank.
  int64_t last =
      offset + (numRows - 1) * strideRow + (numColumns - 1) * strideColumn;
  int64_t bits = element.getIntOrFloatBitWidth();
  source.release(bytes.slice(offset * bits / 8, (last + 1) * bits / 8));
}

FailureOr<double> moe::sumOfSquares(Operation *at, Attribute recipe,
                                    WeightSource &source) {
  auto matrix = MatrixRows::open(at, recipe, source);
  if (failed(matrix))
    return failure();
  int64_t columns = matrix->columns();
  // A sum for each row, so that the order does not depend on processors.
  std::vector<double> sums(matrix->rows());
  forRows(matrix->rows(), columns, [&](int64_t first, int64_t last) {
    std::unique_ptr<double[]> buffer(new double[(last - first) * columns]);
    const double *numbers = matrix->read(first, last, buffer.get());
    for (int64_t r = first; r < last; ++r, numbers += columns)
      runWide([&, numbers]() MOE_INLINE {
        constexpr int64_t lanes = 8;
        double squares[lanes] = {};
        int64_t c = 0;
        for (; c + lanes <= columns; c += lanes)
          for (int64_t i = 0; i < lanes; ++i)
            squares[i] += numbers[c + i] * numbers[c + i];
        for (; c < columns; ++c)
          squares[0] += numbers[c] * numbers[c];
        for (double square : squares)
          sums[r] += square;
      });
  });
  matrix->close(source);
  double sum = 0;
  for (double own : sums)
    sum += own;
  return sum;
}

FailureOr<Numbers> moe::sliceNumbers(Operation *at, SliceAttr slice,
                                     WeightSource &source) {
  MatrixRows matrix;
  if (failed(matrix.openSlice(at, slice, source)))
    return failure();
  Numbers numbers(matrix.rows(), matrix.columns());
  forRows(numbers.rows, numbers.columns, [&](int64_t first, int64_t last) {
    matrix.read(first, last, &numbers.at(first, 0));
  });
  matrix.close(source);
  Type element = matrix.elementType();
  auto quant = dyn_cast_or_null<QuantAttr>(slice.getQuant());
  if (!quant)
    return numbers;
  // Several to a byte, unless the bank's own type says so already.
  if (quant.getBits() < 8 && !element.isInteger(4)) {
    for (double &byte : numbers.values)
      byte = static_cast<double>(static_cast<uint8_t>(static_cast<int>(byte)));
    numbers = unpack(numbers, quant.getBits());
    // The sign of a byte is that of what is packed in it.
    double range = static_cast<double>(1 << quant.getBits());
    if (quant.isInteger() && !element.isUnsignedInteger())
      for (double &number : numbers.values)
        if (number >= range / 2)
          number -= range;
  }
  if (failed(
          applyScales(at, slice, element.isUnsignedInteger(), source, numbers)))
    return failure();
  return numbers;
}

FailureOr<SmallVector<int64_t, 2>> moe::shapeOf(Operation *at, SliceAttr slice,
                                                const SymbolTable &symbols) {
  auto bank = symbols.lookup<BankOp>(slice.getBank().getValue());
  if (!bank)
    return at->emitOpError("reads ")
           << slice.getBank() << ", which is not a moe.bank";
  RankedTensorType type = bank.getTensorType();
  auto geometry = slice.resolve(type, [&] { return at->emitOpError(); });
  if (failed(geometry))
    return failure();
  SmallVector<int64_t, 2> shape(geometry->shape);
  if (slice.getTransposed())
    std::swap(shape.front(), shape.back());
  auto quant = dyn_cast_or_null<QuantAttr>(slice.getQuant());
  if (quant && quant.getBits() < 8 && type.getElementTypeBitWidth() == 8)
    shape.back() *= 8 / quant.getBits();
  return shape;
}
