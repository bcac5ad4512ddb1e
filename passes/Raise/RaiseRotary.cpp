#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "passes/Raise/HeadLayout.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/Passes.h"
#include "passes/Raise/WeightRef.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <random>

namespace moe {
#define GEN_PASS_DEF_RAISEROTARYPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

namespace {
constexpr remark::RemarkOpts raise =
    remark::RemarkOpts::name("rotary").category("moe-raise");

/// Rotations of `x` by angles position * frequency.
struct RotaryMatch {
  Value x, output, positions;
  HeadLayout layout = HeadLayout::HeadsFirst;
  SmallVector<float> frequencies;
  bool interleaved = false;
};

/// What one integer tensor of positions leads to: values that depend on its
/// sines, cosines and constants alone.
struct AngleTables {
  Value positions;
  llvm::DenseSet<Value> members;
};
} // namespace

/// The positions whose multiples `angle` is, [B or 1, S] or [S]; null where it
/// is no function of one integer tensor.
static Value positionsOf(Value angle) {
  Value found;
  SmallVector<Value> work = {angle};
  unsigned steps = 0;
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (isConstant(value))
      continue;
    auto node = value.getDefiningOp<NodeOp>();
    if (!node || ++steps > 32)
      return {};
    auto inputType = [&] {
      return dyn_cast<RankedTensorType>(node.getInputs()[0].getType());
    };
    if (node.is("Cast") && inputType() &&
        inputType().getElementType().isSignlessInteger()) {
      if (found && found != node.getInputs()[0])
        return {};
      found = node.getInputs()[0];
      continue;
    }
    static const llvm::StringSet<> passes = {
        "Mul",     "MatMul", "Concat",   "Transpose", "Unsqueeze", "Squeeze",
        "Reshape", "Expand", "Identity", "Cast",      "Slice"};
    if (!node.getDomain().empty() || !passes.contains(node.getOpType()))
      return {};
    // What shapes are made of is no part of the angle.
    bool all = node.is("Mul") || node.is("MatMul") || node.is("Concat");
    for (Value input : node.getInputs().take_front(all ? ~0u : 1))
      work.push_back(input);
  }
  // Shape-only nodes around them.
  while (found) {
    auto type = cast<RankedTensorType>(found.getType());
    auto node = found.getDefiningOp<NodeOp>();
    if (type.getRank() <= 2 || !node ||
        !(node.is("Unsqueeze") || node.is("Cast") || node.is("Identity")))
      break;
    if (!isa<RankedTensorType>(node.getInputs()[0].getType()))
      return {};
    found = node.getInputs()[0];
  }
  if (!found)
    return {};
  auto type = cast<RankedTensorType>(found.getType());
  Type element = type.getElementType();
  bool fits = (type.getRank() == 1 || type.getRank() == 2) &&
              (element.isInteger(64) || element.isInteger(32));
  return fits ? found : Value();
}

/// Adds what `tables` lead to by nodes that only move, scale and join them.
static void close(AngleTables &tables, ArrayRef<Value> seeds) {
  static const llvm::StringSet<> passes = {
      "Unsqueeze", "Squeeze",  "Cast",    "Mul",    "Slice",
      "Concat",    "Identity", "Reshape", "Expand", "Transpose"};
  SmallVector<Value> work(seeds);
  for (Value seed : seeds)
    tables.members.insert(seed);
  while (!work.empty()) {
    Value value = work.pop_back_val();
    for (Operation *user : value.getUsers()) {
      auto node = dyn_cast<NodeOp>(user);
      if (!node || !node.getDomain().empty() || !node.getNumResults() ||
          !passes.contains(node.getOpType()) ||
          tables.members.contains(node.getResult(0)))
        continue;
      bool joins = node.is("Mul") || node.is("Concat");
      if (joins && !llvm::all_of(node.getInputs(), [&](Value input) {
            return tables.members.contains(input) || isConstant(input);
          }))
        continue;
      if (!joins && !tables.members.contains(node.getInputs()[0]))
        continue;
      tables.members.insert(node.getResult(0));
      work.push_back(node.getResult(0));
    }
  }
}

