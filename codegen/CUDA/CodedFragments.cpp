#include "codegen/CUDA/CodedFragments.h"

#include "dialects/CodeTables.h"
#include "llvm/ADT/APFloat.h"
#include <array>

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

CodedFragments::CodedFragments(CudaBuilder &k, const ExpertMatrix &matrix)
    : k(k), matrix(matrix), format(*matrix.coded),
      isF16(matrix.element == Element::F16),
      pieces(format.pieces(matrix.codedDepth)),
      blocks(format.blocks(matrix.codedDepth)) {
  kind = isF16 ? moegpu::MmaKind::F16 : moegpu::MmaKind::BF16;
}

int64_t CodedFragments::scaledDepth() const {
  return format.block % format.pieceDepth() == 0 ? format.pieceDepth() : 32;
}

Num CodedFragments::scalePlace(Num tile, Num depth, Num first) const {
  Num block = format.block ? depth / format.block : k.integer(0);
  return (tile * blocks + block) * 16 + first;
}

Num CodedFragments::readScales(Num tile, Num depth, Num first,
                               int64_t count) const {
  Type type = k.f32();
  switch (format.scale) {
  case rt::RowScale::F16:
    type = k.b.getF16Type();
    break;
  case rt::RowScale::BF16:
    type = k.bf16();
    break;
  case rt::RowScale::F32:
    break;
  case rt::RowScale::E8M0:
    type = k.b.getI8Type();
    break;
  }
  return k.load(k.vector(count, type), matrix.scales,
                scalePlace(tile, depth, first));
}

Nums CodedFragments::scales(Num read, int64_t count) const {
  Nums made;
  for (int64_t i = 0; i < count; ++i) {
    Num scale = k.extract(read, i);
    if (format.scale != rt::RowScale::E8M0) {
      made.push_back(k.convert(scale, k.f32()));
      continue;
    }
    // An exponent, but that 0 is 2^-127, and 255 no number.
    Num exponent = k.convert(scale, k.i32()) & k.word(255);
    Num isEnd = ((exponent + 1) & k.word(254)) == 0;
    Num bits =
        k.shift(exponent, 23) | k.select(isEnd, k.word(0x00400000), k.word(0));
    made.push_back(k.bitcast(bits, k.f32()));
  }
  return made;
}

Num CodedFragments::readZeros(Num tile, Num depth, Num group) const {
  if (!format.hasZeros)
    return {};
  return k.load(k.vector(2, k.b.getI8Type()), matrix.zeros,
                scalePlace(tile, depth, group * 2));
}

Num CodedFragments::scaled(Num pair, uint32_t factor) const {
  // Plus -0, so that the sign of a zero stays.
  return k.packedFma(pair, this->pair(factor), this->pair(0x8000), kind);
}

CodedFragments::Offsets CodedFragments::offsets(Num read) const {
  bool isInt8 = format.coding == rt::RowCoding::Int8;
  if (!isInt8 && format.coding != rt::RowCoding::Int4)
    return {};
  // With a code in the last bits of a large number, (large + code) - (large +
  // zero) is exact. 1024 has room for 8 bits in f16, 128 for 4 in bf16.
  uint32_t large = isF16 ? 0xE400 : 0xC300;
  if (!read) {
    if (isInt8 && !isF16)
      return {};
    Num middle = pair(large + (isInt8 ? 128 : 8));
    return {middle, middle};
  }
  auto of = [&](int64_t row) {
    Num zero = k.convert(k.extract(read, row), k.i32()) & k.word(255);
    Num both = zero | k.shift(zero, 16);
    if (!isInt8)
      return both | pair(large);
    if (isF16)
      return k.exclusiveOr(both, pair(128)) | pair(large);
    // The number itself, with the other sign.
    return k.exclusiveOr(integers(both, {}), pair(0x8000));
  };
  return {of(0), of(1)};
}

Num CodedFragments::integers(Num bits, Num offset) const {
  Num one = pair(isF16 ? 0x3C00 : 0x3F80);
  if (format.coding == rt::RowCoding::Int4)
    return k.packedFma((bits & pair(15)) | pair(isF16 ? 0x6400 : 0x4300), one,
                       offset, kind);
  if (isF16) {
    Num code = k.exclusiveOr(bits & pair(255), pair(128));
    return k.packedFma(code | pair(0x6400), one, offset, kind);
  }
  // bf16 has room for 7 bits at 128; the sign, which stands for -128, makes the
  // number that is taken off 256.
  Num value = k.packedFma((bits & pair(127)) | pair(0x4300), one,
                          (bits & pair(128)) | pair(0xC300), kind);
  return offset ? k.packedFma(value, one, offset, kind) : value;
}

