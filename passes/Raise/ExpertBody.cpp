#include "passes/Raise/ExpertBody.h"

#include "passes/Analysis/Activation.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringSet.h"
#include <random>

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

/// The view without its dimensions of size 1, as a bias of `outputs` numbers
/// (per expert); null where it is none.
static WeightRef asBias(WeightRef ref, const WeightRef &weight) {
  if (!ref)
    return {};
  WeightRef view = ref;
  view.shape.clear();
  view.strides.clear();
  for (int64_t d = 0; d < ref.rank(); ++d)
    if (ref.shape[d] != 1) {
      view.shape.push_back(ref.shape[d]);
      view.strides.push_back(ref.strides[d]);
    }
  SmallVector<int64_t> expected(weight.shape.begin(), weight.shape.end() - 1);
  if (!llvm::equal(view.shape, expected))
    return {};
  return view;
}

static void swapLast(WeightRef &ref) {
  size_t n = ref.shape.size();
  std::swap(ref.shape[n - 1], ref.shape[n - 2]);
  std::swap(ref.strides[n - 1], ref.strides[n - 2]);
}

static bool isFloat(const WeightRef &ref) {
  return isa<FloatType>(ref.rootType().getElementType());
}

namespace {
/// A constant, or rows of it that computed ids pick.
struct Source {
  WeightRef ref;
  Value ids;
  bool idsNested = false;
};
} // namespace

/// What a weight operand is, looking through transposes of picked matrices.
static Source resolveSource(Value value) {
  if (WeightRef ref = resolveWeight(value))
    return {ref, Value(), false};
  auto node = value.getDefiningOp<NodeOp>();
  if (!node || !node.getDomain().empty() || !node.input(0))
    return {};
  if (node.is("Cast") || node.is("Identity"))
    return resolveSource(node.input(0));
  if (node.is("Transpose")) {
    Source source = resolveSource(node.input(0));
    SmallVector<int64_t> perm = node.intsAttribute("perm");
    int64_t rank = static_cast<int64_t>(perm.size());
    if (!source.ids || source.ref.rank() != 3 || rank < 3 ||
        perm[rank - 1] != rank - 2 || perm[rank - 2] != rank - 1)
      return {};
    for (int64_t d = 0; d + 2 < rank; ++d)
      if (perm[d] != d)
        return {};
    swapLast(source.ref);
    return source;
  }
  bool nested = node.is("GatherND");
  if (!nested && !(node.is("Gather") && node.intAttribute("axis", 0) == 0))
    return {};
  WeightRef ref = resolveWeight(node.input(0));
  auto ids = dyn_cast<RankedTensorType>(node.getInputs()[1].getType());
  if (!ref || ref.rank() < 2 || !ids || ids.getRank() < 1 ||
      (nested &&
       (ids.getShape().back() != 1 || node.intAttribute("batch_dims", 0) != 0)))
    return {};
  return {ref, node.input(1), nested};
}

/// The value behind changes of shape that a bias may be added after.
static Value afterReshapes(Value value) {
  while (value.hasOneUse()) {
    auto user = dyn_cast<NodeOp>(*value.user_begin());
    if (!user || user.input(0) != value ||
        !(user.is("Squeeze") || user.is("Unsqueeze") || user.is("Reshape")))
      break;
    value = user.getResult(0);
  }
  return value;
}

static void matchBias(LinearLayer &layer) {
  layer.addend = layer.result = layer.product;
  // Only picked biases stand behind reshapes: other ones would change the
  // meaning of the rows in between.
  Value value = layer.ids ? afterReshapes(layer.product) : layer.product;
  if (!value.hasOneUse())
    return;
  auto add = dyn_cast<NodeOp>(*value.user_begin());
  if (!add || !add.is("Add"))
    return;
  Value other = add.input(add.input(0) == value ? 1 : 0);
  Source source = resolveSource(other);
  WeightRef bias = asBias(source.ref, layer.weight);
  // Stacked biases broadcast over the rows: [experts, 1, out].
  bool broadcasts =
      layer.ids ? source.ids == layer.ids
                : !layer.isStacked() ||
                      (source.ref.rank() == 3 && source.ref.shape[1] == 1);
  if (!bias || (!layer.ids && source.ids) || !broadcasts)
    return;
  layer.bias = bias;
  layer.addend = value;
  layer.result = add.getResult(0);
}