/// The tensor of heads whose features `value` consists of; null where there
/// are several.
static Value headsOf(Value value) {
  Value found;
  SmallVector<Value> work = {value};
  llvm::DenseSet<Value> seen;
  while (!work.empty()) {
    Value next = work.pop_back_val();
    if (!seen.insert(next).second)
      continue;
    if (seen.size() > 16)
      return {};
    auto node = next.getDefiningOp<NodeOp>();
    auto type = dyn_cast<RankedTensorType>(next.getType());
    bool cuts = node && (node.is("Slice") || node.is("Neg") ||
                         node.is("Concat") || node.is("Split"));
    bool folds = node && type && type.getRank() != 4 &&
                 (node.is("Reshape") || node.is("Unsqueeze") ||
                  node.is("Squeeze") || node.is("Gather"));
    if (!cuts && !folds) {
      if (found && found != next)
        return {};
      found = next;
      continue;
    }
    for (Value input : node.getInputs().take_front(node.is("Concat") ? ~0u : 1))
      work.push_back(input);
  }
  auto type = found ? f32Type(found) : RankedTensorType();
  bool fits = type && type.getRank() == 4 && !type.isDynamicDim(3);
  return fits ? found : Value();
}

/// Values that depend on `x`, the tables and constants alone, in the order of
/// the block.
static SmallVector<Value> functionsOf(Value x, const AngleTables &tables) {
  static const llvm::StringSet<> passes = {
      "Mul",   "Add",    "Sub",       "Neg",       "Slice",
      "Split", "Concat", "Reshape",   "Unsqueeze", "Identity",
      "Cast",  "Gather", "Transpose", "Squeeze"};
  llvm::DenseSet<Value> members = {x};
  SmallVector<Value> values, work = {x};
  while (!work.empty() && values.size() < 32) {
    Value next = work.pop_back_val();
    for (Operation *user : next.getUsers()) {
      auto node = dyn_cast<NodeOp>(user);
      if (!node || !node.getDomain().empty() || !node.getNumResults() ||
          user->getBlock() != x.getParentBlock() ||
          !passes.contains(node.getOpType()) ||
          members.contains(node.getResult(0)))
        continue;
      bool joins = node.is("Mul") || node.is("Add") || node.is("Sub") ||
                   node.is("Concat");
      auto known = [&](Value input) {
        return members.contains(input) || tables.members.contains(input) ||
               isConstant(input);
      };
      if (joins ? !llvm::all_of(node.getInputs(), known)
                : !members.contains(node.getInputs()[0]))
        continue;
      for (Value result : node.getResults()) {
        members.insert(result);
        values.push_back(result);
        work.push_back(result);
      }
      for (Value input : node.getInputs())
        if (input != next && members.contains(input))
          work.push_back(input);
    }
  }
  llvm::sort(values, [](Value a, Value b) {
    Operation *x = a.getDefiningOp(), *y = b.getDefiningOp();
    return x == y ? false : x->isBeforeInBlock(y);
  });
  return values;
}

namespace {
/// Measures whether values are rotations of others.
class RotaryExplainer {
public:
  RotaryExplainer(SymbolicShapes &shapes, Value positions)
      : shapes(shapes), positions(positions) {}
  std::optional<RotaryMatch> explain(Value x, Value output);

private:
  bool solve(const HostTensor &x, const HostTensor &y, const HostTensor &p,
             int64_t rotated, RotaryMatch &match) const;
  SymbolicShapes &shapes;
  Value positions;
};
} // namespace