Num CodedFragments::fp4(Num word, int64_t by) const {
  // Exponent and first bit of the fraction go where those of a longer number
  // end, the sign where its is: that is the number times a power of two, also
  // where it is denormal.
  Num sign = k.shift(word, by + 12) & pair(0x8000);
  Num rest = isF16 ? k.shift(word, by + 9) & pair(0x0E00)
                   : k.shift(word, by + 6) & pair(0x01C0);
  return scaled(sign | rest, isF16 ? 0x7400 /*2^14*/ : 0x7E80 /*2^126*/);
}

Num CodedFragments::fp8(Num word, int64_t by) const {
  // As for fp4: no GPU needs to know E4M3, and one that does would have to make
  // bf16 of the f16 that its conversion gives. Codes that are no number have
  // been packed away.
  Num sign = k.shift(word, by + 8) & pair(0x8000);
  Num rest = isF16 ? k.shift(word, by + 7) & pair(0x3F80)
                   : k.shift(word, by + 4) & pair(0x07F0);
  return scaled(sign | rest, isF16 ? 0x5C00 /*2^8*/ : 0x7B80 /*2^120*/);
}

/// Bytes of the 16 numbers of a table as 16-bit numbers: the low ones in 4
/// words, then the high ones.
static std::array<uint32_t, 8> bytesOf(const float (&table)[16], bool isF16) {
  std::array<uint32_t, 8> words{};
  for (unsigned i = 0; i < 16; ++i) {
    llvm::APFloat number(table[i]);
    bool isInexact;
    number.convert(isF16 ? llvm::APFloat::IEEEhalf() : llvm::APFloat::BFloat(),
                   llvm::APFloat::rmNearestTiesToEven, &isInexact);
    auto bits = static_cast<uint32_t>(number.bitcastToAPInt().getZExtValue());
    words[i / 4] |= (bits & 255) << i % 4 * 8;
    words[4 + i / 4] |= (bits >> 8) << i % 4 * 8;
  }
  return words;
}

Nums CodedFragments::nf4(Num word) const {
  std::array<uint32_t, 8> table = bytesOf(kNf4Table, isF16);
  // Low and high bytes of the numbers of four codes, in pairs.
  auto look = [&](int64_t half) -> Nums {
    Num codes = k.shift(word, -16 * half);
    Num within = codes & k.word(0x7777);
    // Which of two bytes: the one of the first or of the second eight numbers.
    Num which = (k.shift(codes, -1) & k.word(0x4444)) | k.word(0x3210);
    Nums bytes;
    for (unsigned first : {0, 4}) {
      Num few = k.permuteBytes(k.word(table[first]), k.word(table[first + 1]),
                               within);
      Num many = k.permuteBytes(k.word(table[first + 2]),
                                k.word(table[first + 3]), within);
      bytes.push_back(k.permuteBytes(few, many, which));
    }
    return {k.permuteBytes(bytes[0], bytes[1], k.word(0x5140)),
            k.permuteBytes(bytes[0], bytes[1], k.word(0x7362))};
  };
  Nums first = look(0), second = look(1), made;
  for (unsigned i = 0; i < 4; ++i)
    made.push_back(k.permuteBytes(first[i / 2], second[i / 2],
                                  k.word(i % 2 ? 0x7632 : 0x5410)));
  return made;
}

Nums CodedFragments::fragment(Num piece, int64_t step,
                              const Offsets &offsets) const {
  auto offset = [&](int64_t r) {
    return r % 2 ? offsets.lower : offsets.upper;
  };
  Nums made;
  if (format.coding == rt::RowCoding::F8ByF8) {
    // Two of the four numbers of a word, where `fp8` looks for them.
    for (int64_t r = 0; r < 4; ++r)
      made.push_back(
          fp8(k.permuteBytes(k.extract(piece, r % 2 + 2 * step), k.word(0),
                             k.word(r / 2 ? 0x4342 : 0x4140)),
              0));
    return made;
  }
  if (format.isByte()) {
    for (int64_t r = 0; r < 4; ++r) {
      Num word = k.extract(piece, 2 * step + r / 2);
      made.push_back(format.coding == rt::RowCoding::F8E4M3
                         ? fp8(word, -8 * (r % 2))
                         : integers(k.shift(word, -8 * (r % 2)), offset(r)));
    }
    return made;
  }
  Num word = k.extract(piece, step);
  if (format.coding == rt::RowCoding::Nf4)
    return nf4(word);
  for (int64_t r = 0; r < 4; ++r)
    made.push_back(format.coding == rt::RowCoding::Fp4
                       ? fp4(word, -4 * r)
                       : integers(k.shift(word, -4 * r), offset(r)));
  return made;
}
