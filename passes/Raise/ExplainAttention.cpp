// Measures what the nodes around a softmax do, and proves it.
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/Raise/AttentionMatch.h"
#include "passes/Raise/WeightRef.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <random>

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

namespace {
/// Sizes to evaluate with: of S queries and L keys.
struct Sizes {
  int64_t batch, queries, past;
};

class AttentionExplainer {
public:
  AttentionExplainer(AttentionMatch &match, SymbolicShapes &shapes,
                     std::string &reason)
      : match(match), shapes(shapes), reason(reason) {}
  bool explain();

private:
  bool fail(const Twine &why) {
    reason = why.str();
    return false;
  }
  bool findSymbols();
  bool explainOperand(HeadsOperand &operand, Value matrix, bool transposed,
                      StringRef what);
  bool explainMask();
  bool explainBias();
  bool collectMaskInputs();
  std::vector<int64_t> assign(const Sizes &sizes);
  bool isVisible(const Sizes &sizes, const HostTensor *mask, int64_t b,
                 int64_t s, int64_t l) const;
  bool checkWeights(const Sizes &sizes, unsigned maskKind, bool learn);
  bool prove(const Sizes &sizes, unsigned maskKind);
  HostTensor randomTensor(ArrayRef<int64_t> shape);
  HostTensor makeMask(const Sizes &sizes, int64_t length, unsigned kind);

  AttentionMatch &match;
  SymbolicShapes &shapes;
  std::string &reason;
  std::mt19937_64 random{17};

  /// Symbols of the sizes, -1 where a size is constant.
  int64_t batchSymbol = -1, querySymbol = -1, pastSymbol = -1;
  DimExpr queryCount, keyCount, pastCount;
  int64_t farthest = 0;          ///< the largest constant near the mask
  SmallVector<Value> maskInputs; ///< what the mask depends on but sizes
  Value maskCandidate;
  bool blindIsUniform = false, blindIsZero = false;
};
} // namespace

/// The symbol that `size` is, or nothing.
static std::optional<unsigned> onlySymbol(const DimExpr &size) {
  const DimExpr::Terms &terms = size.getTerms();
  if (terms.size() != 1 || terms.begin()->first.size() != 1 ||
      terms.begin()->second != 1)
    return std::nullopt;
  return terms.begin()->first.front();
}

bool AttentionExplainer::findSymbols() {
  const SymbolicShape *scores = shapes.shape(match.scores);
  if (!scores || scores->size() != 4)
    return fail("the shape of its scores is not known");
  queryCount = (*scores)[2];
  keyCount = (*scores)[3];
  pastCount = keyCount - queryCount;
  if (auto symbol = onlySymbol((*scores)[0]))
    batchSymbol = *symbol;
  if (auto symbol = onlySymbol(queryCount))
    querySymbol = *symbol;
  // Keys of the past: what the number of keys has more than the queries'.
  if (auto symbol = onlySymbol(pastCount))
    pastSymbol = *symbol;
  else if (auto all = onlySymbol(keyCount); all && *all != querySymbol)
    pastSymbol = *all;
  return true;
}

std::vector<int64_t> AttentionExplainer::assign(const Sizes &sizes) {
  // Different, so that no two sizes only happen to be the same.
  std::vector<int64_t> values;
  for (unsigned i = 0; i < shapes.symbolCount(); ++i)
    values.push_back(11 + i);
  if (batchSymbol >= 0)
    values[batchSymbol] = sizes.batch;
  if (querySymbol >= 0)
    values[querySymbol] = sizes.queries;
  if (pastSymbol >= 0)
    values[pastSymbol] =
        onlySymbol(pastCount) ? sizes.past : sizes.queries + sizes.past;
  // A mask may have sizes of its own; whether they are those of the batch and
  // of the keys is checked at run time then.
  auto own = [&](const DimExpr &size, int64_t value) {
    if (auto symbol = onlySymbol(size); symbol && *symbol != batchSymbol &&
                                        *symbol != querySymbol &&
                                        *symbol != pastSymbol)
      values[*symbol] = value;
  };
  for (Value input : maskInputs)
    if (const SymbolicShape *shape = shapes.shape(input);
        shape && shape->size() == 2) {
      own(shape->front(), sizes.batch);
      own(shape->back(), keyCount.evaluate(values));
    }
  return values;
}

