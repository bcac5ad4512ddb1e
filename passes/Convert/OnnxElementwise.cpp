// Operators that work element by element.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace moe;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {
using Unary = Value (*)(OpBuilder &, NodeLowering &, Value);
using Binary = Value (*)(OpBuilder &, NodeLowering &, Value, Value, Type);

template <Unary function>
LogicalResult unary(NodeLowering &n) {
  Value x = n.in[0];
  n.out[0] =
      n.compute(n.resultElement(), n.dims(x), [&](OpBuilder &b, ValueRange at) {
        return function(b, n, n.read(b, x, at));
      });
  return success();
}

/// Two or more operands, folded from the left.
template <Binary function>
LogicalResult nary(NodeLowering &n) {
  Type element = n.elementOf(0);
  n.out[0] =
      n.compute(n.resultElement(), n.broadcastSizes(n.in),
                [&](OpBuilder &b, ValueRange at) {
                  Value result = n.readBroadcast(b, n.in[0], at);
                  for (Value operand : ArrayRef<Value>(n.in).drop_front())
                    result = function(b, n, result,
                                      n.readBroadcast(b, operand, at), element);
                  return result;
                });
  return success();
}

template <typename FloatOp, typename IntOp>
Value arithmetic(OpBuilder &b, NodeLowering &n, Value x, Value y, Type) {
  if (isa<FloatType>(x.getType()))
    return FloatOp::create(b, n.loc, x, y);
  return IntOp::create(b, n.loc, x, y);
}

/// Integer division truncates; by zero gives zero, and ends nothing.
Value divide(OpBuilder &b, NodeLowering &n, Value x, Value y, Type element) {
  if (isa<FloatType>(x.getType()))
    return arith::DivFOp::create(b, n.loc, x, y);
  Value zero = n.constant(b, y.getType(), 0),
        one = n.constant(b, y.getType(), 1);
  Value bad = arith::CmpIOp::create(b, n.loc, CmpIPredicate::eq, y, zero);
  Value safe = arith::SelectOp::create(b, n.loc, bad, one, y);
  Value quotient;
  if (NodeLowering::isUnsigned(element)) {
    quotient = arith::DivUIOp::create(b, n.loc, x, safe);
  } else {
    // The lowest number over -1 would trap: negate instead, which wraps.
    Value minus = n.constant(b, y.getType(), -1);
    Value isMinus =
        arith::CmpIOp::create(b, n.loc, CmpIPredicate::eq, safe, minus);
    Value divisor = arith::SelectOp::create(b, n.loc, isMinus, one, safe);
    quotient = arith::DivSIOp::create(b, n.loc, x, divisor);
    Value negated = arith::SubIOp::create(b, n.loc, zero, x);
    quotient = arith::SelectOp::create(b, n.loc, isMinus, negated, quotient);
  }
  return arith::SelectOp::create(b, n.loc, bad, zero, quotient);
}

Value modulo(OpBuilder &b, NodeLowering &n, Value x, Value y, Type element) {
  if (isa<FloatType>(x.getType()))
    return arith::RemFOp::create(b, n.loc, x, y);
  Value quotient = divide(b, n, x, y, element);
  Value product = arith::MulIOp::create(b, n.loc, quotient, y);
  Value rest = arith::SubIOp::create(b, n.loc, x, product);
  if (NodeLowering::isUnsigned(element) || n.node.intAttribute("fmod", 0))
    return rest;
  // The sign follows the divisor.
  Value zero = n.constant(b, y.getType(), 0);
  Value nonzero =
      arith::CmpIOp::create(b, n.loc, CmpIPredicate::ne, rest, zero);
  Value mixed = arith::XOrIOp::create(b, n.loc, rest, y);
  Value differ =
      arith::CmpIOp::create(b, n.loc, CmpIPredicate::slt, mixed, zero);
  Value both = arith::AndIOp::create(b, n.loc, nonzero, differ);
  Value moved = arith::AddIOp::create(b, n.loc, rest, y);
  return arith::SelectOp::create(b, n.loc, both, moved, rest);
}

template <bool largest>
Value extreme(OpBuilder &b, NodeLowering &n, Value x, Value y, Type element) {
  if (isa<FloatType>(x.getType())) { // NaN wins
    if (largest)
      return arith::MaximumFOp::create(b, n.loc, x, y);
    return arith::MinimumFOp::create(b, n.loc, x, y);
  }
  bool isUnsigned = NodeLowering::isUnsigned(element);
  if (largest)
    return isUnsigned ? arith::MaxUIOp::create(b, n.loc, x, y).getResult()
                      : arith::MaxSIOp::create(b, n.loc, x, y).getResult();
  return isUnsigned ? arith::MinUIOp::create(b, n.loc, x, y).getResult()
                    : arith::MinSIOp::create(b, n.loc, x, y).getResult();
}

