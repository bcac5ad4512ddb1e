#include "codegen/CUDA/GroupedTile.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

int64_t GroupedTile::stageBytes(const ExpertMatrix &matrix) {
  if (matrix.bytes) // and a scale for each block of a row
    return kRows * (kRowBytes + kRowBytes / matrix.bytes->block * 4) +
           kColumns / 16 * matrix.coded->codeBytes(kRowBytes);
  if (!matrix.coded)
    return (kRows + kColumns) * kRowBytes;
  int64_t depth = kRowBytes / moe::cuda::sizeOf(matrix.element);
  return kRows * kRowBytes + kColumns / 16 * matrix.coded->codeBytes(depth);
}

int64_t GroupedTile::sharedBytes(const ExpertMatrix &matrix) {
  return kStages * stageBytes(matrix);
}

Num GroupedTile::place(Num stage, Num row, Num chunk) {
  return inStage(stage, row * kRowBytes + k.exclusiveOr(chunk, row % 8) * 16);
}

void GroupedTile::copyRow(Num from, Num row, Num step, Num stage, Num to) {
  Num chunk = thread % 8, zero = k.integer(0);
  int64_t each = 16 / moe::cuda::sizeOf(matrix.element);
  Num at = step * stepDepth() + chunk * each;
  Num valid = (at < k.integer(matrix.depth)) & (k.integer(-1) < row);
  Num number = k.select(valid, row * matrix.depth + at, zero);
  Num bytes = k.select(valid, k.integer(16), zero);
  moegpu::AsyncCopyOp::create(
      k.b, k.loc, place(stage, to, chunk).value,
      k.at(typeOf(k, matrix.element), from, number).value,
      k.convert(bytes, k.i32()).value, 16);
}

Nums GroupedTile::multiply(ArrayRef<Num> rows, Num left, Num expert,
                           Num column) {
  this->expert = expert, this->column = column;
  startColumns();
  // A group for each step, also where there is none to copy, so that counting
  // them stays simple.
  auto start = [&](Num step) {
    k.when(step < k.integer(steps()), [&] {
      Num stage = step % kStages;
      for (auto [i, row] : llvm::enumerate(rows))
        copyLeft(left, row, step, stage, copiedRow(i));
      copyColumns(step, stage);
    });
    moegpu::AsyncCommitOp::create(k.b, k.loc);
  };
  for (int64_t step = 0; step < kStages - 1; ++step)
    start(k.integer(step));
  Nums carried(kTall * kWide, k.zeros(k.vector(4, k.f32())));
  carried.append(readAhead(k.integer(0)));
  carried =
      k.loop(k.integer(0), k.integer(steps()), 1, carried,
             [&](Num step, ArrayRef<Num> before) -> Nums {
               moegpu::AsyncWaitOp::create(k.b, k.loc, kStages - 2);
               // All see the copies, and are done with the stage before.
               k.barrier();
               start(step + (kStages - 1));
               Nums next = readAhead(k.min(step + 1, k.integer(steps() - 1)));
               Nums sums =
                   add(step, step % kStages, before.drop_front(kTall * kWide),
                       before.take_front(kTall * kWide));
               sums.append(next);
               return sums;
             });
  // The next tile overwrites the stages.
  moegpu::AsyncWaitOp::create(k.b, k.loc, 0);
  k.barrier();
  carried.resize(kTall * kWide);
  return carried;
}

namespace {
/// Columns are rows of numbers, too.
class PlainTile : public GroupedTile {
protected:
  PlainTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : GroupedTile(k, matrix) {}

  void startColumns() override {
    columns.clear();
    for (int64_t i = 0; i < kColumns / (kLayerThreads / 8); ++i) {
      Num of = column + copiedRow(i);
      columns.push_back(k.select(of < k.integer(matrix.rows),
                                 expert * matrix.rows + of, k.integer(-1)));
    }
  }
  void copyColumns(Num step, Num stage) override {
    for (auto [i, column] : llvm::enumerate(columns))
      copyRow(matrix.values, column, step, stage, copiedRow(i) + kRows);
  }

