#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace moe;

// --- index arithmetic --------------------------------------------------------

Value NodeLowering::index(int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

static std::optional<int64_t> known(Value value) {
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant)))
    return constant.getSExtValue();
  return std::nullopt;
}

Value NodeLowering::dim(Value tensor, int64_t d) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (!type.isDynamicDim(d))
    return index(type.getDimSize(d));
  return tensor::DimOp::create(builder, loc, tensor, d);
}

SmallVector<Value> NodeLowering::dims(Value tensor) {
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < cast<RankedTensorType>(tensor.getType()).getRank();
       ++d)
    sizes.push_back(dim(tensor, d));
  return sizes;
}

Value NodeLowering::add(Value a, Value b) {
  if (known(a) && known(b))
    return index(*known(a) + *known(b));
  return arith::AddIOp::create(builder, loc, a, b);
}

Value NodeLowering::sub(Value a, Value b) {
  if (known(a) && known(b))
    return index(*known(a) - *known(b));
  return arith::SubIOp::create(builder, loc, a, b);
}

Value NodeLowering::mul(Value a, Value b) {
  if (known(a) && known(b))
    return index(*known(a) * *known(b));
  if (known(a) == 1)
    return b;
  if (known(b) == 1)
    return a;
  return arith::MulIOp::create(builder, loc, a, b);
}

Value NodeLowering::product(ValueRange values) {
  Value result = index(1);
  for (Value value : values)
    result = mul(result, value);
  return result;
}

Value NodeLowering::selectEqual(Value a, Value b, Value x, Value y) {
  if (a == b || (known(a) && known(a) == known(b)))
    return x;
  if (known(a) && known(b))
    return y;
  Value equal =
      arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, a, b);
  return arith::SelectOp::create(builder, loc, equal, x, y);
}

Value NodeLowering::min(Value a, Value b) {
  if (known(a) && known(b))
    return index(std::min(*known(a), *known(b)));
  return arith::MinSIOp::create(builder, loc, a, b);
}

Value NodeLowering::max(Value a, Value b) {
  if (known(a) && known(b))
    return index(std::max(*known(a), *known(b)));
  return arith::MaxSIOp::create(builder, loc, a, b);
}

Value NodeLowering::fromEnd(OpBuilder &b, Value value, Value size) {
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value negative =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, value, zero);
  Value moved = arith::AddIOp::create(b, loc, value, size);
  return arith::SelectOp::create(b, loc, negative, moved, value);
}

Value NodeLowering::intAt(Value tensor, int64_t i) {
  auto type = cast<RankedTensorType>(tensor.getType());
  DenseElementsAttr constant;
  if (matchPattern(tensor, m_Constant(&constant)) &&
      i < constant.getNumElements())
    return index((*(constant.getValues<APInt>().begin() + i)).getSExtValue());
  SmallVector<Value> at;
  if (type.getRank() == 1)
    at.push_back(index(i));
  Value element = tensor::ExtractOp::create(builder, loc, tensor, at);
  return arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                    element);
}

FailureOr<int64_t> NodeLowering::staticLength(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (type.getRank() == 0)
    return 1;
  if (type.getRank() != 1 || type.isDynamicDim(0))
    return node.emitError("needs a list of known length, not ") << type;
  return type.getDimSize(0);
}

std::optional<SmallVector<int64_t>> NodeLowering::constantInts(unsigned i) {
  DenseElementsAttr constant;
  if (!has(i) || !matchPattern(in[i], m_Constant(&constant)) ||
      !constant.getElementType().isInteger())
    return std::nullopt;
  SmallVector<int64_t> values;
  for (const APInt &value : constant.getValues<APInt>())
    values.push_back(value.getSExtValue());
  return values;
}

FailureOr<SmallVector<int64_t>> NodeLowering::axes(unsigned input) {
  if (node.attribute("axes"))
    return node.intsAttribute("axes");
  if (!has(input))
    return SmallVector<int64_t>();
  if (auto constant = constantInts(input))
    return *constant;
  return node.emitError("needs constant axes");
}