HostTensor AttentionExplainer::randomTensor(ArrayRef<int64_t> shape) {
  HostTensor tensor(shape);
  std::normal_distribution<double> normal;
  for (double &number : tensor.data)
    number = normal(random);
  return tensor;
}

/// Masks of a batch: none hidden (0), then rows padded on the left (so that the
/// first queries see no key), rows with all keys hidden, and rows with holes,
/// in another order for each kind. Numbers other than 0 and 1 are among them.
HostTensor AttentionExplainer::makeMask(const Sizes &sizes, int64_t length,
                                        unsigned kind) {
  HostTensor mask({sizes.batch, length}, 1, true);
  Type element =
      cast<RankedTensorType>(maskCandidate.getType()).getElementType();
  static const double integers[] = {1, 2, -1, 1}, reals[] = {1, 0.5, 2, -1};
  if (kind == 0)
    return mask;
  for (int64_t b = 0; b < sizes.batch; ++b)
    for (int64_t l = 0; l < length; ++l) {
      bool hidden[] = {l < length / 2, true, random() % 3 == 0};
      double &number = mask.data[b * length + l];
      if (hidden[(b + kind) % 3])
        number = 0;
      else if (!element.isInteger(1))
        number = (element.isF32() ? reals : integers)[random() % 4];
    }
  return mask;
}

/// Finds the tensor of heads behind `matrix`, an operand of a product
/// ([B, heads, rows, features], the last two swapped where `transposed`).
bool AttentionExplainer::explainOperand(HeadsOperand &operand, Value matrix,
                                        bool transposed, StringRef what) {
  static const llvm::StringSet<> moves = {
      "Mul",     "Div",      "Transpose", "Reshape", "Expand", "Unsqueeze",
      "Squeeze", "Identity", "Cast",      "Concat",  "Tile"};
  SmallVector<Value> roots;
  for (Value value = matrix; value && roots.size() < 16;) {
    auto type = f32Type(value);
    if (type && type.getRank() == 4 && !type.isDynamicDim(3))
      roots.push_back(value);
    if (auto cast = value.getDefiningOp<tensor::CastOp>()) {
      value = cast.getSource();
      continue;
    }
    auto node = value.getDefiningOp<NodeOp>();
    if (!node || !node.getDomain().empty() || !moves.contains(node.getOpType()))
      break;
    Value next = node.getInputs()[0];
    if (node.is("Concat") && node.getInputs().size() > 1)
      break; // a cache, not one value beside itself
    if ((node.is("Mul") || node.is("Div")) && constantFloat(next))
      next = node.is("Mul") ? node.getInputs()[1] : Value();
    else if ((node.is("Mul") || node.is("Div")) &&
             !constantFloat(node.getInputs()[1]))
      break;
    value = next && f32Type(next) ? next : Value();
  }
  std::vector<int64_t> symbols = assign({2, 3, 2});
  // The farther from the product, the less is left to do.
  for (Value root : llvm::reverse(roots)) {
    const SymbolicShape *shape = shapes.shape(root);
    if (!shape)
      continue;
    GraphEvaluator evaluator;
    evaluator.setSizes(shapes, symbols);
    HostTensor heads = randomTensor(sizesOf(*shape, symbols));
    evaluator.bind(root, heads);
    const HostTensor *product = evaluator.get(matrix);
    if (!product || product->rank() != 4)
      continue;
    ArrayRef<int64_t> sizes = product->shape;
    int64_t batch = sizes[0], count = sizes[1], rows = sizes[2],
            features = sizes[3];
    if (transposed)
      std::swap(rows, features);
    auto at = [&](int64_t b, int64_t h, int64_t r, int64_t d) {
      int64_t matrix = (b * count + h) * rows * features;
      return product
          ->data[matrix + (transposed ? d * rows + r : r * features + d)];
    };
    for (HeadLayout layout : {HeadLayout::RowsFirst, HeadLayout::HeadsFirst}) {
      HeadView view(heads, layout);
      if (view.batch != batch || view.rows != rows ||
          view.features != features || view.heads == 0 ||
          count % view.heads != 0)
        continue;
      int64_t group = count / view.heads;
      double factor = at(0, 0, 0, 0) / view(0, 0, 0, 0);
      bool same = factor != 0;
      for (int64_t b = 0; b < view.batch && same; ++b)
        for (int64_t h = 0; h < count && same; ++h)
          for (int64_t r = 0; r < rows && same; ++r)
            for (int64_t d = 0; d < features && same; ++d)
              same = std::abs(at(b, h, r, d) -
                              factor * view(b, h / group, r, d)) < 1e-9;
      if (!same)
        continue;
      operand = {root, layout, view.heads, features, factor};
      return true;
    }
  }
  return fail("its " + what + " are no tensor of heads, moved and repeated");
}

