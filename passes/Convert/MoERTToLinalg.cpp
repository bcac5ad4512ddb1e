#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "passes/Convert/Passes.h"
#include "passes/Convert/ScalarCode.h"
#include "passes/Kernels/Kernels.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTMOERTTOLINALGPASS
#include "passes/Convert/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {
int64_t sizeOf(Value value, int64_t d) {
  return cast<RankedTensorType>(value.getType()).getDimSize(d);
}

/// Row vector `[K]` times packed matrix `weights[e]` `[panels, K, width]`, as
/// `[panels, width]`. Several panels at a time, their sums in registers, so
/// that enough independent chains hide the latency of an FMA.
Value timesPanels(Code c, Value row, Value weights, Value e) {
  constexpr int64_t lanes = 16, most = 6;
  int64_t panels = sizeOf(weights, 1), depth = sizeOf(weights, 2),
          width = sizeOf(weights, 3);
  Type element = cast<RankedTensorType>(weights.getType()).getElementType();
  auto vector = VectorType::get({lanes}, c.b.getF32Type());
  auto stored = VectorType::get({lanes}, element);
  int64_t block = most;
  while (panels % block != 0)
    --block;
  int64_t parts = width / lanes, chains = block * parts;
  Value product = c.empty({panels, width});
  return c.fold(
      c.index(panels / block), product, [&](Code c, Value i, Value product) {
        Value first = arith::MulIOp::create(c.b, c.loc, i, c.index(block));
        SmallVector<Value> panel;
        for (int64_t p = 0; p < block; ++p)
          panel.push_back(arith::AddIOp::create(c.b, c.loc, first, c.index(p)));
        Value zero =
            arith::ConstantOp::create(c.b, c.loc, c.b.getZeroAttr(vector));
        auto loop = scf::ForOp::create(
            c.b, c.loc, c.index(0), c.index(depth), c.index(1),
            SmallVector<Value>(chains, zero),
            [&](OpBuilder &inner, Location loc, Value k, ValueRange sums) {
              Code c{inner, loc};
              Value x =
                  vector::BroadcastOp::create(inner, loc, vector, c.at(row, k));
              Value padding = arith::ConstantOp::create(
                  inner, loc, inner.getZeroAttr(element));
              SmallVector<Value> next;
              for (int64_t n = 0; n < chains; ++n) {
                Value w = vector::TransferReadOp::create(
                    inner, loc, stored, weights,
                    ValueRange{e, panel[n / parts], k,
                               c.index(n % parts * lanes)},
                    padding, ArrayRef<bool>{true});
                if (stored != vector)
                  w = arith::ExtFOp::create(inner, loc, vector, w);
                next.push_back(
                    vector::FMAOp::create(inner, loc, x, w, sums[n]));
              }
              scf::YieldOp::create(inner, loc, next);
            });
        for (int64_t n = 0; n < chains; ++n)
          product =
              vector::TransferWriteOp::create(
                  c.b, c.loc, loop.getResult(n), product,
                  ValueRange{panel[n / parts], c.index(n % parts * lanes)},
                  ArrayRef<bool>{true})
                  .getResult();
        return product;
      });
}

/// Row vector times the matrix of expert `e`: packed `[E, panels, K, width]`,
/// or plain `[E, N, K]`, which gives `[N]`.
Value timesExpert(Code c, Value row, Value weights, Value e) {
  if (cast<RankedTensorType>(weights.getType()).getRank() == 4)
    return timesPanels(c, row, weights, e);
  Value depth = c.index(sizeOf(weights, 2));
  return c.vector(sizeOf(weights, 1), [&](Code c, Value n) {
    return c.fold(depth, c.f32(0), [&](Code c, Value k, Value sum) {
      return c.add(sum, c.mul(c.at(row, k), c.at(weights, {e, n, k})));
    });
  });
}

/// Column `n` of a product by panels, or of a plain one.
Value column(Code c, Value product, Value n) {
  if (cast<RankedTensorType>(product.getType()).getRank() == 1)
    return c.at(product, n);
  Value width = c.index(sizeOf(product, 1));
  return c.at(product,
              {arith::DivUIOp::create(c.b, c.loc, n, width).getResult(),
               arith::RemUIOp::create(c.b, c.loc, n, width).getResult()});
}

