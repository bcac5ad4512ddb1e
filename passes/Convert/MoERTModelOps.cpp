#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "passes/Convert/MoERTLoops.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {
RankedTensorType typeOf(Value v) { return cast<RankedTensorType>(v.getType()); }

/// An empty tensor of `type` with the sizes of these dimensions.
Value emptyLike(Code c, Type type,
                ArrayRef<std::pair<Value, int64_t>> dimensions) {
  SmallVector<int64_t> shape;
  SmallVector<Value> dynamic;
  for (auto [value, d] : dimensions) {
    shape.push_back(typeOf(value).getDimSize(d));
    if (ShapedType::isDynamic(shape.back()))
      dynamic.push_back(c.dim(value, d));
  }
  return tensor::EmptyOp::create(c.b, c.loc, shape, type, dynamic);
}

/// Indices with `last` appended.
SmallVector<Value> with(ValueRange indices, Value last) {
  SmallVector<Value> all(indices);
  all.push_back(last);
  return all;
}

/// Sum over the last dimension of `x`, one for each row.
Value rowSums(Code c, Value x, Type type,
              function_ref<Value(Code, ValueRange, Value)> term) {
  int64_t last = typeOf(x).getRank() - 1;
  SmallVector<std::pair<Value, int64_t>> dimensions;
  for (int64_t d = 0; d < last; ++d)
    dimensions.push_back({x, d});
  return c.fill(emptyLike(c, type, dimensions), [&](Code c, ValueRange row) {
    return c.fold(c.dim(x, last), c.constant(0, type),
                  [&](Code c, Value k, Value sum) {
                    return c.add(sum, term(c, row, k));
                  });
  });
}

Value lower(Code c, moert::EmbedOp op) {
  Value ids = op.getIds(), table = op.getTable(), rows = c.dim(table, 0);
  return c.fill(op.getOuts(), [&](Code c, ValueRange i) {
    Value raw =
        tensor::ExtractOp::create(c.b, c.loc, ids, i.drop_back()).getResult();
    // Unsigned ids have no negative values to count from the end.
    Value id = arith::IndexCastOp::create(c.b, c.loc, c.b.getIndexType(), raw);
    Value back = c.is(CmpIPredicate::slt, id, c.index(0));
    id = c.select(back, c.plus(id, rows), id);
    Value inside = c.is(CmpIPredicate::ult, id, rows);
    cf::AssertOp::create(c.b, c.loc, inside,
                         "moert.embed: an id is outside the table");
    return c.at(table, {id, i.back()});
  });
}

/// Any rank, plain and packed, one element at a time.
Value lower(Code c, moert::GemmOp op) {
  Value x = op.getX(), w = op.getWeight();
  Type type = c.real;
  bool packed = typeOf(w).getRank() == 4;
  int64_t last = typeOf(x).getRank() - 1;
  return c.fill(op.getOuts(), [&](Code c, ValueRange i) {
    Value n = i.back();
    Value sum = c.fold(
        c.dim(x, last), c.constant(0, type), [&](Code c, Value k, Value sum) {
          Value weight;
          if (packed) {
            Value width = c.dim(w, 3);
            weight =
                c.at(w, {c.index(0), c.over(n, width), k, c.rest(n, width)});
          } else {
            weight =
                op.getTransposeWeight() ? c.at(w, {n, k}) : c.at(w, {k, n});
          }
          Value element = c.at(x, with(i.drop_back(), k));
          return c.add(sum, c.mul(c.as(element, type), c.as(weight, type)));
        });
    if (op.getBias())
      sum = c.add(sum, c.as(c.at(op.getBias(), n), type));
    if (op.getResidual())
      sum = c.add(sum, c.as(c.at(op.getResidual(), i), type));
    return sum;
  });
}