void NodeLowering::require(OpBuilder &b, Value condition, StringRef what) {
  std::string message = node.getOpType().str();
  if (auto name = dyn_cast<NameLoc>(loc); name && !name.getName().empty())
    message += " '" + name.getName().str() + "'";
  cf::AssertOp::create(b, loc, condition, message + ": " + what.str());
}

// --- scalars
// -------------------------------------------------------------------

Type NodeLowering::storageType(Type element) {
  if (auto integer = dyn_cast<IntegerType>(element))
    return IntegerType::get(element.getContext(), integer.getWidth());
  return element;
}

Type NodeLowering::computeType(Type element) {
  if (isa<FloatType>(element) && element.getIntOrFloatBitWidth() < 32)
    return Float32Type::get(element.getContext());
  return storageType(element);
}

Value NodeLowering::constant(OpBuilder &b, Type type, double value) {
  if (isa<FloatType>(type))
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value));
  return arith::ConstantOp::create(
      b, loc, b.getIntegerAttr(type, static_cast<int64_t>(value)));
}

Value NodeLowering::narrow(OpBuilder &b, Value value, Type element) {
  Type storage = storageType(element);
  if (value.getType() == storage)
    return value;
  if (isa<FloatType>(storage) && isa<FloatType>(value.getType())) {
    if (storage.getIntOrFloatBitWidth() <
        value.getType().getIntOrFloatBitWidth())
      return arith::TruncFOp::create(b, loc, storage, value);
    return arith::ExtFOp::create(b, loc, storage, value);
  }
  return value;
}

Value NodeLowering::castElement(OpBuilder &b, Value value, Type from, Type to) {
  Type source = value.getType(), target = computeType(to);
  bool toFloat = isa<FloatType>(target), fromFloat = isa<FloatType>(source);
  if (to.isInteger(1)) {
    Value zero = constant(b, source, 0);
    if (fromFloat) // NaN is true
      return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNE, value,
                                   zero);
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, value, zero);
  }
  if (fromFloat && toFloat)
    return narrow(b, value, target);
  if (fromFloat) {
    if (to.isUnsignedInteger())
      return arith::FPToUIOp::create(b, loc, target, value);
    return arith::FPToSIOp::create(b, loc, target, value);
  }
  if (toFloat) {
    if (isUnsigned(from))
      return arith::UIToFPOp::create(b, loc, target, value);
    return arith::SIToFPOp::create(b, loc, target, value);
  }
  unsigned have = source.getIntOrFloatBitWidth();
  unsigned want = target.getIntOrFloatBitWidth();
  if (have == want)
    return value;
  if (have > want)
    return arith::TruncIOp::create(b, loc, target, value);
  if (isUnsigned(from))
    return arith::ExtUIOp::create(b, loc, target, value);
  return arith::ExtSIOp::create(b, loc, target, value);
}

Value NodeLowering::fold(OpBuilder &b, Value size, Value init,
                         function_ref<Value(OpBuilder &, Value, Value)> step) {
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  auto loop = scf::ForOp::create(
      b, loc, zero, size, one, ValueRange{init},
      [&](OpBuilder &inner, Location, Value i, ValueRange carried) {
        scf::YieldOp::create(inner, loc, step(inner, i, carried[0]));
      });
  return loop.getResult(0);
}

// --- tensors
// -------------------------------------------------------------------

static SmallVector<int64_t> staticSizes(ValueRange sizes) {
  SmallVector<int64_t> shape;
  for (Value size : sizes)
    shape.push_back(known(size).value_or(ShapedType::kDynamic));
  return shape;
}

Value NodeLowering::empty(Type element, ValueRange sizes) {
  SmallVector<int64_t> shape = staticSizes(sizes);
  SmallVector<Value> dynamic;
  for (auto [size, value] : llvm::zip(shape, sizes))
    if (ShapedType::isDynamic(size))
      dynamic.push_back(value);
  return tensor::EmptyOp::create(builder, loc, shape, storageType(element),
                                 dynamic);
}