/// Row `t` of a matrix.
Value rowOf(Code c, Value matrix, Value t) {
  int64_t columns = sizeOf(matrix, 1);
  auto attr = [&](int64_t v) -> OpFoldResult { return c.b.getIndexAttr(v); };
  auto type = RankedTensorType::get(
      {columns}, cast<RankedTensorType>(matrix.getType()).getElementType());
  return tensor::ExtractSliceOp::create(
      c.b, c.loc, type, matrix, ArrayRef<OpFoldResult>{t, attr(0)},
      ArrayRef<OpFoldResult>{attr(1), attr(columns)},
      ArrayRef<OpFoldResult>{attr(1), attr(1)});
}

// --- gemm
// ----------------------------------------------------------------------

/// One row at a time; packed weights by panels.
LogicalResult lower(moert::GemmOp gemm) {
  OpBuilder builder(gemm);
  Code c{builder, gemm.getLoc()};
  auto type = dyn_cast<RankedTensorType>(gemm.getX().getType());
  if (type && (type.getRank() != 2 || type.isDynamicDim(1) ||
               ShapedType::isDynamic(sizeOf(gemm.getOuts(), 1))))
    return lowerModelOp(gemm);
  Value x = gemm.getX(), w = gemm.getWeight();
  int64_t columns = sizeOf(gemm.getOuts(), 1), depth = sizeOf(x, 1);
  bool packed = cast<RankedTensorType>(w.getType()).getRank() == 4;
  Value rows = tensor::DimOp::create(builder, c.loc, x, 0);
  Value result = c.fold(rows, gemm.getOuts(), [&](Code c, Value t, Value y) {
    Value row = rowOf(c, x, t);
    Value product = packed ? timesPanels(c, row, w, c.index(0)) : Value();
    Value line = c.vector(columns, [&](Code c, Value n) {
      Value sum = packed
                      ? column(c, product, n)
                      : c.fold(c.index(depth), c.f32(0),
                               [&](Code c, Value k, Value sum) {
                                 Value weight = gemm.getTransposeWeight()
                                                    ? c.at(w, {n, k})
                                                    : c.at(w, {k, n});
                                 return c.add(sum, c.mul(c.at(row, k), weight));
                               });
      if (gemm.getBias())
        sum = c.add(sum, c.at(gemm.getBias(), n));
      if (gemm.getResidual())
        sum = c.add(sum, c.at(gemm.getResidual(), {t, n}));
      return sum;
    });
    auto attr = [&](int64_t v) -> OpFoldResult { return c.b.getIndexAttr(v); };
    return tensor::InsertSliceOp::create(
               c.b, c.loc, line, y, ArrayRef<OpFoldResult>{t, attr(0)},
               ArrayRef<OpFoldResult>{attr(1), attr(columns)},
               ArrayRef<OpFoldResult>{attr(1), attr(1)})
        .getResult();
  });
  gemm.getResult(0).replaceAllUsesWith(result);
  gemm.erase();
  return success();
}

// --- route
// ---------------------------------------------------------------------

/// Softmax of `size` values.
Value softmax(Code c, int64_t size, function_ref<Value(Code, Value)> read) {
  Value count = c.index(size);
  Value top = c.fold(count, c.f32(-INFINITY), [&](Code c, Value i, Value best) {
    return Value(arith::MaximumFOp::create(c.b, c.loc, best, read(c, i)));
  });
  Value sum = c.fold(count, c.f32(0), [&](Code c, Value i, Value sum) {
    return c.add(sum, c.exp(c.sub(read(c, i), top)));
  });
  return c.vector(size, [&](Code c, Value i) {
    return c.div(c.exp(c.sub(read(c, i), top)), sum);
  });
}