Value lower(Code c, moert::RmsNormOp op) {
  Value x = op.getX();
  int64_t last = typeOf(x).getRank() - 1;
  Type type = c.real;
  Value squares = rowSums(c, x, type, [&](Code c, ValueRange row, Value k) {
    Value v = c.as(c.at(x, with(row, k)), type);
    return c.mul(v, v);
  });
  return c.fill(op.getOuts(), [&](Code c, ValueRange i) {
    Value mean =
        c.div(c.at(squares, i.drop_back()), c.as(c.dim(x, last), type));
    Value root = math::SqrtOp::create(
        c.b, c.loc,
        c.add(mean, c.constant(op.getEpsilon().convertToDouble(), type)));
    Value v = c.div(c.as(c.at(x, i), type), root);
    return c.mul(v, c.as(c.at(op.getScale(), i.back()), type));
  });
}

Value lower(Code c, moert::LayerNormOp op) {
  Value x = op.getX();
  int64_t last = typeOf(x).getRank() - 1;
  Type type = c.real;
  Value sums = rowSums(c, x, type, [&](Code c, ValueRange row, Value k) {
    return c.as(c.at(x, with(row, k)), type);
  });
  // The distance from the mean, which loses no digits to large means.
  auto distance = [&](Code c, ValueRange i) {
    Value mean = c.div(c.at(sums, i.drop_back()), c.as(c.dim(x, last), type));
    return c.sub(c.as(c.at(x, i), type), mean);
  };
  Value squares = rowSums(c, x, type, [&](Code c, ValueRange row, Value k) {
    Value v = distance(c, with(row, k));
    return c.mul(v, v);
  });
  return c.fill(op.getOuts(), [&](Code c, ValueRange i) {
    Value variance =
        c.div(c.at(squares, i.drop_back()), c.as(c.dim(x, last), type));
    Value root = math::SqrtOp::create(
        c.b, c.loc,
        c.add(variance, c.constant(op.getEpsilon().convertToDouble(), type)));
    Value v = c.div(distance(c, i), root);
    v = c.mul(v, c.as(c.at(op.getScale(), i.back()), type));
    if (op.getBias())
      v = c.add(v, c.as(c.at(op.getBias(), i.back()), type));
    return v;
  });
}

SmallVector<Value> lower(Code c, moert::RopeTableOp op) {
  // The angle is rounded as graphs of f32 round it: models were trained so.
  Type rounded = c.b.getF32Type(), type = c.b.getF64Type();
  auto table = [&](Value outs, bool cosine) {
    return c.fill(outs, [&](Code c, ValueRange i) -> Value {
      Value p = tensor::ExtractOp::create(c.b, c.loc, op.getPositions(),
                                          i.drop_back());
      Value frequency = c.as(c.at(op.getFrequencies(), i.back()), rounded);
      Value angle = c.as(c.mul(c.as(p, rounded), frequency), type);
      if (cosine)
        return math::CosOp::create(c.b, c.loc, angle);
      return math::SinOp::create(c.b, c.loc, angle);
    });
  };
  return {table(op.getOuts()[0], true), table(op.getOuts()[1], false)};
}

Value lower(Code c, moert::RopeOp op) {
  Value x = op.getX(), cos = op.getCos(), sin = op.getSin();
  Type type = c.real;
  Value half = c.dim(cos, 2), rotated = c.plus(half, half);
  Value one = c.is(CmpIPredicate::eq, c.dim(cos, 0), c.index(1));
  return c.fill(op.getOuts(), [&](Code c, ValueRange i) {
    Value d = i[3], own = c.as(c.at(x, i), type);
    auto rotate = [&](Code c) {
      Value pair, second, partner;
      if (op.getInterleaved()) {
        Value two = c.index(2), odd = c.rest(d, two);
        pair = c.over(d, two);
        second = c.is(CmpIPredicate::eq, odd, c.index(1));
        partner =
            c.select(second, c.minus(d, c.index(1)), c.plus(d, c.index(1)));
      } else {
        second = c.is(CmpIPredicate::uge, d, half);
        pair = c.select(second, c.minus(d, half), d);
        partner = c.select(second, pair, c.plus(d, half));
      }
      Value b = c.select(one, c.index(0), i[0]);
      Value other = c.as(c.at(x, {i[0], i[1], i[2], partner}), type);
      Value along = c.mul(own, c.as(c.at(cos, {b, i[1], pair}), type));
      Value across = c.mul(other, c.as(c.at(sin, {b, i[1], pair}), type));
      return c.select(second, c.add(along, across), c.sub(along, across));
    };
    return c.branch(c.is(CmpIPredicate::ult, d, rotated), rotate,
                    [&](Code) { return own; });
  });
}

