#include "passes/Analysis/Recipe.h"

#include "dialects/MoE/MoEOps.h"
#include "passes/Analysis/Hidden.h"
#include "passes/Analysis/WeightSource.h"
#include "llvm/Support/Parallel.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static FailureOr<Numbers> sliceNumbers(Operation *at, SliceAttr slice,
                                       WeightSource &source);

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
  for (int64_t r = 0; r < numbers.rows; ++r)
    for (int64_t c = 0; c < numbers.columns; ++c) {
      double zero = quant.getZeros() ? zeros.at(r, c / block) : middle;
      numbers.at(r, c) = (numbers.at(r, c) - zero) * scales->at(r, c / block);
    }
  return success();
}

/// Rows of packed codes as one number each.
static Numbers unpack(const Numbers &bytes, int64_t bits) {
  int64_t each = 8 / bits, mask = (1 << bits) - 1;
  Numbers numbers(bytes.rows, bytes.columns * each);
  for (int64_t r = 0; r < bytes.rows; ++r)
    for (int64_t c = 0; c < numbers.columns; ++c)
      numbers.at(r, c) = static_cast<double>(
          static_cast<int64_t>(bytes.at(r, c / each)) >> (c % each * bits) &
          mask);
  return numbers;
}

static FailureOr<Numbers> sliceNumbers(Operation *at, SliceAttr slice,
                                       WeightSource &source) {
  BankOp from = source.lookup(at, slice.getBank());
  if (!from)
    return at->emitOpError("is made of ")
           << slice.getBank() << ", which is not a moe.bank";
  auto geometry =
      slice.resolve(from.getTensorType(), [&] { return at->emitOpError(); });
  if (failed(geometry))
    return failure();
  Type element = from.getTensorType().getElementType();
  if (!isNumberType(element) || geometry->shape.size() > 2)
    return at->emitOpError("cannot be made of ")
           << slice.getBank() << " of type " << from.getTensorType();
  bool wasMade = source.isMade(from);
  auto bytes = source.bytes(from);
  if (failed(bytes))
    return failure();
  SmallVector<int64_t, 2> shape(geometry->shape), strides(geometry->strides);
  shape.resize(2, 1), strides.resize(2, 0);
  if (slice.getTransposed() && geometry->shape.size() == 2) {
    std::swap(shape[0], shape[1]);
    std::swap(strides[0], strides[1]);
  }
  Numbers numbers(shape[0], shape[1]);
  for (int64_t r = 0; r < numbers.rows; ++r)
    readNumbers(*bytes, element, geometry->offset + r * strides[0], strides[1],
                numbers.columns, &numbers.at(r, 0));
  // Only what was read: others may be reading other slices of the bank.
  int64_t last = geometry->offset + (numbers.rows - 1) * strides[0] +
                 (numbers.columns - 1) * strides[1];
  int64_t bits = element.getIntOrFloatBitWidth();
  if (!wasMade)
    source.release(
        bytes->slice(geometry->offset * bits / 8, (last + 1) * bits / 8));
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

static LogicalResult checkFinite(Operation *at, const Numbers &numbers) {
  for (size_t i = 0; i < numbers.values.size(); ++i)
    if (!std::isfinite(numbers.values[i])) {
      // Names of banks tell layer, expert and matrix.
      auto bank = dyn_cast<BankOp>(at);
      InFlightDiagnostic error = bank ? emitError(at->getLoc(), "'")
                                            << bank.getSymName() << "' "
                                      : at->emitOpError();
      return error << "needs finite weights, but number " << i % numbers.columns
                   << " of row " << i / numbers.columns << " is "
                   << numbers.values[i];
    }
  return success();
}

/// `evaluate` for those who compare or divide numbers.
static FailureOr<Numbers> evaluateFinite(Operation *at, Attribute recipe,
                                         WeightSource &source) {
  auto numbers = evaluate(at, recipe, source);
  if (failed(numbers) || failed(checkFinite(at, *numbers)))
    return failure();
  return numbers;
}

/// Mean squares of `columns` inputs; none where there are no moments.
static FailureOr<std::vector<double>> momentsOf(Operation *at, Attribute recipe,
                                                int64_t columns,
                                                WeightSource &source) {
  if (!recipe)
    return std::vector<double>();
  auto numbers = evaluate(at, recipe, source);
  if (failed(numbers))
    return failure();
  if (static_cast<int64_t>(numbers->values.size()) != columns)
    return at->emitOpError("has ")
           << columns << " inputs, but " << numbers->values.size()
           << " moments of them";
  if (failed(checkFinite(at, *numbers)))
    return failure();
  return std::move(numbers->values);
}

static FailureOr<Numbers> mix(Operation *at, MixAttr mix,
                              WeightSource &source) {
  Numbers sum;
  for (auto [i, from] : llvm::enumerate(mix.getSources())) {
    double weight = cast<FloatAttr>(mix.getWeights()[i]).getValueAsDouble();
    auto part = evaluate(at, from, source);
    if (failed(part))
      return failure();
    if (i == 0)
      sum = Numbers(part->rows, part->columns);
    if (part->rows != sum.rows || part->columns != sum.columns)
      return at->emitOpError("mixes ")
             << sum.rows << " x " << sum.columns << " numbers with "
             << part->rows << " x " << part->columns;
    for (size_t n = 0; n < sum.values.size(); ++n)
      sum.values[n] += weight * part->values[n];
  }
  return sum;
}

/// `base + scale * left * right + scatter(rows)`.
static FailureOr<Numbers> sumOf(Operation *at, FactoredAttr matrix,
                                WeightSource &source) {
  Numbers sum;
  auto add = [&](const Numbers &part) -> LogicalResult {
    if (sum.values.empty()) {
      sum = part;
      return success();
    }
    if (part.rows != sum.rows || part.columns != sum.columns)
      return at->emitOpError("adds ")
             << sum.rows << " x " << sum.columns << " numbers and " << part.rows
             << " x " << part.columns;
    for (size_t i = 0; i < sum.values.size(); ++i)
      sum.values[i] += part.values[i];
    return success();
  };
  if (matrix.getBase()) {
    auto base = evaluate(at, matrix.getBase(), source);
    if (failed(base) || failed(add(*base)))
      return failure();
  }
  if (matrix.getLeft() && matrix.getRight()) {
    auto left = evaluate(at, matrix.getLeft(), source);
    auto right = evaluate(at, matrix.getRight(), source);
    if (failed(left) || failed(right))
      return failure();
    if (left->columns != right->rows)
      return at->emitOpError("multiplies ")
             << left->rows << " x " << left->columns << " numbers by "
             << right->rows << " x " << right->columns;
    Numbers product = timesTransposed(*left, transposed(*right));
    if (matrix.getScale())
      for (double &value : product.values)
        value *= matrix.getScale().getValueAsDouble();
    if (failed(add(product)))
      return failure();
  }
  if (!matrix.getRows())
    return sum;
  auto rows = evaluate(at, matrix.getRows(), source);
  auto ids = evaluate(at, matrix.getRowIds(), source);
  if (failed(rows) || failed(ids))
    return failure();
  if (sum.values.empty())
    return at->emitOpError("has rows, but nothing that says how many there "
                           "are in all");
  for (int64_t r = 0; r < rows->rows; ++r) {
    double place =
        r < static_cast<int64_t>(ids->values.size()) ? ids->values[r] : -1;
    if (!(place >= 0 && place < static_cast<double>(sum.rows)) ||
        rows->columns != sum.columns)
      return at->emitOpError("puts ")
             << rows->columns << " numbers into row " << place << " of "
             << sum.rows << " x " << sum.columns;
    for (int64_t c = 0; c < sum.columns; ++c)
      sum.at(static_cast<int64_t>(place), c) += rows->at(r, c);
  }
  return sum;
}

static FailureOr<Numbers> permute(Operation *at, PermuteAttr permute,
                                  WeightSource &source) {
  auto from = evaluate(at, permute.getSource(), source);
  if (failed(from))
    return failure();
  bool rows = permute.getDim() == 0;
  ArrayRef<int64_t> order = permute.getOrder().asArrayRef();
  int64_t size = rows ? from->rows : from->columns;
  for (int64_t place : order)
    if (permute.getDim() > 1 || place >= size)
      return at->emitOpError("takes entry ")
             << place << " of dimension " << permute.getDim()
             << " of a matrix of " << from->rows << " x " << from->columns;
  int64_t count = static_cast<int64_t>(order.size());
  Numbers result(rows ? count : from->rows, rows ? from->columns : count);
  for (int64_t r = 0; r < result.rows; ++r)
    for (int64_t c = 0; c < result.columns; ++c)
      result.at(r, c) = rows ? from->at(order[r], c) : from->at(r, order[c]);
  return result;
}

static FailureOr<Numbers> lowRank(Operation *at, LowRankAttr recipe,
                                  WeightSource &source) {
  RecipeMemo &memo = source.memo();
  auto whole = LowRankAttr::get(
      at->getContext(), recipe.getSource(), recipe.getRank(),
      StringAttr::get(at->getContext(), "left"), recipe.getMoments());
  bool known = memo.factoredOf == whole, rest = recipe.getFactor() == "rest";
  Numbers from;
  if (!known || rest) {
    auto numbers = evaluateFinite(at, recipe.getSource(), source);
    if (failed(numbers))
      return failure();
    from = std::move(*numbers);
  }
  if (!known) {
    if (recipe.getRank() > std::min(from.rows, from.columns))
      return at->emitOpError("asks for rank ")
             << recipe.getRank() << " of a matrix of " << from.rows << " x "
             << from.columns;
    auto moments = momentsOf(at, recipe.getMoments(), from.columns, source);
    if (failed(moments))
      return failure();
    memo.factoredOf = {};
    if (!factorize(from, recipe.getRank(), *moments, memo.left, memo.right))
      return at->emitOpError("has no singular value decomposition");
    memo.factoredOf = whole;
  }
  if (!rest)
    return recipe.getFactor() == "left" ? memo.left : memo.right;
  llvm::parallelFor(0, from.rows, [&](size_t r) {
    for (int64_t i = 0; i < memo.left.columns; ++i)
      for (int64_t c = 0; c < from.columns; ++c)
        from.at(r, c) -= memo.left.at(r, i) * memo.right.at(i, c);
  });
  return from;
}

static FailureOr<Numbers> sparsify(Operation *at, SparsifyAttr recipe,
                                   WeightSource &source) {
  auto from = evaluateFinite(at, recipe.getSource(), source);
  if (failed(from))
    return failure();
  auto moments = momentsOf(at, recipe.getMoments(), from->columns, source);
  if (failed(moments))
    return failure();
  int64_t group = recipe.getM() ? recipe.getM() : from->columns;
  if (recipe.getN() > group)
    return at->emitOpError("keeps ")
           << recipe.getN() << " of " << group << " numbers";
  llvm::parallelFor(0, from->rows, [&](size_t r) {
    SmallVector<std::pair<double, int64_t>> rank;
    for (int64_t first = 0; first < from->columns; first += group) {
      int64_t count = std::min(group, from->columns - first);
      rank.clear();
      for (int64_t c = 0; c < count; ++c) {
        double weight = moments->empty() ? 1 : std::sqrt((*moments)[first + c]);
        rank.push_back({-std::abs(from->at(r, first + c)) * weight, c});
      }
      llvm::sort(rank);
      for (int64_t c = recipe.getN(); c < count; ++c)
        from->at(r, first + rank[c].second) = 0;
    }
  });
  return from;
}

static QuantFormat formatOf(QuantizeAttr recipe) {
  return {recipe.getBits(), recipe.getBlock(), recipe.getCodeName().str(),
          recipe.getAsymmetric()};
}

/// What sums of products make, in the memo.
static FailureOr<const RecipeMemo::Compensated *>
compensate(Operation *at, Attribute gram, int64_t columns,
           WeightSource &source) {
  RecipeMemo &memo = source.memo();
  RecipeMemo::Compensated &slot = isa<SliceAttr>(gram) ? memo.shared : memo.own;
  if (slot.gram != gram) {
    slot.gram = {};
    auto numbers = evaluateFinite(at, gram, source);
    if (failed(numbers))
      return failure();
    auto made = numbers->rows == numbers->columns ? compensationOf(*numbers)
                                                  : std::nullopt;
    if (!made)
      return at->emitOpError("has sums of products of inputs that are none: "
                             "they are not positive definite");
    slot.compensation = std::move(*made);
    slot.moments.clear();
    for (int64_t i = 0; i < numbers->rows; ++i)
      slot.moments.push_back(numbers->at(i, i));
    slot.gram = gram;
  }
  if (static_cast<int64_t>(slot.moments.size()) != columns)
    return at->emitOpError("has ")
           << columns << " inputs, but sums of products of "
           << slot.moments.size();
  return &slot;
}

/// Leaves what it makes in the memo.
static LogicalResult quantizeIt(Operation *at, QuantizeAttr recipe,
                                WeightSource &source) {
  RecipeMemo &memo = source.memo();
  auto whole = QuantizeAttr::get(
      at->getContext(), recipe.getSource(), recipe.getBits(), recipe.getBlock(),
      StringAttr::get(at->getContext(), "values"), recipe.getCode(),
      recipe.getAsymmetric(), recipe.getMoments(), recipe.getGram());
  if (memo.quantizedOf == whole)
    return success();
  auto from = evaluateFinite(at, recipe.getSource(), source);
  if (failed(from))
    return failure();
  auto moments = momentsOf(at, recipe.getMoments(), from->columns, source);
  if (failed(moments))
    return failure();
  const Compensation *compensation = nullptr;
  if (recipe.getGram()) {
    auto made = compensate(at, recipe.getGram(), from->columns, source);
    if (failed(made))
      return failure();
    compensation = &(*made)->compensation;
    if (moments->empty())
      *moments = (*made)->moments;
  }
  memo.quantized = quantize(*from, formatOf(recipe), *moments, compensation);
  memo.quantizedOf = whole;
  return success();
}

static FailureOr<Numbers> hidden(Operation *at, HiddenAttr recipe,
                                 WeightSource &source) {
  auto inputs = evaluate(at, recipe.getInputs(), source);
  if (failed(inputs))
    return failure();
  return HiddenLayer(recipe).evaluate(at, *inputs, source);
}

static FailureOr<Numbers> gram(Operation *at, GramAttr recipe,
                               WeightSource &source) {
  auto rows = evaluate(at, recipe.getSource(), source);
  if (failed(rows))
    return failure();
  Numbers columns = transposed(*rows);
  return timesTransposed(columns, columns);
}

static FailureOr<Numbers> scale(Operation *at, ScaleAttr recipe,
                                WeightSource &source) {
  auto numbers = evaluate(at, recipe.getSource(), source);
  auto factors = evaluate(at, recipe.getFactors(), source);
  if (failed(numbers) || failed(factors))
    return failure();
  bool rows = recipe.getDim() == 0;
  int64_t size = rows ? numbers->rows : numbers->columns;
  if (static_cast<int64_t>(factors->values.size()) != size)
    return at->emitOpError("has ") << factors->values.size() << " factors for "
                                   << size << (rows ? " rows" : " columns");
  for (int64_t r = 0; r < numbers->rows; ++r)
    for (int64_t c = 0; c < numbers->columns; ++c)
      numbers->at(r, c) *= factors->values[rows ? r : c];
  return numbers;
}

template <typename T>
static Numbers asNumbers(int64_t rows, int64_t columns,
                         const std::vector<T> &values) {
  Numbers numbers(rows, columns);
  llvm::copy(values, numbers.values.begin());
  return numbers;
}

FailureOr<Numbers> moe::evaluate(Operation *at, Attribute recipe,
                                 WeightSource &source) {
  if (auto slice = dyn_cast<SliceAttr>(recipe))
    return sliceNumbers(at, slice, source);
  if (auto attr = dyn_cast<MixAttr>(recipe))
    return mix(at, attr, source);
  if (auto attr = dyn_cast<PermuteAttr>(recipe))
    return permute(at, attr, source);
  if (auto attr = dyn_cast<FactoredAttr>(recipe))
    return sumOf(at, attr, source);
  if (auto attr = dyn_cast<LowRankAttr>(recipe))
    return lowRank(at, attr, source);
  if (auto attr = dyn_cast<SparsifyAttr>(recipe))
    return sparsify(at, attr, source);
  if (auto attr = dyn_cast<HiddenAttr>(recipe))
    return hidden(at, attr, source);
  if (auto attr = dyn_cast<GramAttr>(recipe))
    return gram(at, attr, source);
  if (auto attr = dyn_cast<ScaleAttr>(recipe))
    return scale(at, attr, source);
  if (auto attr = dyn_cast<QuantizeAttr>(recipe)) {
    if (failed(quantizeIt(at, attr, source)))
      return failure();
    const QuantizedMatrix &made = source.memo().quantized;
    if (attr.getPart() == "scales")
      return asNumbers(made.rows, made.blocks, made.scales);
    if (attr.getPart() == "zeros")
      return asNumbers(made.rows, made.blocks, made.zeros);
    return asNumbers(made.rows, made.columns, made.codes);
  }
  return at->emitOpError("has a recipe that cannot be executed: ") << recipe;
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

LogicalResult moe::makeBank(BankOp bank, WeightSource &source,
                            std::string &bytes) {
  Attribute recipe = *bank.getRecipe();
  RankedTensorType type = bank.getTensorType();
  auto append = [&](Attribute part, ArrayRef<int64_t> shape) -> LogicalResult {
    auto numbers = evaluate(bank, part, source);
    if (failed(numbers))
      return failure();
    int64_t rows = shape.empty() ? 1 : shape[0];
    int64_t columns = shape.size() > 1 ? shape[1] : 1;
    // A row is as good as a column where vectors are wanted.
    if (shape.size() < 2 && numbers->rows == 1)
      std::swap(numbers->rows, numbers->columns);
    if (shape.size() > 2 || numbers->rows != rows ||
        numbers->columns != columns)
      return bank.emitOpError("has ")
             << rows << " x " << columns << " numbers, but its recipe makes "
             << numbers->rows << " x " << numbers->columns;
    if (type.getElementType().isUnsignedInteger(8)) {
      for (double number : numbers->values)
        bytes += static_cast<char>(static_cast<uint8_t>(number));
      return success();
    }
    auto element = dyn_cast<FloatType>(type.getElementType());
    if (!element || element.getWidth() % 8 != 0)
      return bank.emitOpError("of type ") << type << " cannot be made";
    bytes += writeNumbers(numbers->values, element);
    return success();
  };
  if (auto stack = dyn_cast<StackAttr>(recipe)) {
    if (type.getRank() < 1 ||
        type.getDimSize(0) != static_cast<int64_t>(stack.getSources().size()))
      return bank.emitOpError("of type ")
             << type << " is stacked of " << stack.getSources().size()
             << " parts";
    for (Attribute part : stack.getSources())
      if (failed(append(part, type.getShape().drop_front())))
        return failure();
    return success();
  }
  auto quantized = dyn_cast<QuantizeAttr>(recipe);
  if (!quantized || quantized.getPart() != "values")
    return append(recipe, type.getShape());
  if (failed(quantizeIt(bank, quantized, source)))
    return failure();
  bytes = source.memo().quantized.packed(quantized.getBits());
  uint64_t expected = static_cast<uint64_t>(type.getNumElements()) *
                      type.getElementTypeBitWidth() / 8;
  if (bytes.size() != expected)
    return bank.emitOpError("has ")
           << expected << " bytes, but its recipe makes " << bytes.size();
  return success();
}
