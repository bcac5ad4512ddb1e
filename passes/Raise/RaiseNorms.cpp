#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "passes/Raise/Evaluate.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/Passes.h"
#include "passes/Raise/WeightRef.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringSet.h"
#include <random>

namespace moe {
#define GEN_PASS_DEF_RAISENORMSPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

namespace {
constexpr remark::RemarkOpts raise =
    remark::RemarkOpts::name("norms").category("moe-raise");

/// A normalisation of the rows of `x`.
struct NormMatch {
  Value x, output;
  Value scale, bias; // [features], bias null where there is none
  bool centred = false;
  double epsilon = 0;
};

/// The nodes that compute functions of the rows of `x` and constants.
struct RowFunctions {
  Value x;
  SmallVector<Value> values; // in the order of the block
  llvm::DenseSet<Value> members;

  explicit RowFunctions(Value x);
  /// Constants that `output` depends on, and whether it depends on `on`.
  bool leaves(Value output, Value on, SmallVectorImpl<Value> &constants) const;
};
} // namespace

RowFunctions::RowFunctions(Value x) : x(x) {
  static const llvm::StringSet<> names = {
      "Add",        "Sub", "Mul",  "Div",        "Pow",     "Sqrt",
      "Reciprocal", "Max", "Cast", "ReduceMean", "Identity"};
  members.insert(x);
  SmallVector<Value> work = {x};
  while (!work.empty() && values.size() < 64) {
    Value next = work.pop_back_val();
    for (Operation *user : next.getUsers()) {
      auto node = dyn_cast<NodeOp>(user);
      if (!node || user->getBlock() != x.getParentBlock() ||
          !node.getDomain().empty() || !names.contains(node.getOpType()) ||
          members.contains(node.getResult(0)) ||
          !llvm::all_of(node.getInputs(), [&](Value input) {
            return members.contains(input) || isConstant(input);
          }))
        continue;
      members.insert(node.getResult(0));
      values.push_back(node.getResult(0));
      work.push_back(node.getResult(0));
      // Its other operand may have been the one that was missing.
      for (Value input : node.getInputs())
        if (input != next && members.contains(input))
          work.push_back(input);
    }
  }
  llvm::sort(values, [](Value a, Value b) {
    return a.getDefiningOp()->isBeforeInBlock(b.getDefiningOp());
  });
}

bool RowFunctions::leaves(Value output, Value on,
                          SmallVectorImpl<Value> &constants) const {
  bool depends = false;
  llvm::DenseSet<Value> seen = {x};
  SmallVector<Value> work = {output};
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    depends |= value == on;
    if (members.contains(value)) {
      for (Value input : value.getDefiningOp()->getOperands())
        work.push_back(input);
      continue;
    }
    constants.push_back(value);
  }
  return depends;
}

namespace {
/// Finds out which normalisation a value is, by measuring it.
struct NormExplainer {
  const RowFunctions &functions;
  SymbolicShapes &shapes;
  int64_t features;

  std::optional<NormMatch> explain(Value output, Value on);

private:
  bool solve(const HostTensor &x, const HostTensor &y, bool centred,
             double epsilon, std::vector<double> &scale,
             std::vector<double> &bias) const;
  Value leafOf(ArrayRef<Value> constants, GraphEvaluator &evaluator,
               const std::vector<double> &numbers, bool mayMake,
               Value output) const;
};
} // namespace

/// Rows of `x` without their mean (`centred`), scaled to unit mean square.
static std::vector<double> normalized(const double *x, int64_t features,
                                      bool centred, double epsilon) {
  std::vector<double> out(x, x + features);
  double mean = 0, square = 0, count = static_cast<double>(features);
  for (double v : out)
    mean += v / count;
  for (double &v : out) {
    v -= centred ? mean : 0;
    square += v * v / count;
  }
  for (double &v : out)
    v /= std::sqrt(square + epsilon);
  return out;
}

static bool near(double a, double b, double scale) {
  return std::abs(a - b) <= 1e-7 * (scale + std::abs(b));
}

