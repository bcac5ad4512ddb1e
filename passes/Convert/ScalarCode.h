#ifndef MOE_PASSES_CONVERT_SCALARCODE_H
#define MOE_PASSES_CONVERT_SCALARCODE_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace moe {
using mlir::Location;
using mlir::OpBuilder;
using mlir::Value;
using mlir::ValueRange;

/// f64 where `type` holds f64, else f32: what its numbers are computed in.
inline mlir::Type realTypeOf(mlir::Type type) {
  mlir::Type element = mlir::getElementTypeOrSelf(type);
  return element.isF64() ? element : mlir::Float32Type::get(type.getContext());
}

/// Scalar code at one place, in few words. Floats are computed in `real`.
struct Code {
  OpBuilder &b;
  Location loc;
  mlir::Type real;

  /// For numbers that end up in a tensor of type `result`.
  Code(OpBuilder &b, Location loc, mlir::Type result)
      : b(b), loc(loc), real(realTypeOf(result)) {}
  /// The same in the body of a loop.
  Code(OpBuilder &b, const Code &outer)
      : b(b), loc(outer.loc), real(outer.real) {}

  Value index(int64_t v) {
    return mlir::arith::ConstantIndexOp::create(b, loc, v);
  }
  Value number(double v) { return constant(v, real); }
  Value add(Value x, Value y) {
    return mlir::arith::AddFOp::create(b, loc, x, y);
  }
  Value sub(Value x, Value y) {
    return mlir::arith::SubFOp::create(b, loc, x, y);
  }
  Value mul(Value x, Value y) {
    return mlir::arith::MulFOp::create(b, loc, x, y);
  }
  Value div(Value x, Value y) {
    return mlir::arith::DivFOp::create(b, loc, x, y);
  }
  Value exp(Value x) { return mlir::math::ExpOp::create(b, loc, x); }
  Value less(Value x, Value y) {
    return mlir::arith::CmpFOp::create(b, loc, mlir::arith::CmpFPredicate::OLT,
                                       x, y);
  }
  Value is(mlir::arith::CmpIPredicate p, Value x, Value y) {
    return mlir::arith::CmpIOp::create(b, loc, p, x, y);
  }
  Value both(Value x, Value y) {
    return mlir::arith::AndIOp::create(b, loc, x, y);
  }
  Value either(Value x, Value y) {
    return mlir::arith::OrIOp::create(b, loc, x, y);
  }
  Value select(Value c, Value x, Value y) {
    return mlir::arith::SelectOp::create(b, loc, c, x, y);
  }
  /// An element; a float as `real`.
  Value at(Value tensor, ValueRange indices) {
    Value v = mlir::tensor::ExtractOp::create(b, loc, tensor, indices);
    return mlir::isa<mlir::FloatType>(v.getType()) ? as(v, real) : v;
  }
  Value put(Value value, Value tensor, ValueRange indices) {
    return mlir::tensor::InsertOp::create(b, loc, value, tensor, indices);
  }
  Value empty(llvm::ArrayRef<int64_t> shape) {
    return mlir::tensor::EmptyOp::create(b, loc, shape, real);
  }
  Value sigmoid(Value x, double alpha = 1) {
    Value e = exp(mlir::arith::NegFOp::create(
        b, loc, alpha == 1 ? x : mul(number(alpha), x)));
    return div(number(1), add(number(1), e));
  }
  /// A loop that carries one value.
  Value fold(Value size, Value init,
             llvm::function_ref<Value(Code, Value, Value)> step) {
    auto loop = mlir::scf::ForOp::create(
        b, loc, index(0), size, index(1), ValueRange{init},
        [&](OpBuilder &inner, Location, Value i, ValueRange carried) {
          mlir::scf::YieldOp::create(inner, loc,
                                     step(Code(inner, *this), i, carried[0]));
        });
    return loop.getResult(0);
  }
  /// A vector whose element i is `body(i)`.
  Value vector(int64_t size, llvm::function_ref<Value(Code, Value)> body) {
    Value init = empty({size});
    return mlir::linalg::GenericOp::create(
               b, loc, mlir::TypeRange{init.getType()}, ValueRange{},
               ValueRange{init},
               llvm::ArrayRef<mlir::AffineMap>{b.getMultiDimIdentityMap(1)},
               llvm::ArrayRef<mlir::utils::IteratorType>{
                   mlir::utils::IteratorType::parallel},
               [&](OpBuilder &inner, Location, ValueRange) {
                 Value i = mlir::linalg::IndexOp::create(inner, loc, 0);
                 mlir::linalg::YieldOp::create(inner, loc,
                                               body(Code(inner, *this), i));
               })
        .getResult(0);
  }
  Value constant(double v, mlir::Type type) {
    return mlir::arith::ConstantOp::create(b, loc, b.getFloatAttr(type, v));
  }
  Value plus(Value x, Value y) {
    return mlir::arith::AddIOp::create(b, loc, x, y);
  }
  Value minus(Value x, Value y) {
    return mlir::arith::SubIOp::create(b, loc, x, y);
  }
  Value over(Value x, Value y) {
    return mlir::arith::DivUIOp::create(b, loc, x, y);
  }
  Value rest(Value x, Value y) {
    return mlir::arith::RemUIOp::create(b, loc, x, y);
  }
  Value dim(Value tensor, int64_t d) {
    return mlir::tensor::DimOp::create(b, loc, tensor, d);
  }
  /// A number as a float of `type`.
  Value as(Value v, mlir::Type type) {
    if (v.getType() == type)
      return v;
    if (v.getType().isIndex())
      v = mlir::arith::IndexCastOp::create(b, loc, b.getI64Type(), v);
    if (mlir::isa<mlir::IntegerType>(v.getType()))
      return mlir::arith::SIToFPOp::create(b, loc, type, v);
    if (v.getType().getIntOrFloatBitWidth() < type.getIntOrFloatBitWidth())
      return mlir::arith::ExtFOp::create(b, loc, type, v);
    return mlir::arith::TruncFOp::create(b, loc, type, v);
  }
  /// One of two computations; the other does not run.
  Value branch(Value condition, llvm::function_ref<Value(Code)> yes,
               llvm::function_ref<Value(Code)> no) {
    auto arm = [&](llvm::function_ref<Value(Code)> body) {
      return [this, body](OpBuilder &inner, Location) {
        mlir::scf::YieldOp::create(inner, loc, body(Code(inner, *this)));
      };
    };
    return mlir::scf::IfOp::create(b, loc, condition, arm(yes), arm(no))
        .getResult(0);
  }
  /// `outs` with every element computed from its indices.
  Value fill(Value outs, llvm::function_ref<Value(Code, ValueRange)> body) {
    auto type = mlir::cast<mlir::RankedTensorType>(outs.getType());
    llvm::SmallVector<mlir::utils::IteratorType> loops(
        type.getRank(), mlir::utils::IteratorType::parallel);
    return mlir::linalg::GenericOp::create(
               b, loc, mlir::TypeRange{type}, ValueRange{}, ValueRange{outs},
               llvm::ArrayRef<mlir::AffineMap>{
                   b.getMultiDimIdentityMap(type.getRank())},
               loops,
               [&](OpBuilder &inner, Location, ValueRange) {
                 Code c(inner, *this);
                 llvm::SmallVector<Value> indices;
                 for (int64_t d = 0; d < type.getRank(); ++d)
                   indices.push_back(
                       mlir::linalg::IndexOp::create(inner, loc, d));
                 Value v = body(c, indices);
                 if (mlir::isa<mlir::FloatType>(type.getElementType()))
                   v = c.as(v, type.getElementType());
                 mlir::linalg::YieldOp::create(inner, loc, v);
               })
        .getResult(0);
  }
};
} // namespace moe

#endif // MOE_PASSES_CONVERT_SCALARCODE_H