template <CmpFPredicate floats, CmpIPredicate ints, CmpIPredicate unsignedInts>
Value compare(OpBuilder &b, NodeLowering &n, Value x, Value y, Type element) {
  if (isa<FloatType>(x.getType()))
    return arith::CmpFOp::create(b, n.loc, floats, x, y);
  return arith::CmpIOp::create(
      b, n.loc, NodeLowering::isUnsigned(element) ? unsignedInts : ints, x, y);
}

/// The exponent may have another type; whole powers of ints go by f64.
LogicalResult power(NodeLowering &n) {
  Type base = n.elementOf(0), exponent = n.elementOf(1);
  DenseElementsAttr constant;
  // x^2 is what norms are made of.
  bool square =
      isa<FloatType>(base) && matchPattern(n.in[1], m_Constant(&constant)) &&
      constant.isSplat() && isa<FloatType>(constant.getElementType()) &&
      constant.getSplatValue<APFloat>().convertToDouble() == 2.0;
  n.out[0] = n.compute(
      n.resultElement(), n.broadcastSizes(n.in),
      [&](OpBuilder &b, ValueRange at) -> Value {
        Value x = n.readBroadcast(b, n.in[0], at);
        if (square)
          return arith::MulFOp::create(b, n.loc, x, x);
        Value y = n.readBroadcast(b, n.in[1], at);
        Type type = isa<FloatType>(x.getType()) ? x.getType() : b.getF64Type();
        Value power =
            math::PowFOp::create(b, n.loc, n.castElement(b, x, base, type),
                                 n.castElement(b, y, exponent, type));
        return n.castElement(b, power, type, base);
      });
  return success();
}

LogicalResult where(NodeLowering &n) {
  n.out[0] = n.compute(n.resultElement(), n.broadcastSizes(n.in),
                       [&](OpBuilder &b, ValueRange at) -> Value {
                         return arith::SelectOp::create(
                             b, n.loc, n.readBroadcast(b, n.in[0], at),
                             n.readBroadcast(b, n.in[1], at),
                             n.readBroadcast(b, n.in[2], at));
                       });
  return success();
}

LogicalResult cast(NodeLowering &n) {
  Type from = n.elementOf(0), to = n.resultElement();
  Value x = n.in[0];
  n.out[0] = n.compute(to, n.dims(x), [&](OpBuilder &b, ValueRange at) {
    return n.castElement(b, n.read(b, x, at), from, to);
  });
  return success();
}

LogicalResult clip(NodeLowering &n) {
  Type element = n.elementOf(0);
  Value x = n.in[0];
  n.out[0] =
      n.compute(n.resultElement(), n.dims(x), [&](OpBuilder &b, ValueRange at) {
        Value value = n.read(b, x, at);
        auto bound = [&](unsigned input, StringRef name) -> Value {
          if (n.has(input))
            return n.read(b, n.in[input], ValueRange());
          if (Attribute old = n.node.attribute(name))
            return n.constant(b, value.getType(),
                              mlir::cast<FloatAttr>(old).getValueAsDouble());
          return {};
        };
        if (Value low = bound(1, "min"))
          value = extreme<true>(b, n, value, low, element);
        if (Value high = bound(2, "max"))
          value = extreme<false>(b, n, value, high, element);
        return value;
      });
  return success();
}

// --- functions of one float
// ----------------------------------------------------

template <typename Op>
Value mathOp(OpBuilder &b, NodeLowering &n, Value x) {
  return Op::create(b, n.loc, x);
}

Value negate(OpBuilder &b, NodeLowering &n, Value x) {
  if (isa<FloatType>(x.getType()))
    return arith::NegFOp::create(b, n.loc, x);
  return arith::SubIOp::create(b, n.loc, n.constant(b, x.getType(), 0), x);
}

Value absolute(OpBuilder &b, NodeLowering &n, Value x) {
  if (isa<FloatType>(x.getType()))
    return math::AbsFOp::create(b, n.loc, x);
  return math::AbsIOp::create(b, n.loc, x);
}

Value reciprocal(OpBuilder &b, NodeLowering &n, Value x) {
  return arith::DivFOp::create(b, n.loc, n.constant(b, x.getType(), 1), x);
}

