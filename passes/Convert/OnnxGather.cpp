// Operators that read or write at computed places.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;
using arith::CmpIPredicate;

namespace {
/// An index that a tensor holds, made positive and safe: one outside the
/// dimension ends the run, and is clamped so that nothing reads outside
/// before it does.
Value place(OpBuilder &b, NodeLowering &n, Value element, Value size) {
  Value at = arith::IndexCastOp::create(b, n.loc, b.getIndexType(), element);
  at = n.fromEnd(b, at, size);
  Value zero = arith::ConstantIndexOp::create(b, n.loc, 0);
  Value one = arith::ConstantIndexOp::create(b, n.loc, 1);
  Value low = arith::CmpIOp::create(b, n.loc, CmpIPredicate::sge, at, zero);
  Value high = arith::CmpIOp::create(b, n.loc, CmpIPredicate::slt, at, size);
  n.require(b, arith::AndIOp::create(b, n.loc, low, high),
            "an index lies outside the tensor");
  Value last = arith::MaxSIOp::create(
      b, n.loc, arith::SubIOp::create(b, n.loc, size, one), zero);
  return arith::MinSIOp::create(
      b, n.loc, arith::MaxSIOp::create(b, n.loc, at, zero), last);
}

Value sizeAt(OpBuilder &b, NodeLowering &n, Value tensor, int64_t d) {
  return tensor::DimOp::create(b, n.loc, tensor, d);
}

LogicalResult gather(NodeLowering &n) {
  Value data = n.in[0], indices = n.in[1];
  int64_t rank = n.rank(0), depth = n.rank(1);
  int64_t axis = n.axis(n.node.intAttribute("axis", 0), rank);
  SmallVector<Value> dataSizes = n.dims(data), sizes;
  sizes.append(dataSizes.begin(), dataSizes.begin() + axis);
  sizes.append(n.dims(indices));
  sizes.append(dataSizes.begin() + axis + 1, dataSizes.end());
  n.out[0] =
      n.compute(n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) {
        Value element =
            tensor::ExtractOp::create(b, n.loc, indices, at.slice(axis, depth));
        SmallVector<Value> from(at.take_front(axis));
        from.push_back(place(b, n, element, sizeAt(b, n, data, axis)));
        llvm::append_range(from, at.drop_front(axis + depth));
        return n.read(b, data, from);
      });
  return success();
}

LogicalResult gatherElements(NodeLowering &n) {
  Value data = n.in[0], indices = n.in[1];
  int64_t axis = n.axis(n.node.intAttribute("axis", 0), n.rank(0));
  n.out[0] = n.compute(
      n.resultElement(), n.dims(indices), [&](OpBuilder &b, ValueRange at) {
        Value element = tensor::ExtractOp::create(b, n.loc, indices, at);
        SmallVector<Value> from(at);
        from[axis] = place(b, n, element, sizeAt(b, n, data, axis));
        return n.read(b, data, from);
      });
  return success();
}

LogicalResult gatherND(NodeLowering &n) {
  Value data = n.in[0], indices = n.in[1];
  int64_t batch = n.node.intAttribute("batch_dims", 0);
  int64_t last = n.rank(1) - 1;
  auto type = cast<RankedTensorType>(indices.getType());
  if (type.isDynamicDim(last))
    return n.node.emitError("needs indices whose last dimension is known");
  int64_t depth = type.getDimSize(last);
  SmallVector<Value> sizes = n.dims(indices), dataSizes = n.dims(data);
  sizes.pop_back();
  sizes.append(dataSizes.begin() + batch + depth, dataSizes.end());
  n.out[0] =
      n.compute(n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) {
        SmallVector<Value> from(at.take_front(batch));
        SmallVector<Value> tuple(at.take_front(last));
        tuple.push_back({});
        for (int64_t i = 0; i < depth; ++i) {
          tuple.back() = arith::ConstantIndexOp::create(b, n.loc, i);
          Value element = tensor::ExtractOp::create(b, n.loc, indices, tuple);
          from.push_back(place(b, n, element, sizeAt(b, n, data, batch + i)));
        }
        llvm::append_range(from, at.drop_front(last));
        return n.read(b, data, from);
      });
  return success();
}

/// Nested loops over `sizes` around `body`, which rewrites one tensor. In
/// order, so that duplicate indices behave.
Value loops(OpBuilder &b, NodeLowering &n, ValueRange sizes, Value tensor,
            SmallVector<Value> at,
            function_ref<Value(OpBuilder &, ValueRange, Value)> body) {
  if (at.size() == sizes.size())
    return body(b, at, tensor);
  return n.fold(b, sizes[at.size()], tensor,
                [&](OpBuilder &inner, Value i, Value carried) {
                  SmallVector<Value> deeper(at);
                  deeper.push_back(i);
                  return loops(inner, n, sizes, carried, deeper, body);
                });
}

