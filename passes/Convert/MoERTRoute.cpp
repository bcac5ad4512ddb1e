// moert.route as loops.
#include "passes/Convert/MoERTLoops.h"

using namespace mlir;
using namespace moe;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {
/// Softmax of the first `count` of `size` values; the others do not matter.
Value softmax(Code c, int64_t size, Value count,
              function_ref<Value(Code, Value)> read) {
  Value top =
      c.fold(count, c.number(-INFINITY), [&](Code c, Value i, Value best) {
        return Value(arith::MaximumFOp::create(c.b, c.loc, best, read(c, i)));
      });
  Value sum = c.fold(count, c.number(0), [&](Code c, Value i, Value sum) {
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
                    c.number(route.getGroupMaskValue().convertToDouble()));
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
        Code body(inner, c);
        Value best = body.fold(
            body.index(experts), body.index(-1),
            [&](Code c, Value e, Value best) {
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
                             ValueRange{body.put(best, carried[0], j),
                                        body.put(yes, carried[1], best)});
      });
  return loop.getResult(0);
}
} // namespace

LogicalResult moe::lowerToLoops(moert::RouteOp route) {
  OpBuilder builder(route);
  Location loc = route.getLoc();
  Code c(builder, loc, route.getOuts()[1].getType());
  Value logits = route.getLogits();
  int64_t experts = sizeOf(logits, 1), k = sizeOf(route.getOuts()[0], 1);
  if (ShapedType::isDynamic(experts) || ShapedType::isDynamic(k))
    return route.emitOpError("needs a known number of experts and of slots");
  StringRef layer = route.getLayer().value_or("moe");
  Value tokens = tensor::DimOp::create(builder, loc, logits, 0);
  Value count = c.index(k);
  if (Value given = route.getCount()) {
    Value fits = c.both(c.is(CmpIPredicate::sge, given, c.index(1)),
                        c.is(CmpIPredicate::sle, given, count));
    moert::CheckOp::create(builder, loc, fits, moert::badRouteCount(k),
                           builder.getStringAttr(layer), given);
    count = given;
  }
  auto loop = scf::ForOp::create(
      builder, loc, c.index(0), tokens, c.index(1), route.getOuts(),
      [&, real = c.real](OpBuilder &inner, Location, Value t,
                         ValueRange carried) {
        Code c(inner, loc, real);
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
        moert::CheckOp::create(
            inner, loc, numbers,
            "a router logit of layer '%s' is not a number (token %lld)",
            inner.getStringAttr(layer), t);
        bool late = route.getSelectFirst();
        Value scores;
        if (late || route.getScore() == moert::Score::None)
          scores = c.vector(experts, logit);
        else if (route.getScore() == moert::Score::Softmax)
          scores = softmax(c, experts, c.index(experts), logit);
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
          weights = softmax(c, k, count, chosen);
        else
          weights = c.vector(k, [&](Code c, Value j) {
            Value s = chosen(c, j);
            return late && route.getScore() == moert::Score::Sigmoid
                       ? c.sigmoid(s)
                       : s;
          });
        Value sum;
        if (route.getNormalize())
          sum =
              c.fold(count, c.number(route.getNormEpsilon().convertToDouble()),
                     [&](Code c, Value j, Value sum) {
                       return c.add(sum, c.at(weights, j));
                     });
        auto divided = [&](Code c, Value w, Value by) {
          if (!by)
            return w;
          Value none = arith::CmpFOp::create(c.b, loc, CmpFPredicate::OEQ, by,
                                             c.number(0));
          return c.select(none, c.number(0), c.div(w, by)); // leaves zeros
        };
        Value kept; // of each slot, where some are skipped
        Value rest; // the sum of the others
        if (std::optional<APFloat> ratio = route.getSkipRatio()) {
          weights = c.vector(k, [&, before = weights](Code c, Value j) {
            return divided(c, c.at(before, j), sum);
          });
          sum = {};
          Value least = c.mul(c.at(weights, c.index(0)),
                              c.number(ratio->convertToDouble()));
          kept = c.vector(k, [&](Code c, Value j) {
            Value isLow = c.both(c.less(c.at(weights, j), least),
                                 c.is(CmpIPredicate::sgt, j, c.index(0)));
            return c.select(isLow, c.number(0), c.number(1));
          });
          Value all = c.fold(count, yes, [&](Code c, Value j, Value all) {
            return c.both(all, c.less(c.number(0), c.at(kept, j)));
          });
          weights = c.vector(k, [&, before = weights](Code c, Value j) {
            return c.select(c.less(c.number(0), c.at(kept, j)), c.at(before, j),
                            c.number(0));
          });
          if (route.getNormalize() ||
              (late && route.getScore() == moert::Score::Softmax)) {
            rest = c.fold(count, c.number(0), [&](Code c, Value j, Value sum) {
              return c.add(sum, c.at(weights, j));
            });
            rest = c.select(all, c.number(1), rest);
          }
        }
        auto slots = scf::ForOp::create(
            inner, loc, c.index(0), c.index(k), c.index(1), carried,
            [&](OpBuilder &inner, Location, Value j, ValueRange slot) {
              Code c(inner, loc, real);
              Value w = divided(c, divided(c, c.at(weights, j), sum), rest);
              w = c.mul(w, c.number(route.getScale().convertToDouble()));
              Value id = arith::IndexCastOp::create(
                  inner, loc, inner.getI32Type(),
                  tensor::ExtractOp::create(inner, loc, ids, j));
              if (kept) {
                Value none = arith::ConstantOp::create(
                    inner, loc, inner.getI32IntegerAttr(-1));
                id = c.select(c.less(c.number(0), c.at(kept, j)), id, none);
              }
              if (route.getCount()) {
                Value empty = c.is(CmpIPredicate::sge, j, count);
                Value none = arith::ConstantOp::create(
                    inner, loc, inner.getI32IntegerAttr(-1));
                id = c.select(empty, none, id);
                w = c.select(empty, c.number(0), w);
              }
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