/// Experts outside the best groups get the mask as their choice score.
Value limitGroups(Code c, moert::RouteOp route, Value choice, int64_t experts) {
  int64_t groups = route.getGroups(), size = experts / groups;
  Value scores = c.vector(groups, [&](Code c, Value g) {
    Value first = arith::MulIOp::create(c.b, c.loc, g, c.index(size));
    auto member = [&](Code c, Value i) {
      Value e = arith::AddIOp::create(c.b, c.loc, first, i);
      return c.at(choice, e);
    };
    auto best = [&](Code c, Value skipped) {
      return c.fold(c.index(size), c.index(-1),
                    [&](Code c, Value i, Value best) {
                      Value none = c.is(CmpIPredicate::slt, best, c.index(0));
                      Value safe = c.select(none, c.index(0), best);
                      Value better =
                          c.either(none, c.less(member(c, safe), member(c, i)));
                      Value allowed = c.is(CmpIPredicate::ne, i, skipped);
                      return c.select(c.both(allowed, better), i, best);
                    });
    };
    Value top = best(c, c.index(-1));
    Value score = member(c, top);
    if (!route.getGroupTop2() || size < 2)
      return score;
    return c.add(score, member(c, best(c, top)));
  });
  return c.vector(experts, [&](Code c, Value e) {
    Value mine = arith::DivUIOp::create(c.b, c.loc, e, c.index(size));
    Value own = c.at(scores, mine);
    Value ahead =
        c.fold(c.index(groups), c.index(0), [&](Code c, Value g, Value n) {
          Value other = c.at(scores, g);
          Value higher = c.less(own, other);
          Value equal =
              arith::CmpFOp::create(c.b, c.loc, CmpFPredicate::OEQ, own, other);
          Value tie = c.both(equal, c.is(CmpIPredicate::ult, g, mine));
          Value more = arith::AddIOp::create(c.b, c.loc, n, c.index(1));
          return c.select(c.either(higher, tie), more, n);
        });
    Value kept = c.is(CmpIPredicate::ult, ahead, c.index(route.getTopGroups()));
    return c.select(kept, c.at(choice, e),
                    c.f32(route.getGroupMaskValue().convertToDouble()));
  });
}

/// The chosen experts of token `t`, in a vector of indices, best first.
Value choose(Code c, moert::RouteOp route, Value choice, int64_t experts,
             int64_t k) {
  Value used = tensor::EmptyOp::create(c.b, c.loc, {experts}, c.b.getI1Type());
  Value no = arith::ConstantOp::create(c.b, c.loc, c.b.getBoolAttr(false));
  Value yes = arith::ConstantOp::create(c.b, c.loc, c.b.getBoolAttr(true));
  used = linalg::FillOp::create(c.b, c.loc, no, used).getResult(0);
  Value ids = tensor::EmptyOp::create(c.b, c.loc, {k}, c.b.getIndexType());
  auto loop = scf::ForOp::create(
      c.b, c.loc, c.index(0), c.index(k), c.index(1), ValueRange{ids, used},
      [&](OpBuilder &inner, Location loc, Value j, ValueRange carried) {
        Code c{inner, loc};
        Value best = c.fold(
            c.index(experts), c.index(-1), [&](Code c, Value e, Value best) {
              Value none = c.is(CmpIPredicate::slt, best, c.index(0));
              Value safe = c.select(none, c.index(0), best);
              auto order =
                  route.getTiesHigh() ? CmpFPredicate::OGE : CmpFPredicate::OGT;
              Value better = arith::CmpFOp::create(
                  c.b, c.loc, order, c.at(choice, e), c.at(choice, safe));
              Value taken =
                  tensor::ExtractOp::create(c.b, c.loc, carried[1], e);
              Value free = arith::XOrIOp::create(c.b, c.loc, taken, yes);
              return c.select(c.both(free, c.either(none, better)), e, best);
            });
        scf::YieldOp::create(inner, loc,
                             ValueRange{c.put(best, carried[0], j),
                                        c.put(yes, carried[1], best)});
      });
  return loop.getResult(0);
}

