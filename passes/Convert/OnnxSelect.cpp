// Operators that compare elements along an axis: the best one, the best k.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {
template <bool largest>
LogicalResult argReduce(NodeLowering &n) {
  Value x = n.in[0];
  int64_t rank = n.rank(0);
  int64_t axis = n.axis(n.node.intAttribute("axis", 0), rank);
  bool keep = n.node.intAttribute("keepdims", 1);
  bool lastWins = n.node.intAttribute("select_last_index", 0);
  Type element = n.elementOf(0);
  SmallVector<Value> sizes = n.dims(x);
  if (keep)
    sizes[axis] = n.index(1);
  else
    sizes.erase(sizes.begin() + axis);
  n.out[0] = n.compute(
      n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> from(at);
        if (!keep)
          from.insert(from.begin() + axis, Value());
        Value zero = arith::ConstantIndexOp::create(b, n.loc, 0);
        Value size = tensor::DimOp::create(b, n.loc, x, axis);
        Value best = n.fold(
            b, size, zero, [&](OpBuilder &b, Value i, Value best) -> Value {
              SmallVector<Value> here(from), there(from);
              here[axis] = i, there[axis] = best;
              Value p = n.read(b, x, here), q = n.read(b, x, there);
              Value better;
              if (isa<FloatType>(p.getType())) {
                auto predicate =
                    largest
                        ? (lastWins ? CmpFPredicate::OGE : CmpFPredicate::OGT)
                        : (lastWins ? CmpFPredicate::OLE : CmpFPredicate::OLT);
                better = arith::CmpFOp::create(b, n.loc, predicate, p, q);
              } else {
                bool u = NodeLowering::isUnsigned(element);
                auto predicate =
                    largest
                        ? (lastWins
                               ? (u ? CmpIPredicate::uge : CmpIPredicate::sge)
                               : (u ? CmpIPredicate::ugt : CmpIPredicate::sgt))
                        : (lastWins
                               ? (u ? CmpIPredicate::ule : CmpIPredicate::sle)
                               : (u ? CmpIPredicate::ult : CmpIPredicate::slt));
                better = arith::CmpIOp::create(b, n.loc, predicate, p, q);
              }
              return arith::SelectOp::create(b, n.loc, better, i, best);
            });
        return arith::IndexCastOp::create(b, n.loc, b.getI64Type(), best);
      });
  return success();
}

/// Selection by rank: element j goes to the place that counts how many come
/// before it. Ties keep their order, so the lower index wins. The result is
/// always sorted, which `sorted = 0` allows.
LogicalResult topK(NodeLowering &n) {
  OpBuilder &builder = n.builder;
  Value x = n.in[0];
  int64_t rank = n.rank(0);
  int64_t axis = n.axis(n.node.intAttribute("axis", -1), rank);
  bool largest = n.node.intAttribute("largest", 1);
  Value k =
      n.has(1) ? n.intAt(n.in[1], 0) : n.index(n.node.intAttribute("k", 1));
  Value size = n.dim(x, axis);
  Value fits =
      arith::CmpIOp::create(builder, n.loc, CmpIPredicate::sle, k, size);
  n.require(builder, fits, "k is larger than the dimension");
  k = n.max(n.min(k, size), n.index(0));
  Type element = n.elementOf(0);
  bool u = NodeLowering::isUnsigned(element);
  // places[..., j]: where element j of the row belongs.
  Value places = n.compute(
      builder.getIndexType(), n.dims(x), [&](OpBuilder &b, ValueRange at) {
        Value mine = n.read(b, x, at);
        Value zero = arith::ConstantIndexOp::create(b, n.loc, 0);
        Value length = tensor::DimOp::create(b, n.loc, x, axis);
        return n.fold(
            b, length, zero, [&](OpBuilder &b, Value i, Value before) -> Value {
              SmallVector<Value> there(at);
              there[axis] = i;
              Value other = n.read(b, x, there);
              Value ahead, equal;
              if (isa<FloatType>(mine.getType())) {
                ahead = arith::CmpFOp::create(
                    b, n.loc, largest ? CmpFPredicate::OGT : CmpFPredicate::OLT,
                    other, mine);
                // NaN has no order: it counts as equal, so places stay
                // distinct.
                Value behind = arith::CmpFOp::create(
                    b, n.loc, largest ? CmpFPredicate::OLT : CmpFPredicate::OGT,
                    other, mine);
                Value one = n.constant(b, b.getI1Type(), 1);
                equal = arith::XOrIOp::create(
                    b, n.loc, arith::OrIOp::create(b, n.loc, ahead, behind),
                    one);
              } else {
                auto predicate =
                    largest ? (u ? CmpIPredicate::ugt : CmpIPredicate::sgt)
                            : (u ? CmpIPredicate::ult : CmpIPredicate::slt);
                ahead = arith::CmpIOp::create(b, n.loc, predicate, other, mine);
                equal = arith::CmpIOp::create(b, n.loc, CmpIPredicate::eq,
                                              other, mine);
              }
              Value earlier = arith::CmpIOp::create(
                  b, n.loc, CmpIPredicate::ult, i, at[axis]);
              Value tie = arith::AndIOp::create(b, n.loc, equal, earlier);
              Value counts = arith::OrIOp::create(b, n.loc, ahead, tie);
              Value one = arith::ConstantIndexOp::create(b, n.loc, 1);
              Value more = arith::AddIOp::create(b, n.loc, before, one);
              return arith::SelectOp::create(b, n.loc, counts, more, before);
            });
      });
  SmallVector<Value> sizes = n.dims(x);
  sizes[axis] = k;
  n.out[1] = n.compute(
      n.resultElement(1), sizes, [&](OpBuilder &b, ValueRange at) -> Value {
        Value zero = arith::ConstantIndexOp::create(b, n.loc, 0);
        Value length = tensor::DimOp::create(b, n.loc, x, axis);
        Value found = n.fold(
            b, length, zero, [&](OpBuilder &b, Value i, Value found) -> Value {
              SmallVector<Value> there(at);
              there[axis] = i;
              Value where = tensor::ExtractOp::create(b, n.loc, places, there);
              Value is = arith::CmpIOp::create(b, n.loc, CmpIPredicate::eq,
                                               where, at[axis]);
              return arith::SelectOp::create(b, n.loc, is, i, found);
            });
        return arith::IndexCastOp::create(b, n.loc, b.getI64Type(), found);
      });
  Value chosen = n.out[1];
  n.out[0] =
      n.compute(n.resultElement(0), sizes, [&](OpBuilder &b, ValueRange at) {
        SmallVector<Value> from(at);
        from[axis] = arith::IndexCastOp::create(
            b, n.loc, b.getIndexType(),
            tensor::ExtractOp::create(b, n.loc, chosen, at));
        return n.read(b, x, from);
      });
  return success();
}
} // namespace

void moe::addSelectLowerings(LoweringTable &table) {
  table["ArgMax"] = argReduce<true>;
  table["ArgMin"] = argReduce<false>;
  table["TopK"] = topK;
}