/// Finds angles that turn each pair of features of `x` into those of `y`: the
/// same for all heads, multiples of the position.
bool RotaryExplainer::solve(const HostTensor &x, const HostTensor &y,
                            const HostTensor &p, int64_t rotated,
                            RotaryMatch &match) const {
  HeadView from(x, match.layout), to(y, match.layout);
  int64_t pairs = rotated / 2;
  std::vector<double> frequencies(pairs, 0);
  auto position = [&](int64_t b, int64_t s) {
    return p.data[(p.shape[0] == 1 ? 0 : b) * p.shape[1] + s];
  };
  // Position 1 shows the frequency itself.
  for (bool proving : {false, true})
    for (int64_t b = 0; b < from.batch; ++b)
      for (int64_t s = 0; s < from.rows; ++s)
        for (int64_t h = 0; h < from.heads; ++h) {
          double at = position(b, s);
          if (!proving && (at != 1 || h != 0))
            continue;
          for (int64_t i = 0; i < pairs; ++i) {
            int64_t first = match.interleaved ? 2 * i : i;
            int64_t second = match.interleaved ? 2 * i + 1 : i + pairs;
            double u = from(b, h, s, first), v = from(b, h, s, second);
            double c = to(b, h, s, first), d = to(b, h, s, second);
            if (!proving) {
              double square = u * u + v * v;
              frequencies[i] = std::atan2((u * d - v * c) / square,
                                          (u * c + v * d) / square);
              continue;
            }
            double cosine = std::cos(at * frequencies[i]),
                   sine = std::sin(at * frequencies[i]);
            if (std::abs(u * cosine - v * sine - c) > 1e-6 ||
                std::abs(v * cosine + u * sine - d) > 1e-6)
              return false;
          }
          for (int64_t i = rotated; i < from.features && proving; ++i)
            if (from(b, h, s, i) != to(b, h, s, i))
              return false;
        }
  // Nothing was turned.
  if (llvm::all_of(frequencies, [](double f) { return f == 0; }))
    return false;
  match.frequencies.assign(frequencies.begin(), frequencies.end());
  return true;
}

std::optional<RotaryMatch> RotaryExplainer::explain(Value x, Value output) {
  const SymbolicShape *shape = shapes.shape(x),
                      *places = shapes.shape(positions);
  if (!shape || !places)
    return std::nullopt;
  // Different, so that no two sizes only happen to be the same.
  std::vector<int64_t> sizes;
  for (unsigned i = 0; i < shapes.symbolCount(); ++i)
    sizes.push_back(5 + i % 31);
  GraphEvaluator evaluator;
  evaluator.setSizes(shapes, sizes);
  std::mt19937_64 random(13);
  std::normal_distribution<double> normal;
  HostTensor heads(sizesOf(*shape, sizes)), p(sizesOf(*places, sizes), 0, true);
  static const double tested[] = {1, 0, 2, 1000, 37};
  for (double &number : heads.data)
    number = normal(random);
  for (int64_t i = 0; i < p.size(); ++i)
    p.data[i] = tested[i % 5];
  evaluator.bind(x, heads);
  evaluator.bind(positions, p);
  if (p.rank() == 1)
    p.shape.insert(p.shape.begin(), 1);
  const HostTensor *y = evaluator.get(output);
  if (!y || y->shape != heads.shape || p.size() < 1)
    return std::nullopt;
  RotaryMatch match;
  match.x = x;
  match.output = output;
  match.positions = positions;
  int64_t features = heads.shape[3];
  SmallVector<int64_t> widths = {features};
  for (int64_t half = features / 2; half >= 2; half /= 2)
    widths.push_back(half);
  for (HeadLayout layout : {HeadLayout::HeadsFirst, HeadLayout::RowsFirst}) {
    match.layout = layout;
    HeadView view(heads, layout);
    if (view.rows != p.shape[1] ||
        (p.shape[0] != 1 && p.shape[0] != view.batch))
      continue;
    for (int64_t rotated : widths)
      for (bool interleaved : {false, true}) {
        match.interleaved = interleaved;
        if (rotated % 2 == 0 && solve(heads, *y, p, rotated, match))
          return match;
      }
  }
  return std::nullopt;
}

/// Positions of one sequence as [1, S].
static Value asMatrix(OpBuilder &builder, Location loc, Value positions) {
  auto type = cast<RankedTensorType>(positions.getType());
  if (type.getRank() == 2)
    return positions;
  Value axes = onnx::ConstantOp::create(
      builder, loc, builder.getI64TensorAttr(ArrayRef<int64_t>{0}));
  return createNode(builder, loc, "Unsqueeze", 13, {positions, axes},
                    RankedTensorType::get({1, type.getDimSize(0)},
                                          type.getElementType()))
      .getResult(0);
}