static bool matchLinear(NodeOp node, LinearLayer &layer) {
  bool gemm = node.is("Gemm");
  if ((!gemm && !node.is("MatMul")) || !node.input(0) || !node.input(1))
    return false;
  Source right = resolveSource(node.input(1)),
         left = resolveSource(node.input(0));
  if (!right.ref == !left.ref)
    return false;
  Source &source = right.ref ? right : left;
  layer.isLeft = !right.ref;
  layer.weight = source.ref;
  layer.ids = source.ids;
  layer.idsNested = source.idsNested;
  if (layer.weight.rank() < 2 || layer.weight.rank() > 3 ||
      !isFloat(layer.weight) || (layer.ids && layer.weight.rank() != 3))
    return false;
  // Weights on the left take single columns.
  if (layer.isLeft) {
    auto type = dyn_cast<RankedTensorType>(node.getInputs()[1].getType());
    if (gemm || !layer.ids || !type || type.getShape().back() != 1)
      return false;
  }
  layer.data = node.input(layer.isLeft ? 1 : 0);
  layer.product = layer.addend = layer.result = node.getResult(0);
  if (gemm && (layer.ids || node.floatAttribute("alpha", 1) != 1 ||
               node.floatAttribute("beta", 1) != 1 ||
               node.intAttribute("transA", 0) != 0))
    return false;
  if (!layer.isLeft && (!gemm || node.intAttribute("transB", 0) == 0))
    swapLast(layer.weight);
  if (gemm && node.input(2)) {
    layer.bias = asBias(resolveWeight(node.input(2)), layer.weight);
    return static_cast<bool>(layer.bias);
  }
  matchBias(layer);
  return true;
}

/// What a run of rows is cut from, or null.
static Value runSource(Value run) {
  auto node = run.getDefiningOp<NodeOp>();
  bool cuts =
      node && (node.is("Slice") || node.is("Split") ||
               (node.is("Gather") && node.intAttribute("axis", 0) == 0));
  return cuts ? node.input(0) : Value();
}

/// Concat of linear layers over runs of one value.
static bool matchGrouped(NodeOp node, const LinearLayers &layers,
                         LinearLayer &grouped) {
  if (!node.is("Concat") || node.getInputs().size() < 2 ||
      node.intAttribute("axis", 0) != 0)
    return false;
  for (Value input : node.getInputs()) {
    auto found = layers.find(input);
    if (found == layers.end() || found->second.isStacked())
      return false;
    const LinearLayer &part = found->second;
    Value source = runSource(part.data);
    if (!source || (grouped.data && source != grouped.data) ||
        (grouped.isGrouped() && (part.inputs() != grouped.inputs() ||
                                 part.outputs() != grouped.outputs())))
      return false;
    grouped.data = source;
    grouped.weight = part.weight;
    grouped.parts.push_back(part);
  }
  grouped.product = grouped.addend = grouped.result = node.getResult(0);
  if (!grouped.result.hasOneUse())
    return true;
  // Biases picked by the expert of each row.
  auto add = dyn_cast<NodeOp>(*grouped.result.user_begin());
  if (!add || !add.is("Add"))
    return true;
  Source source =
      resolveSource(add.input(add.input(0) == grouped.result ? 1 : 0));
  if (source.ids && source.ref.rank() == 2 && !grouped.parts[0].bias &&
      source.ref.shape[0] == static_cast<int64_t>(grouped.parts.size()) &&
      source.ref.shape[1] == grouped.outputs()) {
    grouped.bias = source.ref;
    grouped.ids = source.ids;
    grouped.result = add.getResult(0);
  }
  return true;
}

