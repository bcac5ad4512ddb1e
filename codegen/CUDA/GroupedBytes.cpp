// Hidden values of many tokens in 8 bits: a block of the first product has all
// that share a scale, but four of its warps have parts of them.
#include "codegen/CUDA/GroupedBytes.h"
#include "codegen/CUDA/ByteScale.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

static constexpr int64_t kRows = GroupedTile::kRows;
static constexpr int64_t kTall = GroupedTile::kTall, kWide = GroupedTile::kWide;
/// Warps beside each other, whose largest numbers meet in shared memory.
static constexpr int64_t kWarps = GroupedTile::kColumns / (kWide * 8);
static constexpr int64_t kLargest = kRows * kWarps * 4;

int64_t moe::cuda::hiddenBytesShared(const LayerShape &shape) {
  auto rows = shape.hiddenBytes();
  return rows ? kLargest + kRows * rows->block : 0;
}

namespace {
struct Epilogue {
  CudaBuilder &k;
  const LayerShape &shape;
  const ExpertMatrix &up;
  const GroupedTile::Work &work;
  GroupedTile &tile;
  ByteRows rows;
  int64_t shared;

  /// The slot's row in the tile, of half `half` of the warp's tile `i`.
  Num rowOf(int64_t i, int64_t half) {
    return tile.firstRow() + tile.lane / 4 + (i * 16 + half * 8);
  }
  /// Hidden values of a lane: two neighbours, then those 8 further and so on.
  Nums values(ArrayRef<Num> sums, Num order, int64_t i, int64_t half);
  /// Where the largest number of a warp, of a slot, lies.
  Num largestAt(Num row) { return row * kWarps; }
  /// 16 bytes `chunk` of a slot's codes: rows that threads write or read
  /// together are in different banks.
  Num place(Num row, Num chunk) {
    Num moved = rows.block == 128 ? row % 8 : row / 2 % 4;
    return row * rows.block + k.exclusiveOr(chunk, moved) * 16;
  }
  ByteScale scaleOf(Num row) {
    Num four =
        k.load(k.vector(kWarps, k.f32()), k.shared(shared), largestAt(row));
    Num most = k.extract(four, 0);
    for (int64_t w = 1; w < kWarps; ++w)
      most = k.max(k.extract(four, w), most);
    return ByteScale(k, most);
  }
  void keepCodes(ArrayRef<Num> numbers, Num row);
  void store(Num hidden);
};
} // namespace

Nums Epilogue::values(ArrayRef<Num> sums, Num order, int64_t i, int64_t half) {
  // Slots that are not there have sums, too; nobody stores what comes of them.
  Num slot = k.min(work.firstSlot + rowOf(i, half), work.count - k.integer(1));
  Num weight = up.weightOf(k, order, work.begin + slot);
  Nums made;
  for (int64_t j = 0; j < kWide; j += shape.isGlu ? 2 : 1) {
    Num column =
        work.firstColumn + tile.firstColumn() + j * 8 + tile.lane % 4 * 2;
    Num isThere = column < k.integer(up.rows);
    Num known = k.select(isThere, column, k.integer(0));
    for (int64_t c = 0; c < 2; ++c) {
      auto sum = [&](int64_t j, int64_t further) {
        return up.biased(k, k.extract(sums[i * kWide + j], half * 2 + c),
                         work.expert, known + (further + c), weight);
      };
      Num value = shape.isGlu ? activateGlu(k, shape, sum(j, 0), sum(j + 1, 8))
                              : activate(k, shape, sum(j, 0));
      made.push_back(k.select(isThere, value, k.real(0)));
    }
  }
  return made;
}

void Epilogue::keepCodes(ArrayRef<Num> numbers, Num row) {
  Nums words = scaleOf(row).codes(numbers);
  Num first = tile.firstColumn() / (shape.isGlu ? 2 : 1);
  Num at = k.shared(shared + kLargest);
  for (size_t pair = 0; pair < numbers.size() / 2; ++pair) {
    Num two = k.extract(
        k.bitcast(k.pack({words[pair / 2]}), k.vector(2, k.b.getI16Type())),
        static_cast<int64_t>(pair % 2));
    Num neuron = first + static_cast<int64_t>(pair) * 8 + tile.lane % 4 * 2;
    k.store(two, at, (place(row, neuron / 16) + neuron % 16) / 2);
  }
}

void Epilogue::store(Num hidden) {
  int64_t chunks = rows.block / 16;
  Num block = work.firstColumn / GroupedTile::kColumns;
  for (int64_t i = 0; i < kRows * chunks / kLayerThreads; ++i) {
    Num item = tile.thread + k.integer(i * kLayerThreads);
    Num row = item / chunks, chunk = item % chunks;
    k.when(work.firstSlot + row < work.count, [&] {
      Num begin = (work.begin + work.firstSlot + row) * (rows.bytes() / 4);
      Num codes = k.load(k.vector(4, k.i32()), k.shared(shared + kLargest),
                         place(row, chunk) / 4);
      k.store(codes, hidden, begin + block * (rows.block / 4) + chunk * 4);
      k.when(chunk == k.integer(0), [&] {
        k.store(scaleOf(row).scale, hidden, begin + rows.codes() / 4 + block);
      });
    });
  }
}

void moe::cuda::putBytes(CudaBuilder &k, const LayerShape &shape,
                         const ExpertMatrix &up, const GroupedTile::Work &work,
                         GroupedTile &tile, ArrayRef<Num> sums, int64_t shared,
                         Num order, Num hidden) {
  Epilogue epilogue = {k, shape, up, work, tile, *shape.hiddenBytes(), shared};
  SmallVector<Nums> all;
  for (int64_t i = 0; i < kTall; ++i)
    for (int64_t half = 0; half < 2; ++half) {
      Nums &numbers = all.emplace_back(epilogue.values(sums, order, i, half));
      Num most = ByteScale::largest(k, numbers, 4);
      k.when(tile.lane % 4 == k.integer(0), [&] {
        k.store(most, k.shared(shared),
                epilogue.largestAt(epilogue.rowOf(i, half)) +
                    tile.warp % kWarps);
      });
    }
  // Barriers of the next tile's product lie before what it writes here.
  k.barrier();
  for (int64_t i = 0; i < kTall; ++i)
    for (int64_t half = 0; half < 2; ++half)
      epilogue.keepCodes(all[i * 2 + half], epilogue.rowOf(i, half));
  k.barrier();
  epilogue.store(hidden);
}