/// What the masks depend on, other than sizes; and constants near them.
bool AttentionExplainer::collectMaskInputs() {
  llvm::SetVector<Value> seen;
  for (Value value : match.addends)
    seen.insert(value);
  for (Value value : match.conditions)
    seen.insert(value);
  for (size_t i = 0; i < seen.size(); ++i) {
    if (i == 512)
      return fail("its mask depends on too many nodes");
    Value value = seen[i];
    auto node = value.getDefiningOp<NodeOp>();
    // The size of a window, whatever it is spelled as; numbers that hide are
    // larger.
    std::optional<double> number = constantFloat(value);
    if (auto integers = constantInts(value); integers && integers->size() == 1)
      number = static_cast<double>(integers->front());
    if (number) {
      if (std::abs(*number) < 2147483648.0 && *number > -9000)
        farthest = std::max(farthest, static_cast<int64_t>(std::abs(*number)));
      continue;
    }
    if (isConstant(value) || shapes.elements(value))
      continue;
    if (!node) {
      maskInputs.push_back(value);
      continue;
    }
    if (node.is("Shape"))
      continue;
    for (Value input : node.getInputs())
      if (!isa<NoneType>(input.getType()))
        seen.insert(input);
  }
  return true;
}

bool AttentionExplainer::isVisible(const Sizes &sizes, const HostTensor *mask,
                                   int64_t b, int64_t s, int64_t l) const {
  int64_t length = sizes.queries + sizes.past, at = s + sizes.past;
  return (!match.causal || l <= at) &&
         (match.window == 0 || l > at - match.window) &&
         (!mask || (match.maskIsOne ? mask->data[b * length + l] == 1
                                    : mask->data[b * length + l] != 0));
}

/// Evaluates the softmax of equal scores; with `learn` reads the mask off it,
/// else compares it with what was learned.
bool AttentionExplainer::checkWeights(const Sizes &sizes, unsigned maskKind,
                                      bool learn) {
  std::vector<int64_t> symbols = assign(sizes);
  int64_t length = keyCount.evaluate(symbols),
          queries = queryCount.evaluate(symbols);
  Sizes real = {sizes.batch, queries, length - queries};
  if (real.past < 0)
    return fail("it has more queries than keys");
  GraphEvaluator evaluator;
  evaluator.setSizes(shapes, symbols);
  HostTensor zero(sizesOf(*shapes.shape(match.scores), symbols));
  real.batch = zero.shape[0];
  HostTensor mask;
  if (maskCandidate) {
    mask = makeMask(real, length, maskKind);
    if (mask.shape != sizesOf(*shapes.shape(maskCandidate), symbols))
      return fail("its mask is not of one number per key");
    evaluator.bind(maskCandidate, mask);
  }
  int64_t heads = zero.shape[1];
  evaluator.bind(match.scores, std::move(zero));
  const HostTensor *weights = evaluator.get(match.weights);
  if (!weights)
    return fail("its mask cannot be evaluated: " + evaluator.getError());
  auto at = [&](int64_t b, int64_t h, int64_t s, int64_t l) {
    return weights->data[((b * heads + h) * queries + s) * length + l];
  };
  if (weights->size() != real.batch * heads * queries * length)
    return fail("its mask has another shape than its scores");
  if (learn) {
    // The last query shows the window, the first whether it is causal.
    match.causal = queries > 1 && at(0, 0, 0, length - 1) < 1e-9;
    int64_t first = 0;
    while (first < length && at(0, 0, queries - 1, first) < 1e-9)
      ++first;
    match.window = first == 0 || first == length ? 0 : length - first;
  }
  for (int64_t b = 0; b < real.batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t s = 0; s < queries; ++s) {
        int64_t count = 0;
        for (int64_t l = 0; l < length; ++l)
          count += isVisible(real, maskCandidate ? &mask : nullptr, b, s, l);
        bool zeros = true, uniform = true;
        for (int64_t l = 0; l < length; ++l) {
          double weight = at(b, h, s, l);
          double want =
              count && isVisible(real, maskCandidate ? &mask : nullptr, b, s, l)
                  ? 1.0 / static_cast<double>(count)
                  : 0;
          zeros &= weight == 0;
          uniform &= std::abs(weight * static_cast<double>(length) - 1) < 1e-9;
          if (count && std::abs(weight - want) > 1e-9)
            return fail("its mask is none that moert knows");
        }
        if (count)
          continue;
        blindIsZero |= zeros;
        blindIsUniform |= uniform;
        // NaN: nobody relies on it.
        bool isNan = std::isnan(at(b, h, s, 0));
        if (!zeros && !uniform && !isNan)
          return fail("rows that see no key are neither zero nor a mean");
      }
  return true;
}