Value lower(Code c, moert::KvAppendOp op) {
  Value past = op.getPast(), fresh = op.getFresh();
  Type type = c.real;
  return c.fill(op.getOuts(), [&](Code c, ValueRange i) {
    auto read = [&](Code c, Value s) {
      return c.as(c.at(fresh, {i[0], s, i[1], i[3]}), type);
    };
    if (!past)
      return read(c, i[2]);
    Value length = c.dim(past, 2);
    return c.branch(
        c.is(CmpIPredicate::ult, i[2], length),
        [&](Code c) { return c.as(c.at(past, i), type); },
        [&](Code c) { return read(c, c.minus(i[2], length)); });
  });
}

/// Whether query `s` may see key `l`.
Value visible(Code c, moert::AttentionOp op, Value b, Value s, Value l) {
  Value yes = arith::ConstantOp::create(c.b, c.loc, c.b.getBoolAttr(true));
  // Positions in the keys: the queries are the last S of them.
  Value queries = c.dim(op.getQuery(), 1), keys = c.dim(op.getKey(), 2);
  Value place = c.minus(c.plus(s, keys), queries);
  if (op.getCausal())
    yes = c.is(CmpIPredicate::sle, l, place);
  if (op.getWindow() > 0)
    yes = c.both(yes, c.is(CmpIPredicate::sgt, l,
                           c.minus(place, c.index(op.getWindow()))));
  if (Value mask = op.getKeyMask()) {
    Value bit = tensor::ExtractOp::create(c.b, c.loc, mask, ValueRange{b, l});
    Value zero =
        arith::ConstantOp::create(c.b, c.loc, c.b.getZeroAttr(bit.getType()));
    Value on =
        isa<FloatType>(bit.getType())
            ? arith::CmpFOp::create(c.b, c.loc, CmpFPredicate::UNE, bit, zero)
                  .getResult()
            : c.is(CmpIPredicate::ne, bit, zero);
    yes = c.both(yes, on);
  }
  return yes;
}