bool NormExplainer::solve(const HostTensor &x, const HostTensor &y,
                          bool centred, double epsilon,
                          std::vector<double> &scale,
                          std::vector<double> &bias) const {
  int64_t rows = x.size() / features;
  std::vector<std::vector<double>> n;
  for (int64_t r = 0; r < rows; ++r)
    n.push_back(
        normalized(x.data.data() + r * features, features, centred, epsilon));
  scale.assign(features, 0);
  bias.assign(features, 0);
  for (int64_t i = 0; i < features; ++i) {
    double a = y.data[i], b = y.data[features + i];
    double difference = n[0][i] - n[1][i];
    scale[i] = (a - b) / difference;
    bias[i] = a - scale[i] * n[0][i];
    for (int64_t r = 0; r < rows; ++r)
      if (!near(y.data[r * features + i], scale[i] * n[r][i] + bias[i],
                std::abs(scale[i]) + std::abs(bias[i])))
        return false;
  }
  return true;
}

Value NormExplainer::leafOf(ArrayRef<Value> constants,
                            GraphEvaluator &evaluator,
                            const std::vector<double> &numbers, bool mayMake,
                            Value output) const {
  for (Value constant : constants) {
    // The stored weight rather than its widened copy.
    Value leaf = constant;
    while (auto node = leaf.getDefiningOp<NodeOp>()) {
      if (!node.is("Cast") && !node.is("Identity"))
        break;
      leaf = node.input(0);
    }
    auto type = dyn_cast<RankedTensorType>(leaf.getType());
    if (!type || type.getShape() != ArrayRef<int64_t>{features} ||
        !isa<FloatType>(type.getElementType()))
      continue;
    // What is computed from constants is better a constant.
    if (mayMake && !isa<onnx::ConstantOp, WeightOp>(leaf.getDefiningOp()))
      continue;
    const HostTensor *known = evaluator.get(constant);
    bool same = known && known->size() == features;
    for (int64_t i = 0; i < features && same; ++i)
      same = near(known->data[i], numbers[i], 0.1);
    if (same)
      return leaf;
  }
  if (!mayMake)
    return {};
  SmallVector<float> rounded(numbers.begin(), numbers.end());
  OpBuilder builder(output.getDefiningOp());
  return onnx::ConstantOp::create(
      builder, output.getLoc(),
      DenseFPElementsAttr::get(
          RankedTensorType::get({features}, builder.getF32Type()),
          ArrayRef<float>(rounded)));
}

std::optional<NormMatch> NormExplainer::explain(Value output, Value on) {
  SmallVector<Value> constants;
  if (!functions.leaves(output, on, constants))
    return std::nullopt;
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  GraphEvaluator evaluator;
  std::vector<int64_t> sizes(shapes.symbolCount(), 2);
  evaluator.setSizes(shapes, sizes);
  // Weights that cannot be read are numbers of their own.
  bool readable = true;
  SmallVector<double> scalars = {0.0};
  for (Value constant : constants) {
    if (auto scalar = constantFloat(constant))
      scalars.push_back(*scalar);
    Value leaf = constant;
    while (auto node = leaf.getDefiningOp<NodeOp>())
      leaf = node.getInputs()[0];
    auto type = dyn_cast<RankedTensorType>(leaf.getType());
    if (!leaf.getDefiningOp<WeightOp>() || !type || !type.hasStaticShape() ||
        type.getNumElements() > features)
      continue;
    readable = false;
    HostTensor standIn(type.getShape());
    for (double &number : standIn.data)
      number = 1 + 0.3 * normal(random);
    evaluator.bind(leaf, std::move(standIn));
  }
  // Rows of sizes near the root of any epsilon, far below it and far above.
  HostTensor x;
  for (const DimExpr &size : *shapes.shape(functions.x))
    x.shape.push_back(size.evaluate(sizes));
  if (x.shape.empty() || x.shape.back() != features)
    return std::nullopt;
  int64_t lead = 1;
  for (size_t d = 0; d + 1 < x.shape.size(); ++d)
    lead *= x.shape[d];
  if (lead < 3) {
    if (x.shape.size() < 2)
      return std::nullopt;
    x.shape[x.shape.size() - 2] *= 4;
    lead *= 4;
  }
  static const double magnitudes[] = {1, 2, 1e-3, 3e-3, 1e-5, 50};
  for (int64_t r = 0; r < lead; ++r)
    for (int64_t i = 0; i < features; ++i)
      x.data.push_back(magnitudes[r % 6] * (0.3 + normal(random)));
  HostTensor rows = x;
  evaluator.bind(functions.x, std::move(x));
  const HostTensor *y = evaluator.get(output);
  if (!y || y->shape != rows.shape)
    return std::nullopt;
  NormMatch match;
  match.x = functions.x;
  match.output = output;
  for (bool centred : {true, false})
    for (double epsilon : scalars) {
      std::vector<double> scale, bias;
      if (epsilon < 0 || epsilon > 0.1 ||
          !solve(rows, *y, centred, epsilon, scale, bias))
        continue;
      bool hasBias =
          llvm::any_of(bias, [](double b) { return std::abs(b) > 1e-9; });
      if (hasBias && !centred)
        continue;
      match.scale = leafOf(constants, evaluator, scale, readable, output);
      if (hasBias)
        match.bias = leafOf(constants, evaluator, bias, readable, output);
      if (!match.scale || (hasBias && !match.bias))
        continue;
      match.centred = centred;
      match.epsilon = epsilon;
      return match;
    }
  return std::nullopt;
}