/// A writable copy of a tensor.
Value copy(NodeLowering &n, Value tensor, Type element) {
  return n.compute(element, n.dims(tensor), [&](OpBuilder &b, ValueRange at) {
    return n.read(b, tensor, at);
  });
}

Value combine(OpBuilder &b, NodeLowering &n, StringRef reduction, Value old,
              Value update) {
  bool isFloat = isa<FloatType>(old.getType());
  if (reduction == "add")
    return isFloat ? arith::AddFOp::create(b, n.loc, old, update).getResult()
                   : arith::AddIOp::create(b, n.loc, old, update).getResult();
  if (reduction == "mul")
    return isFloat ? arith::MulFOp::create(b, n.loc, old, update).getResult()
                   : arith::MulIOp::create(b, n.loc, old, update).getResult();
  if (reduction == "max")
    return isFloat
               ? arith::MaximumFOp::create(b, n.loc, old, update).getResult()
               : arith::MaxSIOp::create(b, n.loc, old, update).getResult();
  if (reduction == "min")
    return isFloat
               ? arith::MinimumFOp::create(b, n.loc, old, update).getResult()
               : arith::MinSIOp::create(b, n.loc, old, update).getResult();
  return update;
}

Value store(OpBuilder &b, NodeLowering &n, Value tensor, ValueRange at,
            Value update, StringRef reduction, Type element) {
  Value value = update;
  if (reduction != "none")
    value = combine(b, n, reduction, n.read(b, tensor, at), update);
  return tensor::InsertOp::create(b, n.loc, n.narrow(b, value, element), tensor,
                                  at);
}

LogicalResult scatterElements(NodeLowering &n) {
  Value indices = n.in[1], updates = n.in[2];
  Type element = n.resultElement();
  int64_t axis = n.axis(n.node.intAttribute("axis", 0), n.rank(0));
  StringRef reduction = n.node.stringAttribute("reduction", "none");
  n.out[0] = loops(n.builder, n, n.dims(indices), copy(n, n.in[0], element), {},
                   [&](OpBuilder &b, ValueRange at, Value tensor) {
                     Value index =
                         tensor::ExtractOp::create(b, n.loc, indices, at);
                     SmallVector<Value> to(at);
                     to[axis] = place(b, n, index, sizeAt(b, n, tensor, axis));
                     return store(b, n, tensor, to, n.read(b, updates, at),
                                  reduction, element);
                   });
  return success();
}

LogicalResult scatterND(NodeLowering &n) {
  Value indices = n.in[1], updates = n.in[2];
  Type element = n.resultElement();
  StringRef reduction = n.node.stringAttribute("reduction", "none");
  auto type = cast<RankedTensorType>(indices.getType());
  int64_t last = type.getRank() - 1;
  if (type.isDynamicDim(last))
    return n.node.emitError("needs indices whose last dimension is known");
  int64_t depth = type.getDimSize(last);
  n.out[0] =
      loops(n.builder, n, n.dims(updates), copy(n, n.in[0], element), {},
            [&](OpBuilder &b, ValueRange at, Value tensor) {
              SmallVector<Value> to, tuple(at.take_front(last));
              tuple.push_back({});
              for (int64_t i = 0; i < depth; ++i) {
                tuple.back() = arith::ConstantIndexOp::create(b, n.loc, i);
                Value index =
                    tensor::ExtractOp::create(b, n.loc, indices, tuple);
                to.push_back(place(b, n, index, sizeAt(b, n, tensor, i)));
              }
              llvm::append_range(to, at.drop_front(last));
              return store(b, n, tensor, to, n.read(b, updates, at), reduction,
                           element);
            });
  return success();
}