LinearLayers moe::findLinearLayers(FunctionOpInterface function) {
  LinearLayers layers;
  function.walk([&](NodeOp node) {
    LinearLayer layer;
    if (matchLinear(node, layer))
      layers[layer.result] = layer;
  });
  std::vector<LinearLayer> grouped;
  function.walk([&](NodeOp node) {
    LinearLayer layer;
    if (matchGrouped(node, layers, layer))
      grouped.push_back(layer);
  });
  for (const LinearLayer &layer : grouped)
    layers[layer.result] = layer;
  return layers;
}

/// Nodes that may stand between the linear layers of an expert.
static bool isElementwise(NodeOp node) {
  static const llvm::StringSet<> names = {
      "Sigmoid", "Tanh",   "Erf",       "Relu",     "Exp",   "Mul",
      "Add",     "Sub",    "Div",       "Pow",      "Clip",  "Min",
      "Max",     "Neg",    "Gelu",      "Swish",    "Sqrt",  "Softplus",
      "Split",   "Slice",  "Gather",    "Cast",     "Shape", "Reshape",
      "Squeeze", "Concat", "Unsqueeze", "Identity", "Where", "Transpose"};
  if (node.getDomain() == "com.microsoft")
    return node.getOpType() == "QuickGelu" || node.getOpType() == "FastGelu" ||
           node.getOpType() == "Gelu";
  return node.getDomain().empty() && names.contains(node.getOpType());
}

/// Nodes and linear results that `value` is computed from elementwise.
static bool collectSection(Value value, const LinearLayers &layers,
                           llvm::SmallSetVector<Value, 4> &leaves,
                           llvm::SmallSetVector<Operation *, 16> &nodes) {
  if (layers.count(value)) {
    leaves.insert(value);
    return leaves.size() <= 2;
  }
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  if (isa<onnx::ConstantOp, onnx::NoneOp>(op))
    return true;
  auto node = dyn_cast<NodeOp>(op);
  if (!node || !isElementwise(node) || nodes.size() > 64)
    return false;
  if (!nodes.insert(op))
    return true;
  return llvm::all_of(node.getInputs(), [&](Value input) {
    return collectSection(input, layers, leaves, nodes);
  });
}

/// Behind nodes that keep rows as they are.
static Value behindReshapes(Value value) {
  while (auto node = value.getDefiningOp<NodeOp>()) {
    if (!node.is("Identity") && !node.is("Cast") && !node.is("Reshape"))
      break;
    value = node.input(0);
  }
  return value;
}

bool moe::haveSameRows(Value a, Value b) {
  auto x = dyn_cast<RankedTensorType>(a.getType());
  auto y = dyn_cast<RankedTensorType>(b.getType());
  return behindReshapes(a) == behindReshapes(b) &&
         (a == b || (x && y && x.getRank() && y.getRank() &&
                     x.getShape().back() == y.getShape().back()));
}

/// The layer, or, where it reads what another one made of low rank, both as
/// one.
static LinearLayer withFactors(const LinearLayer &left,
                               const LinearLayers &layers) {
  auto found = layers.find(left.data);
  if (found == layers.end())
    return left;
  const LinearLayer &right = found->second;
  for (const LinearLayer *layer : {&left, &right})
    if (layer->isStacked() || layer->isGrouped() || layer->ids || layer->isLeft)
      return left;
  if (right.bias || right.outputs() >= std::min(left.outputs(), right.inputs()))
    return left;
  LinearLayer both = left;
  both.low = right.weight;
  both.data = right.data;
  return both;
}

/// A node that picks rows: what it reads is outside of an expert.
static bool picksRows(Operation *op) {
  auto node = cast<NodeOp>(op);
  return node.is("Gather") && node.intAttribute("axis", 0) == 0;
}

