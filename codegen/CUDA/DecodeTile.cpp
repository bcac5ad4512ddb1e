#include "codegen/CUDA/DecodeTile.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

static constexpr int64_t kWarps = kLayerThreads / 32;

Num DecodeTile::readColumn(Num row, Num at, bool ragged, int64_t bytes) {
  Num inside;
  if (ragged) {
    inside = at < k.integer(matrix.depth);
    at = k.select(inside, at, k.integer(0));
  }
  Type element = typeOf(k, matrix.element);
  Type whole = k.vector(bytes / sizeOf(matrix.element), element);
  Num value = k.bitcast(k.load(whole, columns, row * matrix.depth + at),
                        k.vector(bytes / 4, k.i32()));
  return inside ? k.select(inside, value, k.zeros(value.value.getType()))
                : value;
}

Nums DecodeTile::multiply(Num tile, Num column, Num columns) {
  this->tile = tile, this->column = column, this->columns = columns;
  Nums sums = begin();
  // Every warp has every kWarps-th step, ahead() of them at a time.
  int64_t together = kWarps * ahead(), whole = steps() / together * together;
  auto several = [&](Num from, Num to, int64_t count) {
    sums = k.loop(from, to, kWarps * count, sums,
                  [&](Num step, ArrayRef<Num> carried) {
                    SmallVector<Nums> read;
                    for (int64_t i = 0; i < count; ++i)
                      read.push_back(this->read(step + i * kWarps));
                    Nums sums(carried.begin(), carried.end());
                    for (int64_t i = 0; i < count; ++i)
                      sums = add(step + i * kWarps, read[i], sums);
                    return sums;
                  });
  };
  if (whole)
    several(warp, k.integer(whole), ahead());
  if (whole < steps())
    several(warp + whole, k.integer(steps()), 1);
  Num sum = finish(sums);
  // In the order of the warps, whichever is ready first.
  Num partial = k.shared(0);
  k.store(sum, partial, (warp * 32 + lane) * 4);
  k.barrier();
  for (int64_t w = 0; w < kWarps; ++w) {
    Num other = k.load(k.vector(4, k.f32()), partial, (lane + w * 32) * 4);
    sum = w ? sum + other : other;
  }
  k.barrier();
  Nums four;
  for (int64_t i = 0; i < 4; ++i)
    four.push_back(k.extract(sum, i));
  return four;
}

namespace {
/// 16-bit numbers: 16 bytes of each row are the fragments of two steps of the
/// tensor core.
class HalfTile : public DecodeTile {
public:
  HalfTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : DecodeTile(k, matrix) {}

private:
  int64_t steps() const override { return (matrix.depth + 31) / 32; }

  Nums read(Num step) override {
    Num at = step * 32 + lane % 4 * 8;
    bool ragged = matrix.depth % 32 != 0;
    Num inside, from = at;
    if (ragged) {
      inside = at < k.integer(matrix.depth);
      from = k.select(inside, at, k.integer(0));
    }
    Type eight = k.vector(8, typeOf(k, matrix.element));
    auto row = [&](int64_t below) {
      Num row = tile * 16 + lane / 4 + below;
      Num value =
          k.bitcast(k.load(eight, matrix.values, row * matrix.depth + from,
                           moegpu::Caching::Streaming),
                    k.vector(4, k.i32()));
      return ragged ? k.select(inside, value, k.zeros(value.value.getType()))
                    : value;
    };
    Num upper = row(0), lower = row(8);
    return {upper, lower, readColumn(column, at, ragged)};
  }

  Nums add(Num, ArrayRef<Num> read, ArrayRef<Num> sums) override {
    auto kind = matrix.element == Element::F16 ? moegpu::MmaKind::F16
                                               : moegpu::MmaKind::BF16;
    Num sum = sums[0];
    for (int64_t i : {0, 2}) {
      auto part = [&](int64_t which, int64_t j) {
        return k.extract(read[which], i + j);
      };
      Num a = k.pack({part(0, 0), part(1, 0), part(0, 1), part(1, 1)});
      sum = k.mma(a, k.pack({part(2, 0), part(2, 1)}), sum, kind);
    }
    return {sum};
  }
};

/// f32 numbers, one product at a time: the tensor core would round them. A lane
/// has 4 of 16 numbers of the depth, and all columns.
class SingleTile : public DecodeTile {
public:
  SingleTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : DecodeTile(k, matrix) {}

private:
  static constexpr int64_t kColumns = 8;
  int64_t steps() const override { return (matrix.depth + 15) / 16; }
  // The assembler reads columns ahead, too: more would not fit.
  int64_t ahead() const override { return 2; }

  Nums begin() override {
    rows.clear();
    for (int64_t c = 0; c < kColumns; ++c) {
      Num of = k.convert(k.integer(c * 4), k.i32());
      rows.push_back(k.convert(
          k.shuffle(k.convert(column, k.i32()), of, moegpu::ShuffleKind::Idx),
          k.i64()));
    }
    return Nums(2 * kColumns, k.real(0));
  }

  bool isRagged() const { return matrix.depth % 16 != 0; }
  Num place(Num step) { return step * 16 + lane % 4 * 4; }

  // Columns are small, and near: only rows are read ahead.
  Nums read(Num step) override {
    Num at = place(step);
    // Columns are zero there.
    if (isRagged())
      at = k.select(at < k.integer(matrix.depth), at, k.integer(0));
    Nums two;
    for (int64_t below : {0, 8})
      two.push_back(k.load(k.vector(4, k.f32()), matrix.values,
                           (tile * 16 + lane / 4 + below) * matrix.depth + at,
                           moegpu::Caching::Streaming));
    return two;
  }

  Nums add(Num step, ArrayRef<Num> read, ArrayRef<Num> before) override {
    Nums sums(before.begin(), before.end());
    for (int64_t c = 0; c < kColumns; ++c) {
      Num four = k.bitcast(readColumn(rows[c], place(step), isRagged()),
                           k.vector(4, k.f32()));
      for (int64_t i = 0; i < 4; ++i)
        for (int64_t half = 0; half < 2; ++half) {
          Num &sum = sums[half * kColumns + c];
          sum = k.fma(k.extract(read[half], i), k.extract(four, i), sum);
        }
    }
    return sums;
  }

  // Lanes of a row share the depth: each sums two columns of all four.
  Num finish(ArrayRef<Num> sums) override {
    Nums mine(sums.begin(), sums.end());
    for (int64_t distance : {2, 1}) {
      Num isUpper = (lane % (2 * distance)) / distance == k.integer(1);
      int64_t width = distance * 2;
      Nums kept;
      for (int64_t half = 0; half < 2; ++half)
        for (int64_t c = 0; c < width; ++c) {
          Num low = mine[half * width * 2 + c];
          Num high = mine[half * width * 2 + width + c];
          Num other = k.shuffle(k.select(isUpper, low, high),
                                k.convert(k.integer(distance), k.i32()),
                                moegpu::ShuffleKind::Xor);
          kept.push_back(k.select(isUpper, high, low) + other);
        }
      mine = kept;
    }
    return k.pack(mine);
  }

  Nums rows;
};
} // namespace

std::unique_ptr<DecodeTile> DecodeTile::create(CudaBuilder &k,
                                               const ExpertMatrix &matrix) {
  if (matrix.bytes)
    return createByteTile(k, matrix);
  if (matrix.coded)
    return createCodedTile(k, matrix);
  if (matrix.element == Element::F32)
    return std::make_unique<SingleTile>(k, matrix);
  return std::make_unique<HalfTile>(k, matrix);
}