bool AttentionExplainer::explainMask() {
  if (maskInputs.size() > 1)
    return fail("its mask depends on several inputs");
  if (maskInputs.size() == 1) {
    Value input = maskInputs.front();
    auto type = dyn_cast<RankedTensorType>(input.getType());
    Type element = type ? type.getElementType() : Type();
    if (!type || type.getRank() != 2 ||
        !(element.isInteger(64) || element.isInteger(32) ||
          element.isInteger(1) || element.isF32()))
      return fail("its mask depends on more than which keys are there");
    maskCandidate = input;
  }
  // Enough keys to see any window whose size stands in the graph.
  bool free = pastSymbol >= 0;
  int64_t heads = (*shapes.shape(match.scores))[1].asConstant().value_or(64);
  int64_t most =
      free ? 20000
           : static_cast<int64_t>(std::sqrt(
                 8e6 / static_cast<double>(std::max<int64_t>(1, heads))));
  if (farthest > most)
    return fail("its mask may be a window of " + Twine(farthest) +
                " keys, more than are looked at");
  Sizes longest = free ? Sizes{1, 2, farthest + 3} : Sizes{1, farthest + 3, 0};
  if (!checkWeights(longest, 0, true))
    return false;
  auto agrees = [&] {
    for (Sizes sizes : {Sizes{2, 3, 2}, Sizes{2, 1, 4}, Sizes{1, 4, 0},
                        Sizes{3, 5, 1}, longest})
      for (unsigned kind : {0u, 1u, 2u, 3u})
        if (!checkWeights(sizes, kind, false))
          return false;
    return true;
  };
  bool agreed = agrees();
  if (!agreed && maskCandidate) {
    match.maskIsOne = true;
    blindIsZero = blindIsUniform = false;
    agreed = agrees();
  }
  if (!agreed)
    return false;
  if (blindIsZero && blindIsUniform)
    return fail("rows that see no key are treated in two ways");
  match.keyMask = maskCandidate;
  match.maskedRow =
      blindIsUniform ? moert::MaskedRow::Uniform : moert::MaskedRow::Zero;
  return true;
}

/// A mask of another kind, where it is one value that is added.
bool AttentionExplainer::explainBias() {
  if (match.addends.size() != 1 || !match.conditions.empty())
    return false;
  Value bias = match.addends.front();
  const SymbolicShape *shape = shapes.shape(bias),
                      *scores = shapes.shape(match.scores);
  if (!f32Type(bias) || !shape || shape->size() != 4 ||
      (*shape)[2] != (*scores)[2] || (*shape)[3] != (*scores)[3])
    return false;
  for (size_t d : {0, 1})
    if (!(*shape)[d].isConstant(1) && (*shape)[d] != (*scores)[d])
      return false;
  match.bias = bias;
  match.causal = false;
  match.window = 0;
  match.keyMask = {};
  return true;
}

