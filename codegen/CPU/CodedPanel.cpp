#include "codegen/CPU/CodedPanel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace moe;

int64_t CodedPanel::scaleBytes(const Isa &isa) const {
  return isa.width() * (scales.getIntOrFloatBitWidth() / 8);
}

std::string CodedPanel::name() const {
  static const char *names[] = {"int8", "int4", "fp4", "nf4", "f8e4m3"};
  return std::string(names[static_cast<int>(coding)]) + "x" +
         std::to_string(block) + "_" + typeName(scales) +
         (hasZeros ? "_zeros" : "");
}

// --- vectors of integers

static Num shiftLeft(Num v, int64_t by) {
  return {*v.k,
          arith::ShLIOp::create(v.k->b, v.k->loc, v.value, v.like(by).value)};
}
/// Keeps the sign.
static Num shiftRight(Num v, int64_t by) {
  return {*v.k,
          arith::ShRSIOp::create(v.k->b, v.k->loc, v.value, v.like(by).value)};
}
static Num bitcast(Num v, Type type) {
  return {*v.k, arith::BitcastOp::create(v.k->b, v.k->loc, type, v.value)};
}
static Num extendUnsigned(Num v, Type type) {
  return {*v.k, arith::ExtUIOp::create(v.k->b, v.k->loc, type, v.value)};
}

/// `table[index[i] & 15]` for each lane; the table holds 16 numbers.
static Num lookUp(KernelBuilder &k, ArrayRef<float> table, Num index) {
  auto constant = [&](ArrayRef<float> numbers) -> Num {
    auto type =
        VectorType::get({static_cast<int64_t>(numbers.size())}, k.f32());
    return {k, arith::ConstantOp::create(
                   k.b, k.loc, DenseElementsAttr::get(type, numbers))};
  };
  auto call = [&](StringRef name, Num first, Num second) -> Num {
    return {k, LLVM::CallIntrinsicOp::create(
                   k.b, k.loc, first.value.getType(), k.b.getStringAttr(name),
                   ValueRange{first.value, second.value})
                   .getResult(0)};
  };
  if (k.isa.lanes == 16 && !k.isa.splits) {
    Num numbers = constant(table);
    // Only the low four bits of an index count.
    Num result = call("llvm.x86.avx512.permvar.sf.512", numbers, index);
    return result;
  }
  // Eight lanes look up eight numbers, by the low three bits; the fourth says
  // in which half of the table.
  Num low = constant(table.take_front(8)), high = constant(table.drop_front(8));
  auto eight = [&](Num index) -> Num {
    Num sign = shiftLeft(index, 28);
    Num upper{k, arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::slt,
                                       sign.value, sign.like(0).value)};
    return k.select(upper, call("llvm.x86.avx2.permps", high, index),
                    call("llvm.x86.avx2.permps", low, index));
  };
  if (k.isa.lanes == 8)
    return eight(index);
  auto half = [&](int64_t at) -> Num {
    return {k, vector::ExtractStridedSliceOp::create(
                   k.b, k.loc, index.value, ArrayRef<int64_t>{at},
                   ArrayRef<int64_t>{8}, ArrayRef<int64_t>{1})};
  };
  Num left = eight(half(0)), right = eight(half(8));
  SmallVector<int64_t> order;
  for (int64_t i = 0; i < 16; ++i)
    order.push_back(i);
  return {
      k, vector::ShuffleOp::create(k.b, k.loc, left.value, right.value, order)};
}

/// f8E4M3FN as f16 of a 256th: its exponent is one of f16, but for the bias.
static Num decodeF8(KernelBuilder &k, Num bytes) {
  Type i16 = k.b.getI16Type();
  Num wide = shiftLeft(extendUnsigned(bytes, k.vector(i16)), 8);
  Num half = shiftRight(wide, 1) & wide.like(0xbfff - 0x10000);
  Num value = k.convert(bitcast(half, k.vector(k.b.getF16Type())), k.vector());
  Num magnitude = half & half.like(0x7fff);
  Num isNumber{k, arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::ne,
                                        magnitude.value,
                                        magnitude.like(0x3f80).value)};
  return k.select(isNumber, value, value.like(double(NAN)));
}

/// The number behind a scale: powers of two are exponents of f32.
static Num decodeScale(KernelBuilder &k, Type type, Num base, Num index) {
  if (type.getIntOrFloatBitWidth() != 8)
    return k.loadWide(type, true, base, index);
  Num bytes = k.load(k.vector(k.b.getI8Type()), base, index);
  Num exponent = extendUnsigned(bytes, k.vector(k.i32()));
  Num number = shiftLeft(exponent, 23);
  auto is = [&](int64_t value) -> Num {
    return {k,
            arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::eq,
                                  exponent.value, exponent.like(value).value)};
  };
  number = k.select(is(0), number.like(0x00400000), number);
  number = k.select(is(255), number.like(0x7fc00000), number);
  return bitcast(number, k.vector());
}

