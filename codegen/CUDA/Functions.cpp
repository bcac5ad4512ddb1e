#include "codegen/CUDA/Functions.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace moe;

static Num roundEven(CudaBuilder &k, Num x) {
  return {k, math::RoundEvenOp::create(k.b, k.loc, x.value)};
}

static Num size(CudaBuilder &k, Num x) {
  return {k, math::AbsFOp::create(k.b, k.loc, x.value)};
}

static Num polynomial(CudaBuilder &k, Num x, ArrayRef<double> highestFirst) {
  Num sum = x.like(highestFirst[0]);
  for (double c : highestFirst.drop_front())
    sum = k.fma(sum, x, x.like(c));
  return sum;
}

// 2^x of a whole number and of what is left; a product with 1 / ln 2 alone
// would be off by as many units as the result has bits before the point.
Num moe::cuda::exp(CudaBuilder &k, Num x) {
  // Beyond these the result is infinite or 0; a comparison lets NaN pass.
  x = k.min(k.real(90), k.max(k.real(-110), x));
  Num whole = roundEven(k, x * 1.4426950408889634);
  Num rest = k.fma(x, k.real(0x1.715476p+0), k.real(0) - whole);
  rest = k.fma(x, k.real(0x1.4ae0cp-26), rest);
  // 2^128 times a half is a number.
  return k.exp2(rest) * k.exp2(whole - 1.0) * 2.0;
}

Num moe::cuda::log(CudaBuilder &k, Num x) {
  Num zero = k.real(0);
  Num tiny = x < k.real(0x1p-126);
  Num scaled = k.select(tiny, x * 0x1p24, x);
  // A fraction from the root of a half to that of two.
  Num bits = k.bitcast(scaled, k.i32()) - 0x3f3504f3;
  Num power{
      k, arith::ShRSIOp::create(k.b, k.loc, bits.value, bits.like(23).value)};
  Num fraction = k.bitcast((bits & bits.like(0x7fffff)) + 0x3f3504f3, k.f32());
  Num s = (fraction - 1.0) / (fraction + 1.0), square = s * s;
  Num series = polynomial(k, square,
                          {2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3, 2.0});
  Num exponent = k.convert(power, k.f32()) - k.select(tiny, k.real(24), zero);
  Num value = k.fma(exponent, k.real(0.6931471805599453), s * series);
  value = k.select(x == INFINITY, x, value);
  value = k.select(x == 0, k.real(-INFINITY), value);
  value = k.select(x < zero, k.real(NAN), value);
  return k.select(x == x, value, x);
}

Num moe::cuda::sigmoid(CudaBuilder &k, Num x) {
  return k.real(1) / (exp(k, k.real(0) - x) + 1.0);
}

Num moe::cuda::tanh(CudaBuilder &k, Num x) {
  Num large = k.real(1) - k.real(2) / (exp(k, size(k, x) * 2.0) + 1.0);
  large = k.select(x < k.real(0), k.real(0) - large, large);
  Num square = x * x;
  Num small = x * polynomial(k, square,
                             {-1382.0 / 155925, 62.0 / 2835, -17.0 / 315,
                              2.0 / 15, -1.0 / 3, 1.0});
  return k.select(size(k, x) < k.real(0.25), small, large);
}

Num moe::cuda::erf(CudaBuilder &k, Num x) {
  // Abramowitz and Stegun 7.1.26.
  Num far = size(k, x);
  Num t = k.real(1) / (far * 0.3275911 + 1.0);
  Num sum = t * polynomial(k, t,
                           {1.061405429, -1.453152027, 1.421413741,
                            -0.284496736, 0.254829592});
  Num large = k.real(1) - sum * exp(k, k.real(0) - far * far);
  large = k.select(x < k.real(0), k.real(0) - large, large);
  Num small = x * 1.1283791670955126 *
              polynomial(k, x * x,
                         {1.0 / 9360, -1.0 / 1320, 1.0 / 216, -1.0 / 42, 0.1,
                          -1.0 / 3, 1.0});
  return k.select(far < k.real(0.5), small, large);
}

std::pair<Num, Num> moe::cuda::cosineAndSine(CudaBuilder &k, Num angle) {
  Num quarters = roundEven(k, angle * 0.63661977236758134);
  // Pi / 2 in two parts: the first product is exact in a fused sum.
  Num back = angle.like(0) - quarters;
  Num rest = k.fma(back, angle.like(0x1.921fb54442d18p+0), angle);
  rest = k.fma(back, angle.like(0x1.1a62633145c07p-54), rest);
  Num square = rest * rest;
  Num sine = rest * polynomial(k, square,
                               {1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880,
                                -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0});
  Num cosine = polynomial(k, square,
                          {-1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800,
                           1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1.0});
  Num turn = k.convert(quarters, k.i64());
  Num odd = (turn & turn.like(1)) == 1;
  auto negated = [&](Num value, Num condition) {
    return k.select(condition, value.like(0) - value, value);
  };
  Num upper = (turn & turn.like(2)) == 2,
      next = ((turn + 1) & turn.like(2)) == 2;
  return {negated(k.select(odd, sine, cosine), next),
          negated(k.select(odd, cosine, sine), upper)};
}