Value sigmoid(OpBuilder &b, NodeLowering &n, Value x) {
  Value one = n.constant(b, x.getType(), 1);
  Value e = math::ExpOp::create(b, n.loc, arith::NegFOp::create(b, n.loc, x));
  return arith::DivFOp::create(b, n.loc, one,
                               arith::AddFOp::create(b, n.loc, one, e));
}

Value scaledSigmoid(OpBuilder &b, NodeLowering &n, Value x, double alpha) {
  Value scaled =
      arith::MulFOp::create(b, n.loc, x, n.constant(b, x.getType(), alpha));
  return arith::MulFOp::create(b, n.loc, x, sigmoid(b, n, scaled));
}

Value swish(OpBuilder &b, NodeLowering &n, Value x) {
  return scaledSigmoid(b, n, x, n.node.floatAttribute("alpha", 1.0));
}

Value quickGelu(OpBuilder &b, NodeLowering &n, Value x) {
  return scaledSigmoid(b, n, x, n.node.floatAttribute("alpha", 1.702));
}

Value relu(OpBuilder &b, NodeLowering &n, Value x) {
  return extreme<true>(b, n, x, n.constant(b, x.getType(), 0), x.getType());
}

Value leakyRelu(OpBuilder &b, NodeLowering &n, Value x) {
  Value zero = n.constant(b, x.getType(), 0);
  Value slope =
      n.constant(b, x.getType(), n.node.floatAttribute("alpha", 0.01));
  Value low = arith::CmpFOp::create(b, n.loc, CmpFPredicate::OLT, x, zero);
  return arith::SelectOp::create(b, n.loc, low,
                                 arith::MulFOp::create(b, n.loc, x, slope), x);
}

/// 0.5 x (1 + erf(x / sqrt 2)), or its tanh form.
Value gelu(OpBuilder &b, NodeLowering &n, Value x, bool tanh) {
  auto number = [&](double v) { return n.constant(b, x.getType(), v); };
  auto times = [&](Value p, Value q) -> Value {
    return arith::MulFOp::create(b, n.loc, p, q);
  };
  Value inner;
  if (tanh) {
    Value cube = times(times(x, x), x);
    Value sum =
        arith::AddFOp::create(b, n.loc, x, times(cube, number(0.044715)));
    inner =
        math::TanhOp::create(b, n.loc, times(sum, number(0.7978845608028654)));
  } else {
    inner = math::ErfOp::create(b, n.loc, times(x, number(0.7071067811865476)));
  }
  Value sum = arith::AddFOp::create(b, n.loc, number(1), inner);
  return times(times(number(0.5), x), sum);
}

Value standardGelu(OpBuilder &b, NodeLowering &n, Value x) {
  return gelu(b, n, x, n.node.stringAttribute("approximate", "none") == "tanh");
}

LogicalResult fastGelu(NodeLowering &n) {
  n.out[0] = n.compute(n.resultElement(), n.dims(n.in[0]),
                       [&](OpBuilder &b, ValueRange at) {
                         Value x = n.read(b, n.in[0], at);
                         if (n.has(1))
                           x = arith::AddFOp::create(
                               b, n.loc, x, n.readBroadcast(b, n.in[1], at));
                         return gelu(b, n, x, true);
                       });
  return success();
}

Value softplus(OpBuilder &b, NodeLowering &n, Value x) {
  // log(1 + e^x) = max(x, 0) + log1p(e^-|x|)
  Value small = math::ExpOp::create(
      b, n.loc,
      arith::NegFOp::create(b, n.loc, math::AbsFOp::create(b, n.loc, x)));
  return arith::AddFOp::create(b, n.loc, relu(b, n, x),
                               math::Log1pOp::create(b, n.loc, small));
}

Value logicalNot(OpBuilder &b, NodeLowering &n, Value x) {
  return arith::XOrIOp::create(b, n.loc, x, n.constant(b, x.getType(), 1));
}

Value isNaN(OpBuilder &b, NodeLowering &n, Value x) {
  return arith::CmpFOp::create(b, n.loc, CmpFPredicate::UNO, x, x);
}

Value isInf(OpBuilder &b, NodeLowering &n, Value x) {
  auto is = [&](double sign) -> Value {
    return arith::CmpFOp::create(b, n.loc, CmpFPredicate::OEQ, x,
                                 n.constant(b, x.getType(), sign * INFINITY));
  };
  Value result = n.constant(b, b.getI1Type(), 0);
  if (n.node.intAttribute("detect_positive", 1))
    result = arith::OrIOp::create(b, n.loc, result, is(1));
  if (n.node.intAttribute("detect_negative", 1))
    result = arith::OrIOp::create(b, n.loc, result, is(-1));
  return result;
}