  Nums columns;
};

/// By the tensor core: 32 bytes of each row a step, whatever the numbers are.
class TensorTile : public PlainTile {
public:
  TensorTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : PlainTile(k, matrix) {
    kind = matrix.element == Element::F32   ? moegpu::MmaKind::TF32
           : matrix.element == Element::F16 ? moegpu::MmaKind::F16
                                            : moegpu::MmaKind::BF16;
  }

private:
  Num load(Num stage, Num row, Num chunk) {
    Num four{k, moegpu::LoadMatrixOp::create(k.b, k.loc, k.vector(4, k.i32()),
                                             place(stage, row, chunk).value,
                                             /*transposed=*/false)};
    if (kind != moegpu::MmaKind::TF32)
      return four;
    Nums rounded;
    for (int64_t i = 0; i < 4; ++i)
      rounded.push_back(k.roundTF32(k.bitcast(k.extract(four, i), k.f32())));
    return k.pack(rounded);
  }

  Nums add(Num, Num stage, ArrayRef<Num>, ArrayRef<Num> before) override {
    Nums sums(before.begin(), before.end());
    for (int64_t step = 0; step < kRowBytes / 32; ++step) {
      // Fragments of rows: 8 x 8 matrices (8 x 4 of f32) down first, then along
      // the depth; of columns: along the depth first.
      Nums left, right;
      for (int64_t i = 0; i < kTall; ++i)
        left.push_back(
            load(stage, firstRow() + i * 16 + lane % 16, lane / 16 + step * 2));
      for (int64_t j = 0; j < kWide; j += 2) {
        Num two = load(stage,
                       firstColumn() + j * 8 + lane / 16 * 8 + lane % 8 + kRows,
                       lane / 8 % 2 + step * 2);
        for (int64_t part : {0, 2})
          right.push_back(
              k.pack({k.extract(two, part), k.extract(two, part + 1)}));
      }
      for (int64_t i = 0; i < kTall; ++i)
        for (int64_t j = 0; j < kWide; ++j)
          sums[i * kWide + j] =
              k.mma(left[i], right[j], sums[i * kWide + j], kind);
    }
    return sums;
  }

  moegpu::MmaKind kind;
};

/// f32 numbers, one product at a time, with the sums where the tensor core
/// would have them.
class SingleTile : public PlainTile {
public:
  SingleTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : PlainTile(k, matrix) {}

private:
  Nums load(Num stage, Num row, Num chunk) {
    Num four =
        k.load(k.vector(4, k.f32()), place(stage, row, chunk), k.integer(0));
    Nums numbers;
    for (int64_t i = 0; i < 4; ++i)
      numbers.push_back(k.extract(four, i));
    return numbers;
  }

  Nums add(Num, Num stage, ArrayRef<Num>, ArrayRef<Num> before) override {
    Nums single;
    for (Num four : before)
      for (int64_t i = 0; i < 4; ++i)
        single.push_back(k.extract(four, i));
    // Not unrolled: 8 times 128 products.
    single = k.loop(
        k.integer(0), k.integer(kRowBytes / 16), 1, single,
        [&](Num chunk, ArrayRef<Num> carried) {
          Nums sums(carried.begin(), carried.end());
          SmallVector<Nums> left;
          for (int64_t i = 0; i < 2 * kTall; ++i)
            left.push_back(load(stage, firstRow() + lane / 4 + i * 8, chunk));
          for (int64_t j = 0; j < kWide; ++j)
            for (int64_t n = 0; n < 2; ++n) {
              Nums right = load(
                  stage, firstColumn() + lane % 4 * 2 + (j * 8 + n) + kRows,
                  chunk);
              for (int64_t i = 0; i < 2 * kTall; ++i) {
                Num &sum = sums[((i / 2 * kWide + j) * 2 + i % 2) * 2 + n];
                for (int64_t d = 0; d < 4; ++d)
                  sum = k.fma(left[i][d], right[d], sum);
              }
            }
          return sums;
        });
    Nums sums;
    for (int64_t i = 0; i < kTall * kWide; ++i)
      sums.push_back(k.pack(ArrayRef<Num>(single).slice(i * 4, 4)));
    return sums;
  }
};
} // namespace

std::unique_ptr<GroupedTile> GroupedTile::create(CudaBuilder &k,
                                                 const ExpertMatrix &matrix) {
  if (matrix.bytes)
    return createByteGroupedTile(k, matrix);
  if (matrix.coded)
    return createCodedGroupedTile(k, matrix);
  if (matrix.element == Element::F32 && !matrix.tf32)
    return std::make_unique<SingleTile>(k, matrix);
  return std::make_unique<TensorTile>(k, matrix);
}