std::vector<ExpertBody> moe::findExpertBodies(const LinearLayers &layers) {
  std::vector<ExpertBody> bodies;
  llvm::DenseSet<Value> factors; // results of layers that are half of another
  for (const auto &[result, last] : layers) {
    LinearLayer down = withFactors(last, layers);
    llvm::SmallSetVector<Value, 4> leaves;
    llvm::SmallSetVector<Operation *, 16> nodes;
    if (layers.count(down.data) ||
        !collectSection(down.data, layers, leaves, nodes) || leaves.empty() ||
        // Two layers with nothing between may be an expert themselves.
        (down.low && llvm::any_of(nodes, picksRows)))
      continue;
    ExpertBody body;
    body.down = down;
    body.hidden = down.data;
    body.output = down.result;
    for (Value leaf : leaves)
      body.first.push_back(withFactors(layers.find(leaf)->second, layers));
    body.input = body.first[0].data;
    bool fits = llvm::all_of(body.first, [&](const LinearLayer &layer) {
      return haveSameRows(layer.data, body.input) &&
             layer.isStacked() == down.isStacked() && !layer.ids == !down.ids &&
             (!down.isStacked() ||
              layer.weight.shape[0] == down.weight.shape[0]);
    });
    if (!fits)
      continue;
    for (Value leaf : leaves)
      if (const LinearLayer &left = layers.find(leaf)->second;
          withFactors(left, layers).low)
        factors.insert_range(ArrayRef<Value>{left.data, left.result});
    if (down.low)
      factors.insert_range(ArrayRef<Value>{last.data, last.result});
    bodies.push_back(body);
  }
  // The right factor alone is no down projection.
  llvm::erase_if(bodies, [&](const ExpertBody &body) {
    return !body.down.low && factors.contains(body.output);
  });
  // Experts without hidden activation: two linear layers in a row, where
  // nothing else reads what is between them.
  for (const auto &[result, down] : layers) {
    auto up = layers.find(down.data);
    if (up == layers.end() || !down.data.hasOneUse() ||
        factors.contains(result) || factors.contains(down.data) ||
        up->second.isStacked() != down.isStacked() || down.ids ||
        down.isGrouped() || up->second.isGrouped())
      continue;
    ExpertBody body;
    body.down = down;
    body.hidden = down.data;
    body.output = down.result;
    body.first.push_back(up->second);
    body.input = up->second.data;
    bodies.push_back(body);
  }
  return bodies;
}

Value moe::tokenRoot(Value value) {
  // Features, the last dimension that is not 1.
  auto columns = [](Value rows) -> int64_t {
    auto type = dyn_cast<RankedTensorType>(rows.getType());
    if (!type || type.getRank() == 0)
      return 0;
    if (type.getRank() > 1 && type.getShape().back() == 1)
      return type.getDimSize(type.getRank() - 2);
    return type.getShape().back();
  };
  while (auto node = value.getDefiningOp<NodeOp>()) {
    StringRef name = node.getOpType();
    bool keepsRows =
        node.getDomain().empty() &&
        llvm::is_contained({"Identity", "Cast", "Reshape", "Squeeze",
                            "Unsqueeze", "Expand", "Tile", "Gather", "GatherND",
                            "GatherElements", "Compress", "Flatten", "Slice",
                            "Split"},
                           name);
    // A row looked up in a table of constants starts here, and so does one
    // that is cut from something else.
    if (!keepsRows || resolveWeight(node.input(0)))
      break;
    int64_t from = columns(node.input(0)), to = columns(value);
    if (from != to && !ShapedType::isDynamic(from) &&
        !ShapedType::isDynamic(to))
      break;
    value = node.input(0);
  }
  return value;
}