LogicalResult oneHot(NodeLowering &n) {
  Value indices = n.in[0], values = n.in[2];
  int64_t rank = n.rank(0);
  int64_t axis = n.axis(n.node.intAttribute("axis", -1), rank + 1);
  Type indexElement = n.elementOf(0);
  // The depth may be of any number type.
  SmallVector<Value> none;
  if (n.rank(1) == 1)
    none.push_back(n.index(0));
  Value depth = n.castElement(n.builder, n.read(n.builder, n.in[1], none),
                              n.elementOf(1), n.builder.getI64Type());
  depth = arith::IndexCastOp::create(n.builder, n.loc, n.builder.getIndexType(),
                                     depth);
  SmallVector<Value> sizes = n.dims(indices);
  sizes.insert(sizes.begin() + axis, depth);
  n.out[0] = n.compute(
      n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> from(at);
        from.erase(from.begin() + axis);
        Value index = n.castElement(b, n.read(b, indices, from), indexElement,
                                    b.getI64Type());
        Value hot =
            arith::IndexCastOp::create(b, n.loc, b.getIndexType(), index);
        hot = n.fromEnd(b, hot, depth);
        Value is =
            arith::CmpIOp::create(b, n.loc, CmpIPredicate::eq, hot, at[axis]);
        Value zero = arith::ConstantIndexOp::create(b, n.loc, 0);
        Value one = arith::ConstantIndexOp::create(b, n.loc, 1);
        return arith::SelectOp::create(b, n.loc, is, n.read(b, values, one),
                                       n.read(b, values, zero));
      });
  return success();
}

Value isNonZero(OpBuilder &b, NodeLowering &n, Value tensor, ValueRange at) {
  Value x = n.read(b, tensor, at);
  return n.castElement(b, x, x.getType(), b.getI1Type());
}

/// Two passes in row-major order: count, then fill.
LogicalResult nonZero(NodeLowering &n) {
  OpBuilder &b = n.builder;
  Value x = n.in[0];
  int64_t rank = n.rank(0);
  SmallVector<Value> sizes = n.dims(x);
  Value zero = n.index(0), one = n.index(1);
  Value count =
      loops(b, n, sizes, zero, {},
            [&](OpBuilder &b, ValueRange at, Value found) -> Value {
              Value hit = isNonZero(b, n, x, at);
              Value more = arith::AddIOp::create(b, n.loc, found, one);
              return arith::SelectOp::create(b, n.loc, hit, more, found);
            });
  int64_t rows = std::max<int64_t>(1, rank);
  Value init = n.empty(b.getI64Type(), {n.index(rows), count});
  // The loop carries the tensor; the next free column lies in a cell of its
  // own.
  Value cell = tensor::FromElementsOp::create(
      b, n.loc, RankedTensorType::get({1}, b.getIndexType()), zero);
  std::function<std::pair<Value, Value>(OpBuilder &, SmallVector<Value>, Value,
                                        Value)>
      nest = [&](OpBuilder &b, SmallVector<Value> at, Value filled,
                 Value next) -> std::pair<Value, Value> {
    if (static_cast<int64_t>(at.size()) == rank) {
      Value hit = isNonZero(b, n, x, at);
      auto branch = scf::IfOp::create(
          b, n.loc, TypeRange{filled.getType(), next.getType()}, hit, true);
      OpBuilder then = branch.getThenBodyBuilder();
      Value column = tensor::ExtractOp::create(then, n.loc, next, zero);
      Value tensor = filled;
      for (int64_t d = 0; d < rows; ++d) {
        Value i = d < rank ? at[d] : zero;
        Value element =
            arith::IndexCastOp::create(then, n.loc, then.getI64Type(), i);
        Value row = arith::ConstantIndexOp::create(then, n.loc, d);
        tensor = tensor::InsertOp::create(then, n.loc, element, tensor,
                                          ValueRange{row, column});
      }
      Value after = arith::AddIOp::create(then, n.loc, column, one);
      Value moved = tensor::InsertOp::create(then, n.loc, after, next, zero);
      scf::YieldOp::create(then, n.loc, ValueRange{tensor, moved});
      OpBuilder otherwise = branch.getElseBodyBuilder();
      scf::YieldOp::create(otherwise, n.loc, ValueRange{filled, next});
      return {branch.getResult(0), branch.getResult(1)};
    }
    auto loop = scf::ForOp::create(
        b, n.loc, zero, sizes[at.size()], one, ValueRange{filled, next},
        [&](OpBuilder &inner, Location, Value i, ValueRange carried) {
          SmallVector<Value> deeper(at);
          deeper.push_back(i);
          auto [tensor, moved] = nest(inner, deeper, carried[0], carried[1]);
          scf::YieldOp::create(inner, n.loc, ValueRange{tensor, moved});
        });
    return {loop.getResult(0), loop.getResult(1)};
  };
  n.out[0] = nest(b, {}, init, cell).first;
  return success();
}
} // namespace

void moe::addGatherLowerings(LoweringTable &table) {
  table["Gather"] = gather;
  table["GatherElements"] = gatherElements;
  table["GatherND"] = gatherND;
  table["ScatterElements"] = scatterElements;
  table["ScatterND"] = scatterND;
  table["OneHot"] = oneHot;
  table["NonZero"] = nonZero;
}
