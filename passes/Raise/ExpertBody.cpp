#include "passes/Raise/ExpertBody.h"
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
  // Stacked biases must broadcast over the rows: [experts, 1, out].
  if (weight.rank() == 3 && (ref.rank() != 3 || ref.shape[1] != 1))
    return {};
  return view;
}

static void swapLast(WeightRef &ref) {
  size_t n = ref.shape.size();
  std::swap(ref.shape[n - 1], ref.shape[n - 2]);
  std::swap(ref.strides[n - 1], ref.strides[n - 2]);
}

static bool matchLinear(NodeOp node, LinearLayer &layer) {
  bool gemm = node.is("Gemm");
  if ((!gemm && !node.is("MatMul")) || !node.input(0) || !node.input(1) ||
      resolveWeight(node.input(0)))
    return false;
  layer.weight = resolveWeight(node.input(1));
  if (!layer.weight || layer.weight.rank() < 2 || layer.weight.rank() > 3 ||
      !isa<FloatType>(layer.weight.rootType().getElementType()))
    return false;
  layer.data = node.input(0);
  layer.result = node.getResult(0);
  if (gemm && (node.floatAttribute("alpha", 1) != 1 ||
               node.floatAttribute("beta", 1) != 1 ||
               node.intAttribute("transA", 0) != 0))
    return false;
  if (!gemm || node.intAttribute("transB", 0) == 0)
    swapLast(layer.weight);
  if (gemm && node.input(2)) {
    layer.bias = asBias(resolveWeight(node.input(2)), layer.weight);
    return static_cast<bool>(layer.bias);
  }
  if (!layer.result.hasOneUse())
    return true;
  auto add = dyn_cast<NodeOp>(*layer.result.user_begin());
  if (!add || !add.is("Add"))
    return true;
  Value other = add.input(add.input(0) == layer.result ? 1 : 0);
  if (WeightRef bias = asBias(resolveWeight(other), layer.weight)) {
    layer.bias = bias;
    layer.result = add.getResult(0);
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
static Value sameRows(Value value) {
  while (auto node = value.getDefiningOp<NodeOp>()) {
    if (!node.is("Identity") && !node.is("Cast") && !node.is("Reshape"))
      break;
    value = node.input(0);
  }
  return value;
}

std::vector<ExpertBody> moe::findExpertBodies(const LinearLayers &layers) {
  std::vector<ExpertBody> bodies;
  for (const auto &[result, down] : layers) {
    llvm::SmallSetVector<Value, 4> leaves;
    llvm::SmallSetVector<Operation *, 16> nodes;
    if (layers.count(down.data) ||
        !collectSection(down.data, layers, leaves, nodes) || leaves.empty())
      continue;
    ExpertBody body;
    body.down = down;
    body.hidden = down.data;
    body.output = down.result;
    for (Value leaf : leaves)
      body.first.push_back(layers.find(leaf)->second);
    body.input = body.first[0].data;
    bool fits = llvm::all_of(body.first, [&](const LinearLayer &layer) {
      return sameRows(layer.data) == sameRows(body.input) &&
             layer.isStacked() == down.isStacked() &&
             (!down.isStacked() ||
              layer.weight.shape[0] == down.weight.shape[0]);
    });
    if (fits)
      bodies.push_back(body);
  }
  // Experts without hidden activation: two linear layers in a row, where
  // nothing else reads what is between them.
  for (const auto &[result, down] : layers) {
    auto up = layers.find(down.data);
    if (up == layers.end() || !down.data.hasOneUse() ||
        up->second.isStacked() != down.isStacked())
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
  auto columns = [](Value rows) {
    auto type = dyn_cast<RankedTensorType>(rows.getType());
    return type && type.getRank() ? type.getShape().back() : 0;
  };
  while (auto node = value.getDefiningOp<NodeOp>()) {
    StringRef name = node.getOpType();
    bool keepsRows =
        node.getDomain().empty() &&
        llvm::is_contained({"Identity", "Cast", "Reshape", "Squeeze",
                            "Unsqueeze", "Expand", "Tile", "Gather", "GatherND",
                            "GatherElements", "Compress"},
                           name);
    // A row looked up in a table of constants starts here, and so does one
    // that is cut from something else.
    if (!keepsRows || resolveWeight(node.input(0)) ||
        columns(node.input(0)) != columns(value))
      break;
    value = node.input(0);
  }
  return value;
}

namespace {
double activate(Activation activation, double alpha, double x) {
  switch (activation) {
  case Activation::Identity:
    return x;
  case Activation::Relu:
    return x > 0 ? x : 0;
  case Activation::Relu2:
    return x > 0 ? x * x : 0;
  case Activation::Silu:
    return x / (1 + std::exp(-alpha * x));
  case Activation::Gelu:
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  case Activation::GeluTanh:
    return 0.5 * x *
           (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return 0;
}

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
    if (layer.isStacked())
      shape.push_back(layer.weight.shape[0]);
    shape.append({rows, layer.outputs()});
    return shape;
  }
  for (int64_t d = 0; d + 1 < type.getRank(); ++d)
    shape.push_back(type.isDynamicDim(d) ? 1 : type.getDimSize(d));
  if (layer.isStacked())
    shape.front() = layer.weight.shape[0];
  for (int64_t d = 0; d + 1 < type.getRank(); ++d)
    if (type.isDynamicDim(d) && !(layer.isStacked() && d == 0)) {
      shape[d] = rows;
      break;
    }
  shape.push_back(layer.outputs());
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
  if (hidden->size() != count * inner || hidden->shape.back() != inner) {
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
  auto slice = [&](const LinearLayer &layer, int64_t start, SliceAttr &matrix,
                   SliceAttr &bias) {
    bool stacked = layer.isStacked();
    matrix = banks.slice(
        one(layer.weight, stacked).range(0, start, inner, fit.step));
    if (layer.bias)
      bias = banks.slice(
          one(layer.bias, stacked).range(0, start, inner, fit.step));
    return matrix && (!layer.bias || bias);
  };
  if (fit.activation.kind == ExpertKind::Glu &&
      !slice(body.first[fit.gateLayer], fit.gateStart, expert.gate,
             expert.gateBias))
    return false;
  if (!slice(body.first[fit.upLayer],
             fit.activation.kind == ExpertKind::Glu ? fit.upStart : 0,
             expert.up, expert.upBias))
    return false;
  bool stacked = body.down.isStacked();
  expert.down = banks.slice(one(body.down.weight, stacked));
  if (body.down.bias)
    expert.downBias = banks.slice(one(body.down.bias, stacked));
  return expert.down && (!body.down.bias || expert.downBias);
}