CodedPanel::Halves CodedPanel::decode(KernelBuilder &k, Num values,
                                      Num row) const {
  Type i8 = k.b.getI8Type(), i32 = k.i32();
  auto bytes = [&](int64_t column) {
    return k.load(k.vector(i8), values,
                  row * rowBytes(k.isa) + k.integer(column));
  };
  auto number = [&](Num integers) { return k.convert(integers, k.vector()); };
  switch (coding) {
  case Coding::Int8:
    return {number(k.convert(bytes(0), k.vector(i32))),
            number(k.convert(bytes(k.isa.lanes), k.vector(i32)))};
  case Coding::F8E4M3:
    return {decodeF8(k, bytes(0)), decodeF8(k, bytes(k.isa.lanes))};
  case Coding::Int4: {
    // One shift each: the low half with its sign at the top counts in units of
    // 2^28, which the scale takes back.
    Num both = k.convert(bytes(0), k.vector(i32));
    return {number(shiftLeft(both, 28)), number(shiftRight(both, 4))};
  }
  case Coding::Fp4:
  case Coding::Nf4: {
    Num both = extendUnsigned(bytes(0), k.vector(i32));
    return {lookUp(k, table, both), lookUp(k, table, shiftRight(both, 4))};
  }
  }
  llvm_unreachable("all codings are handled");
}

CodedPanel::Halves CodedPanel::scalesOf(KernelBuilder &k, const Place &panel,
                                        Num block) const {
  Num at = block * k.isa.width();
  Halves found{decodeScale(k, scales, panel.scales, at),
               decodeScale(k, scales, panel.scales, at + k.isa.lanes)};
  if (coding == Coding::Int4)
    found.left = found.left * (1.0 / (1 << 28));
  if (coding == Coding::F8E4M3)
    found = {found.left * 256.0, found.right * 256.0};
  return found;
}

CodedPanel::Halves CodedPanel::zerosOf(KernelBuilder &k, const Place &panel,
                                       Num block) const {
  return decode(k, panel.zeros, block);
}

void CodedPanel::widen(KernelBuilder &k, const Place &panel, Num first,
                       Num count, Num to, int64_t piece) const {
  int64_t step = std::min(block, piece);
  k.loop(k.integer(0), count, step, [&](Num start) {
    Num own = (first + start) / block, end = k.min(start + step, count);
    Halves scale = scalesOf(k, panel, own), zero;
    if (hasZeros)
      zero = zerosOf(k, panel, own);
    k.loop(start, end, 1, [&](Num row) {
      Halves q = decode(k, panel.values, first + row);
      if (hasZeros)
        q = {q.left - zero.left, q.right - zero.right};
      Num at = row * k.isa.width();
      k.store(q.left * scale.left, to, at);
      k.store(q.right * scale.right, to, at + k.isa.lanes);
    });
  });
}

/// Sums over a block in units of the code, then times its scales.
void CodedPanel::emit(KernelBuilder &k, int64_t rows, int64_t depth, Num tile,
                      const Place &panel, Num out) const {
  // A sum that waits for itself takes 4 cycles per product.
  int64_t chains = 4 / rows, sums = 2 * rows;
  Num blocks = k.integer((depth + block - 1) / block), whole = k.integer(depth);
  KernelBuilder::Nums none(sums, k.zeros(k.vector()));
  KernelBuilder::Nums totals = k.loop(
      k.integer(0), blocks, 1, none,
      [&](Num index, ArrayRef<Num> before) -> KernelBuilder::Nums {
        Num first = index * block;
        Num count = k.min(whole - first, k.integer(block));
        Halves zero;
        if (hasZeros)
          zero = zerosOf(k, panel, index);
        auto step = [&](Num row, ArrayRef<Num> carried, int64_t many) {
          KernelBuilder::Nums after(carried);
          for (int64_t c = 0; c < many; ++c) {
            Halves q = decode(k, panel.values, row + c);
            if (hasZeros)
              q = {q.left - zero.left, q.right - zero.right};
            for (int64_t r = 0; r < rows; ++r) {
              Num x = k.splat(k.load(k.f32(), tile, (row + c) * rows + r));
              Num &left = after[c * sums + 2 * r];
              Num &right = after[c * sums + 2 * r + 1];
              left = k.fma(x, q.left, left);
              right = k.fma(x, q.right, right);
            }
          }
          return after;
        };
        KernelBuilder::Nums own(chains * sums, k.zeros(k.vector()));
        Num pieces = count / chains * chains;
        own = k.loop(first, first + pieces, chains, own,
                     [&](Num row, ArrayRef<Num> carried) {
                       return step(row, carried, chains);
                     });
        own = k.loop(first + pieces, first + count, 1, own,
                     [&](Num row, ArrayRef<Num> carried) {
                       return step(row, carried, 1);
                     });
        Halves scale = scalesOf(k, panel, index);
        KernelBuilder::Nums after(before);
        for (int64_t s = 0; s < sums; ++s) {
          Num sum = own[s];
          for (int64_t c = 1; c < chains; ++c)
            sum = sum + own[c * sums + s];
          after[s] = k.fma(sum, s % 2 ? scale.right : scale.left, after[s]);
        }
        return after;
      });
  for (int64_t s = 0; s < sums; ++s)
    k.store(totals[s], out,
            k.integer(s / 2 * k.isa.width() + s % 2 * k.isa.lanes));
}

void CodedPanel::multiply(KernelBuilder &k, Num rows, int64_t depth, Num tile,
                          const Place &panel, Num out) const {
  std::string base = "moe_coded_" + name() + "_" + std::to_string(depth);
  SmallVector<Num> arguments{tile, panel.values, panel.scales, out};
  if (hasZeros)
    arguments.push_back(panel.zeros);
  SmallVector<Type> types(arguments.size(), k.pointer());
  k.dispatch(rows, kDirectRows, [&](int64_t count) {
    auto one = k.function(base + "_" + std::to_string(count), types,
                          [&](KernelBuilder &k, ArrayRef<Num> a) {
                            emit(k, count, depth, a[0],
                                 {a[1], a[2], hasZeros ? a[4] : Num()}, a[3]);
                          });
    k.neverInline(one);
    k.call(one, arguments);
  });
}
