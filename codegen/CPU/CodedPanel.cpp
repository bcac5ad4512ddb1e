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

/// Bytes ahead of those that are multiplied to fetch.
static constexpr int64_t kAhead = 1024;

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
    Num both = extendUnsigned(bytes(0), k.vector(i32));
    return {number(both & both.like(15)), number(shiftRight(both, 4))};
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
  if (coding == Coding::F8E4M3)
    found = {found.left * 256.0, found.right * 256.0};
  return found;
}

CodedPanel::Halves CodedPanel::zerosOf(KernelBuilder &k, const Place &panel,
                                       Num block) const {
  if (hasZeros)
    return decode(k, panel.zeros, block);
  Num middle = k.zeros(k.vector()).like(8.0);
  return {middle, middle};
}

void CodedPanel::widen(KernelBuilder &k, const Place &panel, Num first,
                       Num count, Num to, int64_t piece) const {
  int64_t step = std::min(block, piece);
  k.loop(k.integer(0), count, step, [&](Num start) {
    Num own = (first + start) / block, end = k.min(start + step, count);
    Halves scale = scalesOf(k, panel, own), zero;
    bool counts = hasZeros || coding == Coding::Int4;
    if (counts)
      zero = zerosOf(k, panel, own);
    k.loop(start, end, 1, [&](Num row) {
      Halves q = decode(k, panel.values, first + row);
      if (counts)
        q = {q.left - zero.left, q.right - zero.right};
      Num at = row * k.isa.width();
      k.store(q.left * scale.left, to, at);
      k.store(q.right * scale.right, to, at + k.isa.lanes);
    });
  });
}

CodedPanel::Halves CodedPanel::decodeBytes(KernelBuilder &k, Num values,
                                           Num row, Num mask) const {
  Num bytes = k.load(k.vector(k.b.getI8Type()), values, row * rowBytes(k.isa));
  Num both = extendUnsigned(bytes, k.vector(k.i32()));
  return {k.convert(both & mask, k.vector()), k.convert(both, k.vector())};
}

void CodedPanel::decodePair(KernelBuilder &k, Num values, Num row,
                            Halves &first, Halves &second) const {
  // Looking bytes up is cheap, floats are not: twice a number of fp4 is a byte.
  Type i8 = k.b.getI8Type();
  auto sixteen = VectorType::get({16}, i8);
  SmallVector<int8_t> doubled;
  for (float number : table)
    doubled.push_back(static_cast<int8_t>(2 * number));
  Num numbers{
      k, arith::ConstantOp::create(
             k.b, k.loc, DenseElementsAttr::get(sixteen, ArrayRef(doubled)))};
  Num bytes = k.load(sixteen, values, row * rowBytes(k.isa));
  auto lookUpBytes = [&](Num index) -> Num {
    return {k, LLVM::CallIntrinsicOp::create(
                   k.b, k.loc, sixteen,
                   k.b.getStringAttr("llvm.x86.ssse3.pshuf.b.128"),
                   ValueRange{numbers.value, index.value})
                   .getResult(0)};
  };
  Num high{
      k, arith::ShRUIOp::create(k.b, k.loc, bytes.value, bytes.like(4).value)};
  Num left = lookUpBytes(bytes & bytes.like(15)), right = lookUpBytes(high);
  auto half = [&](Num v, int64_t at) {
    Num eight{k, vector::ExtractStridedSliceOp::create(
                     k.b, k.loc, v.value, ArrayRef<int64_t>{at},
                     ArrayRef<int64_t>{8}, ArrayRef<int64_t>{1})};
    return k.convert(k.convert(eight, k.vector(k.i32())), k.vector());
  };
  first = {half(left, 0), half(right, 0)};
  second = {half(left, 8), half(right, 8)};
}

KernelBuilder::Nums CodedPanel::sumsOf(KernelBuilder &k, int64_t rows, Num from,
                                       Num count) const {
  // Rows take turns in memory, and so they do in a vector: one or two rows.
  int64_t lanes = k.isa.lanes;
  Num numbers = count * rows, whole = numbers / lanes * lanes;
  Num sums = k.loop(k.integer(0), whole, lanes, {k.zeros(k.vector())},
                    [&](Num i, ArrayRef<Num> carried) -> KernelBuilder::Nums {
                      return {carried[0] + k.load(k.vector(), from, i)};
                    })[0];
  KernelBuilder::Nums result;
  for (int64_t r = 0; r < rows; ++r) {
    SmallVector<int64_t> own;
    for (int64_t i = r; i < lanes; i += rows)
      own.push_back(i);
    Value part =
        vector::ShuffleOp::create(k.b, k.loc, sums.value, sums.value, own);
    Num sum{k, vector::ReductionOp::create(k.b, k.loc,
                                           vector::CombiningKind::ADD, part)};
    sum = k.loop(whole / rows, count, 1, {sum},
                 [&](Num i, ArrayRef<Num> carried) -> KernelBuilder::Nums {
                   return {carried[0] + k.load(k.f32(), from, i * rows + r)};
                 })[0];
    result.push_back(k.splat(sum));
  }
  return result;
}

