#include "passes/Analysis/Recipe.h"

#include "dialects/MoE/MoEOps.h"
#include "passes/Analysis/Hidden.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Loops.h"
#include "passes/Analysis/ReadAhead.h"
#include "passes/Analysis/WeightSource.h"
#include <atomic>
#include <cmath>

using namespace mlir;
using namespace moe;

static LogicalResult checkFinite(Operation *at, const Numbers &numbers,
                                 StringRef what = "weights") {
  std::atomic<bool> finite{true};
  forRows(numbers.rows, numbers.columns, [&](int64_t first, int64_t last) {
    if (!areFinite(ArrayRef(numbers.values)
                       .slice(first * numbers.columns,
                              (last - first) * numbers.columns)))
      finite = false;
  });
  if (finite)
    return success();
  for (size_t i = 0; i < numbers.values.size(); ++i)
    if (!std::isfinite(numbers.values[i])) {
      // Names of banks tell layer, expert and matrix.
      auto bank = dyn_cast<BankOp>(at);
      InFlightDiagnostic error = bank ? emitError(at->getLoc(), "'")
                                            << bank.getSymName() << "' "
                                      : at->emitOpError();
      return error << "needs finite " << what << ", but number "
                   << i % numbers.columns << " of row " << i / numbers.columns
                   << " is " << numbers.values[i];
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
  if (failed(checkFinite(at, *numbers, "moments of the profile")))
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
    forRows(sum.rows, sum.columns, [&](int64_t first, int64_t last) {
      for (int64_t n = first * sum.columns; n < last * sum.columns; ++n)
        sum.values[n] += weight * part->values[n];
    });
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

/// The rows of all sources, one after the other.
static FailureOr<Numbers> stack(Operation *at, StackAttr stack,
                                WeightSource &source) {
  Numbers all;
  for (Attribute part : stack.getSources()) {
    auto numbers = evaluate(at, part, source);
    if (failed(numbers))
      return failure();
    if (all.rows > 0 && numbers->columns != all.columns)
      return at->emitOpError("stacks rows of ")
             << all.columns << " and " << numbers->columns << " numbers";
    all.rows += numbers->rows;
    all.columns = numbers->columns;
    all.values.insert(all.values.end(), numbers->values.begin(),
                      numbers->values.end());
  }
  return all;
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
  forRows(result.rows, result.columns, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      for (int64_t c = 0; c < result.columns; ++c)
        result.at(r, c) = rows ? from->at(order[r], c) : from->at(r, order[c]);
  });
  return result;
}

/// The factors of a matrix, and of those to come, one per processor: one
/// decomposition keeps one busy.
static FailureOr<const RecipeMemo::Factors *>
factorsOf(Operation *at, LowRankAttr recipe, WeightSource &source) {
  RecipeMemo &memo = source.memo();
  LowRankAttr whole = wholeOf(recipe);
  for (const RecipeMemo::Factors &known : memo.factored)
    if (known.of == whole)
      return &known;
  std::vector<ReadAhead::Factors> all{{at, whole}};
  constexpr size_t numbersAtOnce = 32 << 20;
  size_t threads = llvm::parallel::strategy.compute_thread_count();
  if (ReadAhead *expected = source.getExpected(); expected && threads > 1)
    for (auto &other : expected->factorsFrom(source.getReached(), threads))
      if (other.second != whole && all.size() < threads)
        all.push_back(other);
  std::vector<Numbers> matrices;
  std::vector<std::vector<double>> weights;
  size_t numbers = 0;
  for (auto [where, own] : all) {
    auto from = evaluateFinite(where, own.getSource(), source);
    if (failed(from))
      return failure();
    if (own.getRank() > std::min(from->rows, from->columns))
      return where->emitOpError("asks for rank ")
             << own.getRank() << " of a matrix of " << from->rows << " x "
             << from->columns;
    auto moments = momentsOf(where, own.getMoments(), from->columns, source);
    if (failed(moments))
      return failure();
    numbers += from->values.size();
    matrices.push_back(std::move(*from));
    weights.push_back(std::move(*moments));
    if (numbers > numbersAtOnce)
      break;
  }
  std::vector<RecipeMemo::Factors> made(matrices.size());
  std::vector<char> done(matrices.size());
  llvm::parallelFor(0, matrices.size(), [&](size_t i) {
    made[i].of = all[i].second;
    done[i] = factorize(matrices[i], all[i].second.getRank(), weights[i],
                        made[i].left, made[i].right);
  });
  for (auto [own, where] : llvm::zip(done, all))
    if (!own)
      return where.first->emitOpError("has no singular value decomposition");
  memo.factored = std::move(made);
  return &memo.factored.front();
}

static FailureOr<Numbers> lowRank(Operation *at, LowRankAttr recipe,
                                  WeightSource &source) {
  bool rest = recipe.getFactor() == "rest";
  Numbers from;
  if (rest) {
    auto numbers = evaluateFinite(at, recipe.getSource(), source);
    if (failed(numbers))
      return failure();
    from = std::move(*numbers);
  }
  auto found = factorsOf(at, recipe, source);
  if (failed(found))
    return failure();
  const Numbers &left = (*found)->left, &right = (*found)->right;
  if (!rest)
    return recipe.getFactor() == "left" ? left : right;
  forRows(from.rows, from.columns, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      for (int64_t i = 0; i < left.columns; ++i)
        for (int64_t c = 0; c < from.columns; ++c)
          from.at(r, c) -= left.at(r, i) * right.at(i, c);
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
  auto from = MatrixRows::open(at, recipe.getSource(), source);
  if (failed(from))
    return failure();
  auto moments = momentsOf(at, recipe.getMoments(), from->columns(), source);
  if (failed(moments))
    return failure();
  memo.quantizedOf = {};
  if (recipe.getGram()) {
    auto numbers = evaluateFinite(at, recipe.getSource(), source);
    auto made = compensate(at, recipe.getGram(), from->columns(), source);
    from->close(source);
    if (failed(numbers) || failed(made))
      return failure();
    if (moments->empty())
      *moments = (*made)->moments;
    memo.quantized =
        quantize(*numbers, formatOf(recipe), *moments, &(*made)->compensation);
    memo.quantizedOf = whole;
    return success();
  }
  auto made = quantizeRows(
      from->rows(), from->columns(),
      [&](int64_t first, int64_t last, double *buffer) {
        return from->read(first, last, buffer);
      },
      formatOf(recipe), *moments);
  from->close(source);
  // Says which number it is.
  if (!made)
    return LogicalResult(evaluateFinite(at, recipe.getSource(), source));
  memo.quantized = std::move(*made);
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
  forRows(rows, columns, [&](int64_t first, int64_t last) {
    std::copy(values.begin() + first * columns, values.begin() + last * columns,
              numbers.values.begin() + first * columns);
  });
  return numbers;
}

FailureOr<Numbers> moe::evaluate(Operation *at, Attribute recipe,
                                 WeightSource &source) {
  if (auto slice = dyn_cast<SliceAttr>(recipe))
    return sliceNumbers(at, slice, source);
  if (auto attr = dyn_cast<MixAttr>(recipe))
    return mix(at, attr, source);
  if (auto attr = dyn_cast<StackAttr>(recipe))
    return stack(at, attr, source);
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

/// Numbers as integers of a byte, a piece at a time: a vocabulary's matrix may
/// be stored like this.
static LogicalResult
appendBytes(BankOp bank, Attribute part, WeightSource &source,
            llvm::function_ref<LogicalResult(int64_t, int64_t)> fits,
            std::string &bytes) {
  auto matrix = MatrixRows::open(bank, part, source);
  if (failed(matrix) || failed(fits(matrix->rows(), matrix->columns())))
    return failure();
  int64_t columns = matrix->columns();
  if (matrix->rows() == 0 || columns == 0)
    return success();
  int64_t atOnce = std::max<int64_t>((1 << 16) / columns, 1);
  std::vector<double> buffer(atOnce * columns);
  for (int64_t first = 0; first < matrix->rows(); first += atOnce) {
    int64_t last = std::min(first + atOnce, matrix->rows());
    const double *numbers = matrix->read(first, last, buffer.data());
    // The same byte with a sign or without.
    for (int64_t i = 0; i < (last - first) * columns; ++i)
      bytes += static_cast<char>(static_cast<int>(numbers[i]));
  }
  matrix->close(source);
  return success();
}

LogicalResult moe::makeBank(BankOp bank, WeightSource &source,
                            std::string &bytes) {
  Attribute recipe = *bank.getRecipe();
  RankedTensorType type = bank.getTensorType();
  auto append = [&](Attribute part, ArrayRef<int64_t> shape) -> LogicalResult {
    // More dimensions are rows one after the other, as recipes make them.
    int64_t columns = shape.size() > 1 ? shape.back() : 1;
    int64_t rows =
        ShapedType::getNumElements(shape) / std::max<int64_t>(columns, 1);
    auto fits = [&](int64_t madeRows, int64_t madeColumns) -> LogicalResult {
      // A row is as good as a column where vectors are wanted.
      if (shape.size() < 2 && madeRows == 1)
        std::swap(madeRows, madeColumns);
      if (madeRows == rows && madeColumns == columns)
        return success();
      return bank.emitOpError("has ")
             << rows << " x " << columns << " numbers, but its recipe makes "
             << madeRows << " x " << madeColumns;
    };
    if (type.getElementType().isInteger(8))
      return appendBytes(bank, part, source, fits, bytes);
    auto numbers = evaluate(bank, part, source);
    if (failed(numbers) || failed(fits(numbers->rows, numbers->columns)))
      return failure();
    size_t before = bytes.size();
    auto element = dyn_cast<FloatType>(type.getElementType());
    if (!element || element.getWidth() % 8 != 0)
      return bank.emitOpError("of type ") << type << " cannot be made";
    std::string written = writeNumbers(numbers->values, element);
    std::optional<int64_t> bad = firstNotFinite(written, element);
    if (!bad) {
      // The usual case is one part.
      bytes.empty() ? bytes.swap(written) : (void)bytes.append(written);
      return success();
    }
    if (failed(checkFinite(bank, *numbers)))
      return failure();
    int64_t place = static_cast<int64_t>(before / (element.getWidth() / 8));
    return emitError(bank.getLoc(), "'")
           << bank.getSymName() << "' is stored as " << element
           << ", which cannot hold number " << *bad % columns << " of row "
           << (place + *bad) / columns << ", " << numbers->values[*bad];
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