namespace {
/// Numbers that occur in the elementwise part: the constants of its formula
/// are among them.
SmallVector<double> constantsOf(ArrayRef<Operation *> nodes) {
  SmallVector<double> found;
  auto add = [&](double value) {
    if (!llvm::is_contained(found, value))
      found.push_back(value);
  };
  for (Operation *op : nodes) {
    auto node = cast<NodeOp>(op);
    for (Value input : node.getInputs())
      if (auto value = constantFloat(input))
        add(*value);
    for (StringRef name : {"alpha", "min", "max"})
      if (node.attribute(name))
        add(node.floatAttribute(name, 0));
    if (node.is("com.microsoft", "QuickGelu"))
      add(node.floatAttribute("alpha", 1.702));
  }
  return found;
}

/// Hidden values with the gate and up values they come from.
struct Samples {
  std::vector<double> gate, up, hidden;
};

/// True where the formula gives the samples. Constants of graphs are rounded
/// to f32 (1.41421354 for the square root of 2), hence the tolerance.
bool explains(const ActivationMatch &match, const Samples &samples) {
  for (size_t i = 0; i < samples.hidden.size(); ++i) {
    double g = samples.gate[i];
    if (match.limit > 0)
      g = std::min(g, match.limit);
    double h = activate(match.activation, match.alpha, g);
    if (match.kind == ExpertKind::Glu) {
      double l = samples.up[i];
      if (match.limit > 0)
        l = std::min(std::max(l, -match.limit), match.limit);
      h *= l + match.beta;
    }
    if (!(std::abs(h - samples.hidden[i]) <= 2e-6 * (1 + std::abs(h))))
      return false;
  }
  return true;
}

bool findFormula(const Samples &samples, ArrayRef<double> constants,
                 ActivationMatch &match) {
  SmallVector<double> alphas = {1.0}, betas = {0.0}, limits = {0.0};
  for (double c : constants) {
    if (c > 0)
      limits.push_back(c);
    if (c != 0 && match.kind == ExpertKind::Glu)
      betas.push_back(c);
    if (c != 0 && c != 1)
      alphas.push_back(c);
  }
  for (double limit : limits)
    for (double beta : betas)
      for (Activation activation :
           {Activation::Silu, Activation::Gelu, Activation::GeluTanh,
            Activation::Relu, Activation::Relu2, Activation::Identity})
        for (double alpha : alphas) {
          if (alpha != 1 && activation != Activation::Silu)
            break;
          match.activation = activation;
          match.alpha = alpha;
          match.beta = beta;
          match.limit = limit;
          if (explains(match, samples))
            return true;
        }
  return false;
}

/// Shape for samples of a linear result: one dynamic dimension holds the
/// rows, the other ones are 1.
SmallVector<int64_t> sampleShape(const LinearLayer &layer, int64_t rows) {
  SmallVector<int64_t> shape;
  auto type = dyn_cast<RankedTensorType>(layer.result.getType());
  if (!type || type.getRank() < 2) {
    if (layer.isStacked() && !layer.ids)
      shape.push_back(layer.weight.shape[0]);
    shape.append({rows, layer.outputs()});
    return shape;
  }
  shape.assign(type.getShape().begin(), type.getShape().end());
  bool trailing = shape.back() == 1 && layer.outputs() != 1;
  shape[shape.size() - (trailing ? 2 : 1)] = layer.outputs();
  if (layer.isStacked() && !layer.ids)
    shape.front() = layer.weight.shape[0];
  for (int64_t &size : shape)
    if (ShapedType::isDynamic(size)) {
      size = rows;
      rows = 1;
    }
  return shape;
}
} // namespace