/// Sums over a block in units of the code, then times its scales.
void CodedPanel::emit(KernelBuilder &k, int64_t rows, int64_t depth, Num tile,
                      const Place &panel, Num out) const {
  // A sum that waits for itself takes 4 cycles per product.
  int64_t chains = 4 / rows, sums = 2 * rows;
  // Whole bytes are multiplied where two 4-bit integers lie in one: the sums
  // for the high halves are 16 times too large and have those for the low ones
  // in them. That and zero points are taken off the sums of a block.
  bool isBytes = coding == Coding::Int4;
  bool isPairs = coding == Coding::Fp4 && k.isa.lanes == 8;
  Num mask = k.zeros(k.vector(k.i32())).like(15);
  // LLVM would take the low halves before it widens the bytes, and widen twice.
  if (isBytes && !k.isa.splits)
    mask = {k, LLVM::InlineAsmOp::create(
                   k.b, k.loc, mask.value.getType(), mask.value, "", "=x,0",
                   /*has_side_effects=*/false, /*is_align_stack=*/false,
                   LLVM::tailcallkind::TailCallKind::None,
                   LLVM::AsmDialectAttr(), ArrayAttr())
                   .getResult(0)};
  Num blocks = k.integer((depth + block - 1) / block), whole = k.integer(depth);
  KernelBuilder::Nums none(sums, k.zeros(k.vector()));
  KernelBuilder::Nums totals = k.loop(
      k.integer(0), blocks, 1, none,
      [&](Num index, ArrayRef<Num> before) -> KernelBuilder::Nums {
        Num first = index * block;
        Num count = k.min(whole - first, k.integer(block));
        Halves zero;
        if (hasZeros || isBytes)
          zero = zerosOf(k, panel, index);
        auto step = [&](Num row, ArrayRef<Num> carried, int64_t many) {
          KernelBuilder::Nums after(carried);
          // Decoding leaves the memory's own prefetcher too little ahead.
          if (many > 1)
            k.prefetch(k.address(k.b.getI8Type(), panel.values,
                                 row * rowBytes(k.isa) + kAhead));
          SmallVector<Halves> values(many);
          for (int64_t c = 0; c < many; ++c) {
            Halves &q = values[c];
            if (isBytes)
              q = decodeBytes(k, panel.values, row + c, mask);
            else if (!isPairs || many % 2)
              q = decode(k, panel.values, row + c);
            else if (c % 2 == 0)
              decodePair(k, panel.values, row + c, q, values[c + 1]);
            if (hasZeros && !isBytes)
              q = {q.left - zero.left, q.right - zero.right};
            if (isPairs && many % 2)
              q = {q.left * 2.0, q.right * 2.0};
            for (int64_t r = 0; r < rows; ++r) {
              Num x = k.splat(k.load(k.f32(), tile, (row + c) * rows + r));
              int64_t chain = c % chains * sums;
              Num &left = after[chain + 2 * r];
              Num &right = after[chain + 2 * r + 1];
              left = k.fma(x, q.left, left);
              right = k.fma(x, q.right, right);
            }
          }
          return after;
        };
        KernelBuilder::Nums own(chains * sums, k.zeros(k.vector()));
        int64_t unroll = chains;
        Num pieces = count / unroll * unroll;
        own = k.loop(first, first + pieces, unroll, own,
                     [&](Num row, ArrayRef<Num> carried) {
                       return step(row, carried, unroll);
                     });
        own = k.loop(first + pieces, first + count, 1, own,
                     [&](Num row, ArrayRef<Num> carried) {
                       return step(row, carried, 1);
                     });
        KernelBuilder::Nums sum(own.begin(), own.begin() + sums);
        for (int64_t s = 0; s < sums; ++s)
          for (int64_t c = 1; c < chains; ++c)
            sum[s] = sum[s] + own[c * sums + s];
        Halves scale = scalesOf(k, panel, index);
        if (isPairs)
          scale = {scale.left * 0.5, scale.right * 0.5};
        if (isBytes) {
          Num tileOfBlock = k.address(k.f32(), tile, first * rows);
          KernelBuilder::Nums all = sumsOf(k, rows, tileOfBlock, count);
          for (int64_t r = 0; r < rows; ++r) {
            Num &left = sum[2 * r], &right = sum[2 * r + 1];
            right = (right - left) * (1.0 / 16) - all[r] * zero.right;
            left = left - all[r] * zero.left;
          }
        }
        KernelBuilder::Nums after(before);
        for (int64_t s = 0; s < sums; ++s)
          after[s] = k.fma(sum[s], s % 2 ? scale.right : scale.left, after[s]);
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
