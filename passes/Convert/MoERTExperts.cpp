// moert.expert_ffn as loops.
#include "passes/Convert/MoERTLoops.h"

using namespace mlir;
using namespace moe;
using arith::CmpIPredicate;

namespace {
Value activate(Code c, moert::Activation kind, Value x, double alpha) {
  switch (kind) {
  case moert::Activation::Identity:
    return x;
  case moert::Activation::Relu:
    return arith::MaximumFOp::create(c.b, c.loc, x, c.number(0));
  case moert::Activation::Relu2: {
    Value r = arith::MaximumFOp::create(c.b, c.loc, x, c.number(0));
    return c.mul(r, r);
  }
  case moert::Activation::Silu:
    return c.mul(x, c.sigmoid(x, alpha));
  case moert::Activation::Gelu: {
    Value e =
        math::ErfOp::create(c.b, c.loc, c.mul(x, c.number(0.7071067811865476)));
    return c.mul(c.mul(c.number(0.5), x), c.add(c.number(1), e));
  }
  case moert::Activation::GeluTanh: {
    Value cube = c.mul(c.mul(x, x), x);
    Value inner = c.mul(c.number(0.7978845608028654),
                        c.add(x, c.mul(c.number(0.044715), cube)));
    Value tanh = math::TanhOp::create(c.b, c.loc, inner);
    return c.mul(c.mul(c.number(0.5), x), c.add(c.number(1), tanh));
  }
  }
  llvm_unreachable("all activations are handled");
}

/// The hidden vector of expert `e` from the product of its up matrix.
Value hiddenOf(Code c, moert::ExpertFfnOp ffn, Value product, Value e,
               int64_t inner) {
  bool packed = cast<RankedTensorType>(product.getType()).getRank() == 2;
  int64_t half = packed ? sizeOf(product, 1) / 2 : 0;
  double limit = ffn.getLimit().convertToDouble();
  return c.vector(inner, [&](Code c, Value i) {
    auto biased = [&](Value v, Value n) {
      return ffn.getUpBias() ? c.add(v, c.at(ffn.getUpBias(), {e, n})) : v;
    };
    auto clampHigh = [&](Value v) -> Value {
      return arith::MinimumFOp::create(c.b, c.loc, v, c.number(limit));
    };
    double alpha = ffn.getAlpha().convertToDouble();
    if (!ffn.getGlu()) {
      Value v = biased(column(c, product, i), i);
      return activate(c, ffn.getActivation(), limit > 0 ? clampHigh(v) : v,
                      alpha);
    }
    Value second = arith::AddIOp::create(c.b, c.loc, i, c.index(inner));
    Value gate, line;
    if (packed) {
      // Panels hold `half` columns of the gate, then as many linear ones.
      Value p = arith::DivUIOp::create(c.b, c.loc, i, c.index(half));
      Value r = arith::RemUIOp::create(c.b, c.loc, i, c.index(half));
      Value s = arith::AddIOp::create(c.b, c.loc, r, c.index(half));
      gate = c.at(product, {p, r});
      line = c.at(product, {p, s});
    } else {
      gate = c.at(product, i);
      line = c.at(product, second);
    }
    gate = biased(gate, i);
    line = biased(line, second);
    if (limit > 0) {
      gate = clampHigh(gate);
      line = arith::MaximumFOp::create(c.b, c.loc, clampHigh(line),
                                       c.number(-limit));
    }
    Value shifted = c.add(line, c.number(ffn.getBeta().convertToDouble()));
    return c.mul(activate(c, ffn.getActivation(), gate, alpha), shifted);
  });
}
} // namespace