Value lower(Code c, moert::AttentionOp op) {
  Value q = op.getQuery(), k = op.getKey(), v = op.getValue();
  Type type = c.real;
  Value keys = c.dim(k, 2);
  auto keyHead = [&](Code c, Value h) {
    return c.over(h, c.over(c.dim(q, 2), c.dim(k, 1)));
  };
  std::pair<Value, int64_t> batch{q, 0}, heads{q, 2}, rows{q, 1}, columns{k, 2};
  Value lowest = c.constant(-INFINITY, type);
  Value init = emptyLike(c, type, {batch, heads, rows, columns});
  Value scores = c.fill(init, [&](Code c, ValueRange i) {
    Value b = i[0], h = i[1], s = i[2], l = i[3];
    return c.branch(
        visible(c, op, b, s, l),
        [&](Code c) {
          Value sum = c.fold(
              c.dim(q, 3), c.constant(0, type),
              [&](Code c, Value d, Value sum) {
                Value y = c.as(c.at(k, {b, keyHead(c, h), l, d}), type);
                return c.add(sum, c.mul(c.as(c.at(q, {b, s, h, d}), type), y));
              });
          Value score =
              c.mul(sum, c.constant(op.getScale().convertToDouble(), type));
          double cap = op.getSoftcap().convertToDouble();
          if (cap > 0) {
            Value bend = math::TanhOp::create(
                c.b, c.loc, c.div(score, c.constant(cap, type)));
            score = c.mul(bend, c.constant(cap, type));
          }
          if (Value bias = op.getBias()) {
            auto place = [&](int64_t d, Value index) {
              Value one = c.is(CmpIPredicate::eq, c.dim(bias, d), c.index(1));
              return c.select(one, c.index(0), index);
            };
            Value extra = c.at(bias, {place(0, b), place(1, h), s, l});
            score = c.add(score, c.as(extra, type));
          }
          return score;
        },
        [&](Code) { return lowest; });
  });
  init = emptyLike(c, type, {batch, heads, rows});
  Value tops = c.fill(init, [&](Code c, ValueRange i) {
    return c.fold(keys, lowest, [&](Code c, Value l, Value top) -> Value {
      return arith::MaximumFOp::create(c.b, c.loc, top,
                                       c.at(scores, with(i, l)));
    });
  });
  // A row without a visible key has no maximum.
  auto blind = [&](Code c, ValueRange row) -> Value {
    return arith::CmpFOp::create(c.b, c.loc, CmpFPredicate::OEQ,
                                 c.at(tops, row), lowest);
  };
  auto weigh = [&](Code c, ValueRange i) {
    ValueRange row = i.drop_back();
    bool uniform = op.getMaskedRow() == moert::MaskedRow::Uniform;
    return c.branch(
        blind(c, row),
        [&](Code c) { return c.constant(uniform ? 1 : 0, type); },
        [&](Code c) { return c.exp(c.sub(c.at(scores, i), c.at(tops, row))); });
  };
  Value sums = c.fill(init, [&](Code c, ValueRange i) {
    return c.fold(keys, c.constant(0, type), [&](Code c, Value l, Value sum) {
      return c.add(sum, weigh(c, with(i, l)));
    });
  });
  init = emptyLike(c, type, {batch, heads, rows, columns});
  Value weights = c.fill(init, [&](Code c, ValueRange i) {
    Value w = weigh(c, i), zero = c.constant(0, type);
    Value none = arith::CmpFOp::create(c.b, c.loc, CmpFPredicate::OEQ, w, zero);
    return c.select(none, zero, c.div(w, c.at(sums, i.drop_back())));
  });
  return c.fill(op.getOuts(), [&](Code c, ValueRange i) {
    Value b = i[0], s = i[1], h = i[2], d = i[3], zero = c.constant(0, type);
    return c.fold(keys, zero, [&](Code c, Value l, Value sum) {
      Value w = c.at(weights, {b, h, s, l});
      Value y = c.as(c.at(v, {b, keyHead(c, h), l, d}), type);
      // What is hidden counts for nothing, even if it is not a number.
      Value none =
          arith::CmpFOp::create(c.b, c.loc, CmpFPredicate::OEQ, w, zero);
      return c.select(none, sum, c.add(sum, c.mul(w, y)));
    });
  });
}
} // namespace

LogicalResult moe::lowerModelOp(Operation *op) {
  OpBuilder builder(op);
  Code c(builder, op->getLoc(), op->getResult(0).getType());
  SmallVector<Value> results =
      llvm::TypeSwitch<Operation *, SmallVector<Value>>(op)
          .Case<moert::RopeTableOp>([&](auto op) { return lower(c, op); })
          .Case<moert::EmbedOp, moert::GemmOp, moert::RmsNormOp,
                moert::LayerNormOp, moert::RopeOp, moert::KvAppendOp,
                moert::AttentionOp>(
              [&](auto op) { return SmallVector<Value>{lower(c, op)}; })
          .Default([](Operation *) { return SmallVector<Value>(); });
  if (results.empty())
    return op->emitOpError("has no lowering to loops yet");
  op->replaceAllUsesWith(results);
  op->erase();
  return success();
}