LogicalResult lower(moert::RouteOp route) {
  OpBuilder builder(route);
  Location loc = route.getLoc();
  Code c{builder, loc};
  Value logits = route.getLogits();
  int64_t experts = sizeOf(logits, 1), k = sizeOf(route.getOuts()[0], 1);
  if (ShapedType::isDynamic(experts) || ShapedType::isDynamic(k))
    return route.emitOpError("needs a known number of experts and of slots");
  std::string layer = route.getLayer() ? route.getLayer()->str() : "";
  Value tokens = tensor::DimOp::create(builder, loc, logits, 0);
  auto loop = scf::ForOp::create(
      builder, loc, c.index(0), tokens, c.index(1), route.getOuts(),
      [&](OpBuilder &inner, Location, Value t, ValueRange carried) {
        Code c{inner, loc};
        auto logit = [&](Code c, Value e) { return c.at(logits, {t, e}); };
        Value yes =
            arith::ConstantOp::create(inner, loc, inner.getBoolAttr(true));
        Value numbers =
            c.fold(c.index(experts), yes, [&](Code c, Value e, Value ok) {
              Value z = logit(c, e);
              Value real =
                  arith::CmpFOp::create(c.b, c.loc, CmpFPredicate::ORD, z, z);
              return c.both(ok, real);
            });
        cf::AssertOp::create(inner, loc, numbers,
                             "a router logit of layer '" + layer +
                                 "' is not a number");
        bool late = route.getSelectFirst();
        Value scores;
        if (late || route.getScore() == moert::Score::None)
          scores = c.vector(experts, logit);
        else if (route.getScore() == moert::Score::Softmax)
          scores = softmax(c, experts, logit);
        else
          scores = c.vector(
              experts, [&](Code c, Value e) { return c.sigmoid(logit(c, e)); });
        Value choice = scores;
        if (Value bias = route.getChoiceBias())
          choice = c.vector(experts, [&](Code c, Value e) {
            return c.add(c.at(scores, e), c.at(bias, e));
          });
        if (route.getGroups() > 0)
          choice = limitGroups(c, route, choice, experts);
        Value ids = choose(c, route, choice, experts, k);
        auto chosen = [&](Code c, Value j) {
          return c.at(
              scores,
              tensor::ExtractOp::create(c.b, c.loc, ids, j).getResult());
        };
        Value weights;
        if (late && route.getScore() == moert::Score::Softmax)
          weights = softmax(c, k, chosen);
        else
          weights = c.vector(k, [&](Code c, Value j) {
            Value s = chosen(c, j);
            return late && route.getScore() == moert::Score::Sigmoid
                       ? c.sigmoid(s)
                       : s;
          });
        Value sum;
        if (route.getNormalize())
          sum = c.fold(c.index(k),
                       c.f32(route.getNormEpsilon().convertToDouble()),
                       [&](Code c, Value j, Value sum) {
                         return c.add(sum, c.at(weights, j));
                       });
        auto slots = scf::ForOp::create(
            inner, loc, c.index(0), c.index(k), c.index(1), carried,
            [&](OpBuilder &inner, Location, Value j, ValueRange slot) {
              Code c{inner, loc};
              Value w = c.at(weights, j);
              if (sum) { // a zero sum leaves zeros
                Value none = arith::CmpFOp::create(
                    inner, loc, CmpFPredicate::OEQ, sum, c.f32(0));
                w = c.select(none, c.f32(0), c.div(w, sum));
              }
              w = c.mul(w, c.f32(route.getScale().convertToDouble()));
              Value id = arith::IndexCastOp::create(
                  inner, loc, inner.getI32Type(),
                  tensor::ExtractOp::create(inner, loc, ids, j));
              scf::YieldOp::create(inner, loc,
                                   ValueRange{c.put(id, slot[0], {t, j}),
                                              c.put(w, slot[1], {t, j})});
            });
        scf::YieldOp::create(inner, loc, slots.getResults());
      });
  route.replaceAllUsesWith(loop.getResults());
  route.erase();
  return success();
}

// --- expert_ffn
// -----------------------------------------------------------------

Value activate(Code c, moert::Activation kind, Value x, double alpha) {
  switch (kind) {
  case moert::Activation::Identity:
    return x;
  case moert::Activation::Relu:
    return arith::MaximumFOp::create(c.b, c.loc, x, c.f32(0));
  case moert::Activation::Relu2: {
    Value r = arith::MaximumFOp::create(c.b, c.loc, x, c.f32(0));
    return c.mul(r, r);
  }
  case moert::Activation::Silu:
    return c.mul(x, c.sigmoid(x, alpha));
  case moert::Activation::Gelu: {
    Value e =
        math::ErfOp::create(c.b, c.loc, c.mul(x, c.f32(0.7071067811865476)));
    return c.mul(c.mul(c.f32(0.5), x), c.add(c.f32(1), e));
  }
  case moert::Activation::GeluTanh: {
    Value cube = c.mul(c.mul(x, x), x);
    Value inner = c.mul(c.f32(0.7978845608028654),
                        c.add(x, c.mul(c.f32(0.044715), cube)));
    Value tanh = math::TanhOp::create(c.b, c.loc, inner);
    return c.mul(c.mul(c.f32(0.5), x), c.add(c.f32(1), tanh));
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
      return arith::MinimumFOp::create(c.b, c.loc, v, c.f32(limit));
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
      line =
          arith::MaximumFOp::create(c.b, c.loc, clampHigh(line), c.f32(-limit));
    }
    Value shifted = c.add(line, c.f32(ffn.getBeta().convertToDouble()));
    return c.mul(activate(c, ffn.getActivation(), gate, alpha), shifted);
  });
}