/// Compares the whole with attention on random numbers.
bool AttentionExplainer::prove(const Sizes &sizes, unsigned maskKind) {
  std::vector<int64_t> symbols = assign(sizes);
  GraphEvaluator evaluator;
  evaluator.setSizes(shapes, symbols);
  auto make = [&](const HeadsOperand &operand) {
    HostTensor tensor =
        randomTensor(sizesOf(*shapes.shape(operand.root), symbols));
    evaluator.bind(operand.root, tensor);
    return tensor;
  };
  if (match.key.root == match.query.root ||
      match.value.root == match.query.root ||
      match.value.root == match.key.root)
    return fail("two of its operands are one tensor");
  HostTensor q = make(match.query), k = make(match.key), v = make(match.value);
  HeadView query(q, match.query.layout), key(k, match.key.layout),
      value(v, match.value.layout);
  if (key.batch != query.batch || value.batch != query.batch ||
      value.rows != key.rows)
    return fail("its queries, keys and values differ in sizes");
  Sizes real = {query.batch, query.rows, key.rows - query.rows};
  HostTensor mask, bias;
  if (match.keyMask) {
    mask = makeMask(real, key.rows, maskKind);
    evaluator.bind(match.keyMask, mask);
  }
  if (match.bias) {
    bias = randomTensor(sizesOf(*shapes.shape(match.bias), symbols));
    evaluator.bind(match.bias, bias);
  }
  const HostTensor *got = evaluator.get(match.output);
  if (!got)
    return fail("it cannot be evaluated: " + evaluator.getError());
  int64_t group = query.heads / key.heads;
  HeadView result(*got, HeadLayout::HeadsFirst);
  if (got->rank() != 4 || result.heads != query.heads ||
      result.rows != query.rows || result.features != query.features)
    return fail("its result has another shape than its queries");
  for (int64_t b = 0; b < query.batch; ++b)
    for (int64_t h = 0; h < query.heads; ++h)
      for (int64_t s = 0; s < query.rows; ++s) {
        std::vector<double> weights(key.rows, 0);
        double sum = 0;
        for (int64_t l = 0; l < key.rows; ++l) {
          if (!isVisible(real, match.keyMask ? &mask : nullptr, b, s, l))
            continue;
          double score = 0;
          for (int64_t d = 0; d < query.features; ++d)
            score += query(b, h, s, d) * key(b, h / group, l, d);
          score *= match.scale;
          if (match.softcap > 0)
            score = match.softcap * std::tanh(score / match.softcap);
          if (match.bias) {
            HeadView add(bias, HeadLayout::HeadsFirst);
            score += add(add.batch == 1 ? 0 : b, add.heads == 1 ? 0 : h, s, l);
          }
          sum += weights[l] = std::exp(score);
        }
        if (sum == 0 && match.maskedRow == moert::MaskedRow::Uniform) {
          weights.assign(key.rows, 1);
          sum = static_cast<double>(key.rows);
        }
        for (int64_t d = 0; d < query.features; ++d) {
          double mean = 0;
          for (int64_t l = 0; l < key.rows; ++l)
            mean += weights[l] * value(b, h / group, l, d);
          mean = sum > 0 ? mean / sum : 0;
          double have = result(b, h, s, d);
          bool isNan = sum == 0 && std::isnan(have);
          if (!isNan && !(std::abs(have - mean) < 1e-6))
            return fail("its results differ from those of attention");
        }
      }
  return true;
}

bool AttentionExplainer::explain() {
  if (!findSymbols())
    return false;
  if (!collectMaskInputs())
    return false;
  if (!explainOperand(match.query, match.queries, false, "queries") ||
      !explainOperand(match.key, match.keys, true, "keys") ||
      !explainOperand(match.value, match.values, false, "values"))
    return false;
  if (match.key.heads != match.value.heads ||
      match.query.features != match.key.features ||
      match.query.features != match.value.features)
    return fail("its queries, keys and values differ in heads or features");
  if (std::abs(match.value.factor - 1) > 1e-12)
    return fail("its values are multiplied by a number");
  match.scale = match.query.factor * match.key.factor * match.scoreFactor;
  if (!explainMask()) {
    if (!explainBias())
      return false;
    reason.clear();
  }
  for (Sizes sizes : {Sizes{2, 3, 2}, Sizes{1, 1, 3}, Sizes{2, 4, 0}})
    for (unsigned kind : {0u, 1u, 2u, 3u})
      if (!prove(sizes, kind))
        return false;
  return true;
}

bool moe::explainAttention(AttentionMatch &match, SymbolicShapes &shapes,
                           std::string &reason) {
  return AttentionExplainer(match, shapes, reason).explain();
}