bool moe::fitBody(const ExpertBody &body, BodyFit &fit, std::string &error) {
  int64_t inner = body.down.inputs(), width = body.first[0].outputs();
  bool two = body.first.size() == 2;
  if (two ? width != inner || body.first[1].outputs() != inner
          : width != inner && width != 2 * inner) {
    error = "hidden widths do not fit each other";
    return false;
  }
  GraphEvaluator evaluator;
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(0, 2.5);
  int64_t rows = std::max<int64_t>(1, 96 / inner);
  SmallVector<HostTensor> inputs;
  for (const LinearLayer &layer : body.first) {
    HostTensor tensor(sampleShape(layer, rows));
    for (double &value : tensor.data) {
      value = normal(random);
      if (random() % 8 == 0)
        value *= 6; // beyond the usual clamps
    }
    inputs.push_back(tensor);
    evaluator.bind(layer.result, std::move(tensor));
  }
  const HostTensor *hidden = evaluator.get(body.hidden);
  if (!hidden) {
    error = evaluator.getError().str();
    return false;
  }
  int64_t count = inputs[0].size() / width;
  if (hidden->size() != count * inner) {
    error = "the hidden layer has another shape than the down projection";
    return false;
  }
  LinearLayers stop;
  for (const LinearLayer &layer : body.first)
    stop[layer.result] = layer;
  llvm::SmallSetVector<Value, 4> leaves;
  llvm::SmallSetVector<Operation *, 16> nodes;
  collectSection(body.hidden, stop, leaves, nodes);
  SmallVector<double> constants = constantsOf(nodes.getArrayRef());

  auto sample = [&](const BodyFit &at) {
    Samples samples;
    samples.hidden = hidden->data;
    for (int64_t r = 0; r < count; ++r)
      for (int64_t i = 0; i < inner; ++i) {
        int64_t from = r * width + i * at.step;
        samples.gate.push_back(inputs[at.gateLayer].data[from + at.gateStart]);
        samples.up.push_back(inputs[at.upLayer].data[from + at.upStart]);
      }
    return samples;
  };
  SmallVector<BodyFit> layouts;
  if (two) {
    layouts.push_back({{ExpertKind::Glu}, 0, 1, 0, 0, 1});
    layouts.push_back({{ExpertKind::Glu}, 1, 0, 0, 0, 1});
  } else if (width == inner) {
    layouts.push_back({{ExpertKind::Ffn}, 0, 0, 0, 0, 1});
  } else {
    layouts.push_back({{ExpertKind::Glu}, 0, 0, 0, inner, 1});
    layouts.push_back({{ExpertKind::Glu}, 0, 0, inner, 0, 1});
    layouts.push_back({{ExpertKind::Glu}, 0, 0, 0, 1, 2});
    layouts.push_back({{ExpertKind::Glu}, 0, 0, 1, 0, 2});
  }
  for (BodyFit &layout : layouts)
    if (findFormula(sample(layout), constants, layout.activation)) {
      fit = layout;
      return true;
    }
  error = "no formula explains the hidden layer of the experts";
  return false;
}

bool moe::sliceExpert(const ExpertBody &body, const BodyFit &fit, int64_t index,
                      BankNames &banks, ExpertMatch &expert) {
  int64_t inner = body.down.inputs();
  auto one = [&](const WeightRef &ref, bool stacked) {
    return stacked ? ref.at(0, index) : ref;
  };
  // The layer of this expert alone.
  auto own = [&](const LinearLayer &layer) {
    if (!layer.isGrouped())
      return layer;
    LinearLayer part = layer.parts[index];
    if (layer.bias)
      part.bias = layer.bias.at(0, index);
    return part;
  };
  auto slice = [&](const LinearLayer &of, int64_t start, int64_t count,
                   int64_t step, Attribute &matrix, SliceAttr &bias) {
    LinearLayer layer = own(of);
    bool stacked = layer.isStacked();
    SliceAttr weight = banks.storedSlice(
        one(layer.weight, stacked).range(0, start, count, step));
    matrix = weight;
    if (layer.low) {
      SliceAttr low = banks.storedSlice(layer.low);
      if (!low || !weight)
        return false;
      matrix = FactoredAttr::get(low.getContext(), {}, weight, low, {}, {}, {});
    }
    if (layer.bias)
      bias = banks.slice(one(layer.bias, stacked).range(0, start, count, step));
    return matrix && (!layer.bias || bias);
  };
  bool isGlu = fit.activation.kind == ExpertKind::Glu;
  return (!isGlu || slice(body.first[fit.gateLayer], fit.gateStart, inner,
                          fit.step, expert.gate, expert.gateBias)) &&
         slice(body.first[fit.upLayer], isGlu ? fit.upStart : 0, inner,
               fit.step, expert.up, expert.upBias) &&
         slice(body.down, 0, body.outputs(), 1, expert.down, expert.downBias);
}