LogicalResult lower(moert::ExpertFfnOp ffn) {
  OpBuilder builder(ffn);
  Location loc = ffn.getLoc();
  Code c{builder, loc};
  Value up = ffn.getUp(), down = ffn.getDown(), x = ffn.getX();
  int64_t experts = sizeOf(up, 0), inner = sizeOf(down, 2);
  int64_t features = sizeOf(x, 1), outputs = sizeOf(ffn.getOuts(), 1);
  int64_t slots = sizeOf(ffn.getIds(), 1);
  Type element =
      cast<RankedTensorType>(ffn.getOuts().getType()).getElementType();
  Value tokens = tensor::DimOp::create(builder, loc, x, 0);
  Value result = c.fold(tokens, ffn.getOuts(), [&](Code c, Value t, Value y) {
    Value start = c.vector(outputs, [&](Code c, Value n) {
      return ffn.getResidual() ? c.at(ffn.getResidual(), {t, n}) : c.f32(0);
    });
    Value sum = c.fold(c.index(slots), start, [&](Code c, Value j, Value sum) {
      Value id =
          tensor::ExtractOp::create(c.b, c.loc, ffn.getIds(), ValueRange{t, j});
      Value e = arith::IndexCastOp::create(c.b, c.loc, c.b.getIndexType(), id);
      Value inside = c.both(c.is(CmpIPredicate::sge, e, c.index(0)),
                            c.is(CmpIPredicate::slt, e, c.index(experts)));
      auto branch = scf::IfOp::create(
          c.b, loc, inside,
          [&](OpBuilder &b, Location) {
            Code c{b, loc};
            Value w = c.at(ffn.getWeights(), {t, j});
            Value row = c.vector(features, [&](Code c, Value k) {
              Value v = c.at(x, {t, k});
              return ffn.getScaleInput() ? c.mul(v, w) : v;
            });
            Value hidden =
                hiddenOf(c, ffn, timesExpert(c, row, up, e), e, inner);
            Value product = timesExpert(c, hidden, down, e);
            Value next = c.vector(outputs, [&](Code c, Value n) {
              Value v = column(c, product, n);
              if (ffn.getDownBias())
                v = c.add(v, c.at(ffn.getDownBias(), {e, n}));
              if (!ffn.getScaleInput())
                v = c.mul(v, w);
              return c.add(c.at(sum, n), v);
            });
            scf::YieldOp::create(b, loc, next);
          },
          [&](OpBuilder &b, Location) { scf::YieldOp::create(b, loc, sum); });
      return branch.getResult(0);
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

struct ConvertMoERTToLinalgPass
    : moe::impl::ConvertMoERTToLinalgPassBase<ConvertMoERTToLinalgPass> {
  using ConvertMoERTToLinalgPassBase::ConvertMoERTToLinalgPassBase;

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (op->getDialect() && op->getDialect()->getNamespace() == "moert" &&
          op->getNumResults() > 0 &&
          isa<TensorType>(op->getResult(0).getType()) &&
          !(keepKernels && hasKernel(op, avx512 ? Isa::avx512() : Isa::avx2())))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      // The op's name is the phase that --trace shows.
      OpBuilder builder(op);
      moert::PhaseOp::create(
          builder, op->getLoc(),
          builder.getStringAttr(op->getName().stripDialect()));
      builder.setInsertionPointAfter(op);
      moert::PhaseOp::create(builder, op->getLoc(), StringAttr());
      LogicalResult result = failure();
      if (auto gemm = dyn_cast<moert::GemmOp>(op))
        result = lower(gemm);
      else if (auto route = dyn_cast<moert::RouteOp>(op))
        result = lower(route);
      else if (auto ffn = dyn_cast<moert::ExpertFfnOp>(op))
        result = lower(ffn);
      else
        result = lowerModelOp(op);
      if (failed(result))
        return signalPassFailure();
    }
  }
};
} // namespace