/// Writes `match` where its result was computed.
static void emit(const NormMatch &match) {
  OpBuilder builder(match.output.getDefiningOp());
  Location loc = match.output.getLoc();
  SmallVector<std::pair<Value, int64_t>> dimensions;
  auto type = cast<RankedTensorType>(match.x.getType());
  for (int64_t d = 0; d < type.getRank(); ++d)
    dimensions.push_back({match.x, d});
  Value init = emptyLike(builder, loc, builder.getF32Type(), dimensions);
  auto epsilon = builder.getF64FloatAttr(match.epsilon);
  Operation *op =
      match.centred
          ? moert::LayerNormOp::create(builder, loc, init.getType(), match.x,
                                       match.scale, match.bias, init, epsilon)
                .getOperation()
          : moert::RmsNormOp::create(builder, loc, init.getType(), match.x,
                                     match.scale, init, epsilon)
                .getOperation();
  replaceValue(builder, match.output, op->getResult(0));
}

/// Operators that are a normalisation by name; null where `node` is none or
/// does more than the ops of moert say.
static std::optional<NormMatch> named(NodeOp node, OpBuilder &builder) {
  StringRef name = node.getOpType();
  bool rms =
      name == "RMSNormalization" || name == "SimplifiedLayerNormalization";
  if (!rms && name != "LayerNormalization")
    return std::nullopt;
  auto type = f32Type(node.getInputs()[0]);
  Value scale = node.input(1), bias = node.input(2);
  if (!type || !scale || type.getRank() < 1)
    return std::nullopt;
  auto axis = axisOf(node.intAttribute("axis", -1), type.getRank());
  int64_t features = type.getShape().back();
  auto fits = [&](Value row) {
    auto known = dyn_cast<RankedTensorType>(row.getType());
    return known && known.getShape() == ArrayRef<int64_t>{features};
  };
  for (Value more : node.getResults().drop_front())
    if (!more.use_empty())
      return std::nullopt;
  if (!axis || static_cast<int64_t>(*axis) != type.getRank() - 1 ||
      ShapedType::isDynamic(features) || !fits(scale) || (bias && !fits(bias)))
    return std::nullopt;
  NormMatch match;
  match.x = node.getInputs()[0];
  match.output = node.getResult(0);
  match.scale = scale;
  match.bias = bias;
  match.centred = !rms;
  match.epsilon = node.floatAttribute("epsilon", 1e-5);
  return match;
}