namespace {
struct RaiseRotaryPass : moe::impl::RaiseRotaryPassBase<RaiseRotaryPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<FunctionOpInterface>())
      if (!function.isExternal())
        raiseIn(function);
  }

  void raiseIn(FunctionOpInterface function) {
    llvm::MapVector<Value, SmallVector<Value>> angles;
    for (auto node : function.front().getOps<NodeOp>())
      if (node.is("Cos") || node.is("Sin"))
        if (Value positions = positionsOf(node.getInputs()[0]))
          angles[positions].push_back(node.getResult(0));
    SymbolicShapes shapes(function);
    for (auto &[positions, seeds] : angles) {
      AngleTables tables{positions, {}};
      close(tables, seeds);
      llvm::SetVector<Value> rotated;
      for (auto node : function.front().getOps<NodeOp>())
        if (node.is("Mul") && !tables.members.contains(node.getResult(0)))
          for (unsigned side : {0u, 1u})
            if (tables.members.contains(node.getInputs()[1 - side]))
              if (Value x = headsOf(node.getInputs()[side]))
                rotated.insert(x);
      for (Value x : rotated)
        raiseOne(x, tables, shapes);
    }
    eraseDead(function);
    tableOf.clear();
  }

  void raiseOne(Value x, const AngleTables &tables, SymbolicShapes &shapes) {
    RotaryExplainer explainer(shapes, tables.positions);
    unsigned tried = 0;
    SmallVector<Value> candidates = functionsOf(x, tables);
    for (Value output : llvm::reverse(candidates)) {
      if (!f32Type(output) || !shapes.sameShape(output, x))
        continue;
      if (auto match = explainer.explain(x, output)) {
        emit(*match);
        remark::passed(match->output.getLoc(), raise)
            << "raised rotary positions";
        return;
      }
      if (++tried == 6)
        break;
    }
    remark::missed(x.getLoc(), raise)
        << "products with sines of positions are no rotation that moert knows";
  }

  /// The tables of these positions and frequencies, made once.
  moert::RopeTableOp table(const RotaryMatch &match) {
    for (auto &[known, op] : tableOf)
      if (known.positions == match.positions &&
          known.frequencies == match.frequencies)
        return op;
    OpBuilder builder(match.positions.getContext());
    builder.setInsertionPointAfterValue(match.positions);
    Location loc = match.positions.getLoc();
    Value positions = asMatrix(builder, loc, match.positions);
    int64_t pairs = static_cast<int64_t>(match.frequencies.size());
    Value frequencies = onnx::ConstantOp::create(
        builder, loc,
        DenseFPElementsAttr::get(
            RankedTensorType::get({pairs}, builder.getF32Type()),
            ArrayRef<float>(match.frequencies)));
    Value inits[2];
    for (Value &init : inits)
      init = emptyLike(builder, loc, builder.getF32Type(),
                       {{positions, 0}, {positions, 1}, {frequencies, 0}});
    auto op = moert::RopeTableOp::create(
        builder, loc, TypeRange{inits[0].getType(), inits[1].getType()},
        positions, frequencies, ValueRange{inits[0], inits[1]});
    tableOf.push_back({match, op});
    return op;
  }

  void emit(const RotaryMatch &match) {
    auto tables = table(match);
    OpBuilder builder(match.output.getDefiningOp());
    Location loc = match.output.getLoc();
    Value x = asRowsFirst(builder, loc, match.x, match.layout);
    Value init = emptyLike(builder, loc, builder.getF32Type(),
                           {{x, 0}, {x, 1}, {x, 2}, {x, 3}});
    Value y = moert::RopeOp::create(
                  builder, loc, TypeRange{init.getType()}, x,
                  tables.getResult(0), tables.getResult(1), init,
                  match.interleaved ? builder.getUnitAttr() : UnitAttr())
                  .getResult(0);
    if (match.layout == HeadLayout::HeadsFirst)
      y = transposed(builder, loc, y, {0, 2, 1, 3});
    replaceValue(builder, match.output, y);
  }

  SmallVector<std::pair<RotaryMatch, moert::RopeTableOp>> tableOf;
};
} // namespace
