#include "passes/Kernels/Kernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace moe;

bool kernels::has(moert::RouteOp op, const Isa &) {
  return isF32(op.getLogits()) && element(op.getOuts()[0]).isInteger(32) &&
         isF32(op.getOuts()[1]) && op.getGroups() == 0 &&
         (!op.getChoiceBias() || isNarrow(op.getChoiceBias())) &&
         !ShapedType::isDynamic(dim(op.getLogits(), 1)) &&
         !ShapedType::isDynamic(dim(op.getOuts()[0], 1));
}

namespace {
struct Route {
  mutable moert::RouteOp op; // a handle: its getters are not const
  int64_t experts, choices;

  std::string name() const;
  void token(KernelBuilder &k, ArrayRef<Num> arguments, Num scores,
             Num t) const;
  void softmax(KernelBuilder &k, Num values, Num size) const;
  Num sigmoid(KernelBuilder &k, Num x) const { return 1 / (1 + k.exp(0 - x)); }
};
} // namespace

std::string Route::name() const {
  std::string text = "moe_route_";
  llvm::raw_string_ostream os(text);
  os << stringifyScore(op.getScore()) << "_e" << experts << "k" << choices;
  if (op.getChoiceBias())
    os << "_bias_" << typeName(kernels::element(op.getChoiceBias()));
  if (op.getSelectFirst())
    os << "_late";
  if (op.getNormalize())
    os << "_norm";
  if (op.getTiesHigh())
    os << "_high";
  if (op.getCount())
    os << "_dynamic";
  if (op.getSkipRatio())
    os << "_skip_" << kernels::bits(*op.getSkipRatio());
  for (const APFloat &number : {op.getNormEpsilon(), op.getScale()})
    os << "_" << kernels::bits(number);
  return text;
}

/// Softmax in place.
void Route::softmax(KernelBuilder &k, Num values, Num size) const {
  Num top = k.largest(values, size);
  Num sum = k.fold(k.integer(0), size, k.real(0), [&](Num i, Num sum) {
    Num e = k.exp(k.load(k.f32(), values, i) - top);
    k.store(e, values, i);
    return sum + e;
  });
  k.loop(0, size,
         [&](Num i) { k.store(k.load(k.f32(), values, i) / sum, values, i); });
}