/// SkipLayerNormalization of com.microsoft: the sum of input, skip and bias,
/// then a normalisation. The sum becomes nodes of its own.
static bool splitSkip(NodeOp node) {
  bool rms = node.is("com.microsoft", "SkipSimplifiedLayerNormalization");
  if (!rms && !node.is("com.microsoft", "SkipLayerNormalization"))
    return false;
  for (unsigned i : {1u, 2u})
    if (i < node.getNumResults() && !node.getResult(i).use_empty())
      return false;
  auto type = f32Type(node.getInputs()[0]);
  if (!type || !node.input(1) || node.input(1).getType() != type)
    return false;
  OpBuilder builder(node);
  Location loc = node.getLoc();
  Value bias = node.input(rms ? 3 : 4);
  Value sum = createNode(builder, loc, "Add", 14,
                         {node.getInputs()[0], node.getInputs()[1]}, type)
                  .getResult(0);
  if (bias)
    sum = createNode(builder, loc, "Add", 14, {sum, bias}, type).getResult(0);
  SmallVector<Value> inputs = {sum, node.getInputs()[2]};
  if (!rms && node.input(3))
    inputs.push_back(node.input(3));
  NodeOp norm = createNode(
      builder, loc, rms ? "SimplifiedLayerNormalization" : "LayerNormalization",
      rms ? 1 : 17, inputs, type);
  norm.setOnnxAttributesAttr(builder.getDictionaryAttr(builder.getNamedAttr(
      "epsilon",
      builder.getF32FloatAttr(node.floatAttribute("epsilon", 1e-12)))));
  replaceValue(builder, node.getResult(0), norm.getResult(0));
  if (node.getNumResults() > 3)
    replaceValue(builder, node.getResult(3), sum);
  return true;
}

namespace {
struct RaiseNormsPass : moe::impl::RaiseNormsPassBase<RaiseNormsPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<FunctionOpInterface>()) {
      if (function.isExternal())
        continue;
      SmallVector<NodeOp> nodes;
      function.walk([&](NodeOp node) { nodes.push_back(node); });
      for (NodeOp node : nodes)
        splitSkip(node);
      nodes.clear();
      function.walk([&](NodeOp node) { nodes.push_back(node); });
      SymbolicShapes shapes(function);
      dead.clear();
      for (NodeOp node : nodes) {
        OpBuilder builder(node);
        if (auto match = named(node, builder))
          done(*match);
        else if (node.is("ReduceMean") && !dead.contains(node))
          raiseMeasured(node, shapes);
      }
      eraseDead(function);
    }
  }

  void done(const NormMatch &match) {
    Location loc = match.output.getLoc();
    emit(match);
    markDead(match.output, dead);
    remark::passed(loc, raise)
        << (match.centred ? "raised a layer norm" : "raised an RMS norm");
  }

  /// A mean over the last axis: of the rows, or of their squares.
  void raiseMeasured(NodeOp mean, SymbolicShapes &shapes) {
    Value inner = mean.getInputs()[0];
    auto type = f32Type(inner);
    auto axes = listOf(mean, "axes", 1);
    if (!type || type.getRank() < 1 || !axes || axes->size() != 1 ||
        axisOf(axes->front(), type.getRank()) !=
            static_cast<size_t>(type.getRank() - 1) ||
        type.isDynamicDim(type.getRank() - 1))
      return;
    SmallVector<Value> candidates = {inner};
    if (auto square = inner.getDefiningOp<NodeOp>();
        square && (square.is("Pow") || square.is("Mul")))
      candidates.push_back(square.getInputs()[0]);
    for (Value x : candidates) {
      if (!f32Type(x))
        continue;
      RowFunctions functions(x);
      NormExplainer explainer{functions, shapes, type.getShape().back()};
      unsigned tried = 0;
      for (Value output : llvm::reverse(functions.values)) {
        if (!f32Type(output) || !shapes.sameShape(output, x))
          continue;
        if (auto match = explainer.explain(output, mean.getResult(0)))
          return done(*match);
        if (++tried == 8)
          break;
      }
    }
    remark::missed(mean.getLoc(), raise)
        << "a mean over features is no norm that moert knows";
  }

  llvm::DenseSet<Operation *> dead;
};
} // namespace
