// Quantised panels of experts in plain loops.
#include "passes/Convert/MoERTLoops.h"

using namespace mlir;
using namespace moe;

/// A table of what all codes of `bits` bits mean in `semantics`.
static SmallVector<double> numbersOf(const llvm::fltSemantics &semantics,
                                     unsigned bits) {
  SmallVector<double> numbers;
  for (unsigned code = 0; code < 1u << bits; ++code) {
    APFloat number(semantics, APInt(bits, code));
    bool lost;
    number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
    numbers.push_back(number.convertToDouble());
  }
  return numbers;
}

/// `table[index]`, as a float of the computation.
static Value lookUp(Code c, ArrayRef<double> table, Value index) {
  SmallVector<Attribute> values;
  for (double v : table)
    values.push_back(c.b.getFloatAttr(c.real, v));
  auto type =
      RankedTensorType::get({static_cast<int64_t>(table.size())}, c.real);
  Value numbers = arith::ConstantOp::create(
      c.b, c.loc, DenseElementsAttr::get(type, values));
  return tensor::ExtractOp::create(c.b, c.loc, numbers, index);
}

static Value asIndex(Code c, Value bits) {
  return arith::IndexCastUIOp::create(c.b, c.loc, c.b.getIndexType(), bits);
}

/// The code of column `n` (of `width`) in a row of bytes, as a number.
static Value decode(Code c, moert::Coding coding, Value bytes, Value e, Value p,
                    Value k, Value n, int64_t width) {
  auto byteAt = [&](Value at) -> Value {
    return tensor::ExtractOp::create(c.b, c.loc, bytes,
                                     ValueRange{e, p, k, at});
  };
  auto four = [&]() -> Value {
    return arith::ConstantOp::create(c.b, c.loc, c.b.getI8IntegerAttr(4));
  };
  if (moert::ExpertFfnOp::getBits(coding) == 8) {
    Value byte = byteAt(n);
    return coding == moert::Coding::Int8
               ? c.as(byte, c.real)
               : lookUp(c, numbersOf(APFloat::Float8E4M3FN(), 8),
                        asIndex(c, byte));
  }
  // The low half of bytes are the first columns.
  Value half = c.index(width / 2);
  Value byte = byteAt(c.rest(n, half));
  Value isLow = c.is(arith::CmpIPredicate::ult, n, half);
  auto shifted = [&](Value by) -> Value {
    return arith::ShRUIOp::create(c.b, c.loc, by, four());
  };
  Value low = arith::ShLIOp::create(c.b, c.loc, byte, four());
  Value code = shifted(c.select(isLow, low, byte));
  if (coding == moert::Coding::Int4)
    return c.as(code, c.real);
  ArrayRef<float> numbers = moert::codeTable(coding);
  return lookUp(c, SmallVector<double>(numbers.begin(), numbers.end()),
                asIndex(c, code));
}

Value moe::timesCoded(Code c, Value row, const moert::ExpertFfnOp::Matrix &w,
                      Value e) {
  auto type = cast<RankedTensorType>(w.values.getType());
  int64_t panels = type.getDimSize(1), depth = type.getDimSize(2);
  int64_t width = sizeOf(w.scales, 3);
  int64_t block = *w.block ? *w.block : depth;
  return c.fill(c.empty({panels, width}), [&](Code c, ValueRange i) {
    return c.fold(c.index(depth), c.number(0), [&](Code c, Value k, Value sum) {
      Value own = c.over(k, c.index(block));
      Value q = decode(c, *w.coding, w.values, e, i[0], k, i[1], width);
      if (w.zeros)
        q = c.sub(q, decode(c, *w.coding, w.zeros, e, i[0], own, i[1], width));
      else if (*w.coding == moert::Coding::Int4)
        q = c.sub(q, c.number(8));
      Value scale = tensor::ExtractOp::create(c.b, c.loc, w.scales,
                                              ValueRange{e, i[0], own, i[1]});
      if (isa<Float8E8M0FNUType>(scale.getType()))
        scale = lookUp(c, numbersOf(APFloat::Float8E8M0FNU(), 8),
                       asIndex(c, arith::BitcastOp::create(
                                      c.b, c.loc, c.b.getI8Type(), scale)));
      Value value = c.mul(q, c.as(scale, c.real));
      return c.add(sum, c.mul(value, c.at(row, k)));
    });
  });
}