/// The choices of token `t`, in scratch memory `scores` of two rows.
void Route::token(KernelBuilder &k, ArrayRef<Num> a, Num scores, Num t) const {
  Type f32 = k.f32();
  Num count = k.integer(experts), zero = k.integer(0);
  Num logits = k.address(f32, a[1], t * experts);
  Num ids = k.address(k.i32(), a[2], t * choices),
      weights = k.address(f32, a[3], t * choices);
  // Infinities are allowed: -inf is a masked expert.
  Num bad = k.fold(zero, count, k.zeros(k.i64()), [&](Num e, Num seen) {
    Num z = k.load(f32, logits, e);
    return seen | k.select(z == z, k.integer(0), k.integer(1));
  });
  k.check(bad == 0, "a router logit of layer '%s' is not a number (token %lld)",
          t, a[4]);
  bool late = op.getSelectFirst();
  k.loop(0, count, [&](Num e) {
    Num z = k.load(f32, logits, e);
    k.store(!late && op.getScore() == moert::Score::Sigmoid ? sigmoid(k, z) : z,
            scores, e);
  });
  if (!late && op.getScore() == moert::Score::Softmax)
    softmax(k, scores, count);
  Num choice = k.address(f32, scores, count);
  k.loop(0, count, [&](Num e) {
    Num score = k.load(f32, scores, e);
    if (op.getChoiceBias())
      score = score +
              k.loadWide(kernels::element(op.getChoiceBias()), false, a[5], e);
    k.store(score, choice, e);
  });
  Num size = op.getCount() ? a.back() : k.integer(choices);
  // One pass per choice; what is taken becomes NaN, which no pass sees.
  k.loop(0, size, [&](Num j) {
    Num best = k.largest(choice, count);
    Num none = k.integer(op.getTiesHigh() ? 0 : experts - 1);
    Num id = k.fold(zero, count, none, [&](Num e, Num found) {
      Num here = k.select(k.load(f32, choice, e) == best, e, none);
      return op.getTiesHigh() ? k.max(found, here) : k.min(found, here);
    });
    k.store(k.real(NAN), choice, id);
    k.store(k.convert(id, k.i32()), ids, j);
    Num score = k.load(f32, scores, id);
    if (late && op.getScore() == moert::Score::Sigmoid)
      score = sigmoid(k, score);
    k.store(score, weights, j);
  });
  if (late && op.getScore() == moert::Score::Softmax)
    softmax(k, weights, size);
  if (op.getCount())
    k.loop(size, k.integer(choices), 1, [&](Num j) {
      k.store(k.convert(k.integer(-1), k.i32()), ids, j);
      k.store(k.real(0), weights, j);
    });
  Num scale = k.real(op.getScale().convertToDouble());
  bool isScaled = !op.getScale().isExactlyValue(1.0);
  auto sumOf = [&](double start) {
    return k.fold(zero, size, k.real(start), [&](Num j, Num sum) {
      return sum + k.load(f32, weights, j);
    });
  };
  auto divide = [&](Num sum, bool last) { // a zero sum leaves zeros
    k.loop(0, size, [&](Num j) {
      Num share = k.load(f32, weights, j) / sum;
      if (last)
        share = share * scale;
      k.store(k.select(sum == 0, k.real(0), share), weights, j);
    });
  };
  std::optional<APFloat> ratio = op.getSkipRatio();
  double epsilon = op.getNormEpsilon().convertToDouble();
  if (op.getNormalize())
    divide(sumOf(epsilon), !ratio);
  if (ratio) {
    // Of what the weights are after the norm; nothing to empty changes nothing.
    Num least = k.load(f32, weights, 0) * ratio->convertToDouble();
    Num emptied = k.fold(k.integer(1), size, k.integer(0), [&](Num j, Num n) {
      Num isLow = k.load(f32, weights, j) < least;
      k.when(isLow, [&] {
        k.store(k.convert(k.integer(-1), k.i32()), ids, j);
        k.store(k.real(0), weights, j);
      });
      return n + k.select(isLow, k.integer(1), k.integer(0));
    });
    if (op.getNormalize() || (late && op.getScore() == moert::Score::Softmax))
      k.when(0 < emptied, [&] { divide(sumOf(0), false); });
  }
  if (isScaled && (ratio || !op.getNormalize()))
    k.loop(0, size, [&](Num j) {
      k.store(k.load(f32, weights, j) * scale, weights, j);
    });
}

void kernels::call(KernelBuilder &k, moert::RouteOp op) {
  Route route{op, dim(op.getLogits(), 1), dim(op.getOuts()[0], 1)};
  SmallVector<Num> arguments{
      size(k, op.getLogits(), 0), pointer(k, op.getLogits()),
      pointer(k, op.getOuts()[0]), pointer(k, op.getOuts()[1]),
      k.string(op.getLayer().value_or("moe"))};
  if (op.getChoiceBias())
    arguments.push_back(pointer(k, op.getChoiceBias()));
  if (Value count = op.getCount()) {
    Num given{k, arith::IndexCastOp::create(k.b, k.loc, k.i64(), count)};
    Num most = k.integer(route.choices);
    k.check((k.integer(0) < given) & (given < most + 1),
            moert::badRouteCount(route.choices), given, arguments[4]);
    arguments.push_back(given);
  }
  SmallVector<Type> types;
  for (Num n : arguments)
    types.push_back(n.value.getType());
  // A choice costs about ten operations per expert.
  int64_t perItem = std::max<int64_t>(1, (1 << 15) / (10 * route.experts));
  auto function = k.function(
      route.name(), types, [&](KernelBuilder &k, ArrayRef<Num> inner) {
        k.parallel(
            route.name() + "_tokens", inner[0], k.integer(perItem), inner,
            [&](KernelBuilder &k, ArrayRef<Num> captured, Num begin, Num end) {
              Num scores = k.scratch(8 * route.experts);
              k.loop(begin, end, 1,
                     [&](Num t) { route.token(k, captured, scores, t); });
            });
      });
  k.call(function, arguments);
}