Value NodeLowering::read(OpBuilder &b, Value tensor, ValueRange indices) {
  Value element = tensor::ExtractOp::create(b, loc, tensor, indices);
  Type type = computeType(element.getType());
  if (type != element.getType())
    element = arith::ExtFOp::create(b, loc, type, element);
  return element;
}

Value NodeLowering::compute(Type element, ValueRange sizes, Body body) {
  Value init = empty(element, sizes);
  auto type = cast<RankedTensorType>(init.getType());
  SmallVector<utils::IteratorType> loops(type.getRank(),
                                         utils::IteratorType::parallel);
  SmallVector<AffineMap> maps{builder.getMultiDimIdentityMap(type.getRank())};
  auto generic = linalg::GenericOp::create(
      builder, loc, TypeRange{type}, ValueRange{}, ValueRange{init}, maps,
      loops, [&](OpBuilder &b, Location, ValueRange) {
        SmallVector<Value> at;
        for (int64_t d = 0; d < type.getRank(); ++d)
          at.push_back(linalg::IndexOp::create(b, loc, d));
        linalg::YieldOp::create(b, loc, narrow(b, body(b, at), element));
      });
  return generic.getResult(0);
}

SmallVector<Value> NodeLowering::broadcastSizes(ValueRange tensors) {
  int64_t rank = 0;
  for (Value tensor : tensors)
    rank = std::max(rank, cast<RankedTensorType>(tensor.getType()).getRank());
  SmallVector<Value> sizes(rank, index(1));
  for (Value tensor : tensors) {
    int64_t own = cast<RankedTensorType>(tensor.getType()).getRank();
    for (int64_t d = 0; d < own; ++d) {
      Value &now = sizes[rank - own + d];
      Value size = dim(tensor, d);
      if (known(now) == 1) {
        now = size;
        continue;
      }
      if (known(size) == 1 || now == size ||
          (known(size) && known(size) == known(now)))
        continue;
      if (known(size)) // a static size other than one decides
        std::swap(now, size);
      Value one = index(1);
      Value fits = arith::OrIOp::create(
          builder, loc,
          arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, size,
                                now),
          arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, size,
                                one));
      if (!known(now)) {
        fits = arith::OrIOp::create(
            builder, loc, fits,
            arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, now,
                                  one));
        require(builder, fits, "sizes cannot be broadcast");
        now = selectEqual(now, one, size, now);
      } else {
        require(builder, fits, "sizes cannot be broadcast");
      }
    }
  }
  return sizes;
}

Value NodeLowering::readBroadcast(OpBuilder &b, Value tensor,
                                  ValueRange indices) {
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<Value> at;
  for (int64_t d = 0; d < type.getRank(); ++d) {
    Value i = indices[indices.size() - type.getRank() + d];
    if (type.getDimSize(d) == 1) {
      i = arith::ConstantIndexOp::create(b, loc, 0);
    } else if (type.isDynamicDim(d)) {
      Value size = tensor::DimOp::create(b, loc, tensor, d);
      Value one = arith::ConstantIndexOp::create(b, loc, 1);
      Value zero = arith::ConstantIndexOp::create(b, loc, 0);
      Value single =
          arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, size, one);
      i = arith::SelectOp::create(b, loc, single, zero, i);
    }
    at.push_back(i);
  }
  return read(b, tensor, at);
}

Value NodeLowering::reshape(Value tensor, ValueRange sizes) {
  auto type = cast<RankedTensorType>(tensor.getType());
  // Through the flat order; a shape of known contents folds away later.
  Value shape = tensor::FromElementsOp::create(
      builder, loc,
      RankedTensorType::get({static_cast<int64_t>(sizes.size())},
                            builder.getIndexType()),
      sizes);
  auto target =
      RankedTensorType::get(staticSizes(sizes), type.getElementType());
  return tensor::ReshapeOp::create(builder, loc, target, tensor, shape);
}