LogicalResult moe::lowerToLoops(moert::ExpertFfnOp ffn) {
  OpBuilder builder(ffn);
  Location loc = ffn.getLoc();
  Code c(builder, loc, ffn.getOuts().getType());
  Value x = ffn.getX();
  int64_t columns = ffn.getNumColumns(), inner = ffn.getInner();
  int64_t features = sizeOf(x, 1), outputs = sizeOf(ffn.getOuts(), 1);
  int64_t slots = sizeOf(ffn.getIds(), 1);
  Type element =
      cast<RankedTensorType>(ffn.getOuts().getType()).getElementType();
  Value tokens = tensor::DimOp::create(builder, loc, x, 0);
  Value result = c.fold(tokens, ffn.getOuts(), [&](Code c, Value t, Value y) {
    Value start = c.vector(outputs, [&](Code c, Value n) {
      return ffn.getResidual() ? c.at(ffn.getResidual(), {t, n}) : c.number(0);
    });
    Value sum = c.fold(c.index(slots), start, [&](Code c, Value j, Value sum) {
      Value id =
          tensor::ExtractOp::create(c.b, c.loc, ffn.getIds(), ValueRange{t, j});
      Value e = arith::IndexCastOp::create(c.b, c.loc, c.b.getIndexType(), id);
      Value inside = c.both(c.is(CmpIPredicate::sge, e, c.index(0)),
                            c.is(CmpIPredicate::slt, e, c.index(columns)));
      if (std::optional<ArrayRef<int64_t>> entries = ffn.getEntries()) {
        auto type = RankedTensorType::get({columns}, c.b.getI64Type());
        Value table = arith::ConstantOp::create(
            c.b, c.loc, DenseElementsAttr::get(type, *entries));
        Value safe = c.select(inside, e, c.index(0));
        Value matrix = arith::IndexCastOp::create(
            c.b, c.loc, c.b.getIndexType(),
            tensor::ExtractOp::create(c.b, c.loc, table, safe));
        inside = c.both(inside, c.is(CmpIPredicate::sge, matrix, c.index(0)));
        e = matrix;
      }
      return c.branch(
          inside,
          [&](Code c) {
            Value w = c.at(ffn.getWeights(), {t, j});
            Value row = c.vector(features, [&](Code c, Value k) {
              Value v = c.at(x, {t, k});
              return ffn.getScaleInput() ? c.mul(v, w) : v;
            });
            using Matrix = moert::ExpertFfnOp::Matrix;
            auto times = [&](Value vector, const Matrix &m) {
              return m.coding ? timesCoded(c, vector, m, e)
                              : timesExpert(c, vector, m.values, e);
            };
            auto timesBoth = [&](Value vector, const Matrix &low,
                                 const Matrix &matrix) {
              if (!low.values)
                return times(vector, matrix);
              Value product = times(vector, low);
              Value few =
                  c.vector(sizeOf(matrix.values, 2), [&](Code c, Value i) {
                    return column(c, product, i);
                  });
              return times(few, matrix);
            };
            Value first =
                timesBoth(row, ffn.getUpLowMatrix(), ffn.getUpMatrix());
            Value hidden = hiddenOf(c, ffn, first, e, inner);
            Value product =
                timesBoth(hidden, ffn.getDownLowMatrix(), ffn.getDownMatrix());
            return c.vector(outputs, [&](Code c, Value n) {
              Value v = column(c, product, n);
              if (ffn.getDownBias())
                v = c.add(v, c.at(ffn.getDownBias(), {e, n}));
              if (!ffn.getOutputScale().isExactlyValue(1.0))
                v = c.mul(v, c.number(ffn.getOutputScale().convertToDouble()));
              if (!ffn.getScaleInput())
                v = c.mul(v, w);
              return c.add(c.at(sum, n), v);
            });
          },
          [&](Code) { return sum; });
    });
    return c.fold(c.index(outputs), y, [&](Code c, Value n, Value y) {
      Value v = c.at(sum, n);
      if (element != v.getType())
        v = arith::TruncFOp::create(c.b, c.loc, element, v);
      return c.put(v, y, {t, n});
    });
  });
  ffn.getResult(0).replaceAllUsesWith(result);
  ffn.erase();
  return success();
}