Value sign(OpBuilder &b, NodeLowering &n, Value x) {
  Value zero = n.constant(b, x.getType(), 0);
  Value one = n.constant(b, x.getType(), 1),
        minus = n.constant(b, x.getType(), -1);
  bool isFloat = isa<FloatType>(x.getType());
  auto compareZero = [&](CmpFPredicate f, CmpIPredicate i) -> Value {
    if (isFloat)
      return arith::CmpFOp::create(b, n.loc, f, x, zero);
    return arith::CmpIOp::create(b, n.loc, i, x, zero);
  };
  Value negative = compareZero(CmpFPredicate::OLT, CmpIPredicate::slt);
  Value positive = compareZero(CmpFPredicate::OGT, CmpIPredicate::sgt);
  Value rest =
      arith::SelectOp::create(b, n.loc, negative, minus, isFloat ? x : zero);
  return arith::SelectOp::create(b, n.loc, positive, one, rest);
}

LogicalResult identity(NodeLowering &n) {
  n.out[0] = n.in[0];
  return success();
}
} // namespace

void moe::addElementwiseLowerings(LoweringTable &table) {
  table["Add"] = nary<arithmetic<arith::AddFOp, arith::AddIOp>>;
  table["Sum"] = nary<arithmetic<arith::AddFOp, arith::AddIOp>>;
  table["Sub"] = nary<arithmetic<arith::SubFOp, arith::SubIOp>>;
  table["Mul"] = nary<arithmetic<arith::MulFOp, arith::MulIOp>>;
  table["Div"] = nary<divide>;
  table["Mod"] = nary<modulo>;
  table["Max"] = nary<extreme<true>>;
  table["Min"] = nary<extreme<false>>;
  table["Pow"] = power;
  table["Equal"] =
      nary<compare<CmpFPredicate::OEQ, CmpIPredicate::eq, CmpIPredicate::eq>>;
  table["Less"] =
      nary<compare<CmpFPredicate::OLT, CmpIPredicate::slt, CmpIPredicate::ult>>;
  table["LessOrEqual"] =
      nary<compare<CmpFPredicate::OLE, CmpIPredicate::sle, CmpIPredicate::ule>>;
  table["Greater"] =
      nary<compare<CmpFPredicate::OGT, CmpIPredicate::sgt, CmpIPredicate::ugt>>;
  table["GreaterOrEqual"] =
      nary<compare<CmpFPredicate::OGE, CmpIPredicate::sge, CmpIPredicate::uge>>;
  table["And"] = nary<arithmetic<arith::MulFOp, arith::AndIOp>>;
  table["Or"] = nary<arithmetic<arith::MulFOp, arith::OrIOp>>;
  table["Xor"] = nary<arithmetic<arith::MulFOp, arith::XOrIOp>>;
  table["Where"] = where;
  table["Cast"] = cast;
  table["CastLike"] = cast;
  table["Clip"] = clip;
  table["Identity"] = identity;
  table["Neg"] = unary<negate>;
  table["Abs"] = unary<absolute>;
  table["Reciprocal"] = unary<reciprocal>;
  table["Sigmoid"] = unary<sigmoid>;
  table["Swish"] = unary<swish>;
  table["Relu"] = unary<relu>;
  table["LeakyRelu"] = unary<leakyRelu>;
  table["Gelu"] = unary<standardGelu>;
  table["com.microsoft.Gelu"] = unary<standardGelu>;
  table["com.microsoft.QuickGelu"] = unary<quickGelu>;
  table["com.microsoft.FastGelu"] = fastGelu;
  table["Softplus"] = unary<softplus>;
  table["Not"] = unary<logicalNot>;
  table["IsNaN"] = unary<isNaN>;
  table["IsInf"] = unary<isInf>;
  table["Sign"] = unary<sign>;
  table["Sqrt"] = unary<mathOp<math::SqrtOp>>;
  table["Exp"] = unary<mathOp<math::ExpOp>>;
  table["Log"] = unary<mathOp<math::LogOp>>;
  table["Sin"] = unary<mathOp<math::SinOp>>;
  table["Cos"] = unary<mathOp<math::CosOp>>;
  table["Tanh"] = unary<mathOp<math::TanhOp>>;
  table["Erf"] = unary<mathOp<math::ErfOp>>;
  table["Floor"] = unary<mathOp<math::FloorOp>>;
  table["Ceil"] = unary<mathOp<math::CeilOp>>;
  table["Round"] = unary<mathOp<math::RoundEvenOp>>;
}
