// Attention of many queries by the tensor core: numbers are rounded to f16 on
// the way, sums are f32.
#include "codegen/CUDA/AttentionParts.h"
#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

/// A warp has 16 rows of a tile.
static constexpr int64_t kRows = kTensorTileRows, kWarpRows = 16;
static_assert(kRows == kLayerThreads / 32 * kWarpRows);
/// From here on numbers become infinite in f16.
static constexpr double kTooLarge = 65520;

namespace {
/// Where things lie in shared memory, in bytes. Rows of f16 lie an odd number
/// of 16 bytes apart, so that `ldmatrix` meets no bank twice.
struct Layout {
  int64_t features, depth = llvm::alignTo(features, 16);
  int64_t keysAtOnce = depth <= 64 ? 64 : depth <= 128 ? 32 : 16;
  int64_t rowBytes = 2 * (depth + 8);
  int64_t queries = 0, keys = kRows * rowBytes;
  int64_t values = keys + keysAtOnce * rowBytes;
  /// f32 as they come, keys and then values.
  int64_t arriving = values + keysAtOnce * rowBytes;
  int64_t arrivingBytes = isAsync() ? keysAtOnce * depth * 4 : 0;
  /// Of each warp, whether some values that it brought are not finite.
  int64_t flags = arriving + 2 * arrivingBytes;
  int64_t end = flags + 4 * (kRows / kWarpRows);

  /// Whether there is room for them.
  bool isAsync() const { return depth <= 128; }
};

struct TensorTile {
  Attention &a;
  Layout at{a.features};
  CudaBuilder &k = a.k;
  Num lane = k.lane(), warp = k.warp();
  Num low = lane / 4, high = lane % 4; // of a row and columns of fragments

  int64_t keyTiles() const { return at.keysAtOnce / 8; }
  int64_t depthTiles() const { return at.depth / 8; }
  Type half() { return k.b.getF16Type(); }

  /// Calls `body(row, feature)` for the groups of four features of `rows` rows
  /// that are the thread's to bring.
  void forMine(int64_t rows, llvm::function_ref<void(Num, Num)> body);
  bool isAsync(const OpWriter::Memory &memory) const {
    return at.isAsync() && memory.element.isF32() && a.features % 4 == 0;
  }
  /// Starts to bring keys or values from key `first` on, zeros from `end` on.
  void start(const OpWriter::Memory &memory, Num rows, int64_t to, Num first,
             Num end);
  /// Rounds what came of them; says whether all of the thread's are finite
  /// then.
  Num round(const OpWriter::Memory &memory, Num rows, int64_t from, int64_t to,
            Num first, Num end);
  void bringQueries(Num count, llvm::function_ref<Num(Num)> rowAt);
  /// Stores four f32, rounded, or f16.
  void storeFour(ArrayRef<Num> four, int64_t place, Num row, Num feature);
  Num loadMatrix(int64_t place, Num row, Num feature, bool isTransposed);

  /// Of the warp's rows and the keys that are there, as `mma` gives them.
  Nums products();
  /// Adds what `weights`, as `products` gives them, make of rows at `place`.
  Nums mix(ArrayRef<Num> sums, ArrayRef<Num> weights, int64_t place);
  /// The same where some values are not finite: what has no weight there
  /// counts for nothing, and the rest is not a number.
  Nums mixOdd(ArrayRef<Num> sums, ArrayRef<Num> weights);
  Num ofRow(Num value, llvm::function_ref<Num(Num, Num)> join) {
    return ofLanes(k, value, 4, join);
  }
  void run(Num item, Num tiles);
};
} // namespace

std::optional<int64_t> moe::cuda::sharedByTensorTile(int64_t features) {
  // Sums of a row are registers.
  int64_t bytes = Layout{features}.end;
  return features <= 256 && bytes <= kMostShared ? std::optional(bytes)
                                                 : std::nullopt;
}

void TensorTile::forMine(int64_t rows,
                         llvm::function_ref<void(Num, Num)> body) {
  int64_t pieces = at.depth / 4;
  k.loop(k.thread(), k.integer(rows * pieces), kLayerThreads,
         [&](Num i) { body(i / pieces, i % pieces * 4); });
}

void TensorTile::storeFour(ArrayRef<Num> four, int64_t place, Num row,
                           Num feature) {
  Nums halves;
  for (Num x : four)
    halves.push_back(k.convert(x, half()));
  k.store(
      k.bitcast(k.pack(halves), k.vector(2, k.i32())),
      k.at(k.b.getI8Type(), k.shared(place), row * at.rowBytes + feature * 2),
      k.integer(0));
}

void TensorTile::start(const OpWriter::Memory &memory, Num rows, int64_t to,
                       Num first, Num end) {
  if (!isAsync(memory))
    return;
  forMine(at.keysAtOnce, [&](Num r, Num d) {
    Num isThere = (first + r < end) & (d < k.integer(a.features));
    Num from =
        k.select(isThere, rows + (first + r) * a.features + d, k.integer(0));
    moegpu::AsyncCopyOp::create(
        k.b, k.loc, k.at(k.f32(), k.shared(to), r * at.depth + d).value,
        k.at(k.f32(), a.w.base(memory), from).value,
        k.convert(k.select(isThere, k.integer(16), k.integer(0)), k.i32())
            .value,
        16);
  });
}

Num TensorTile::round(const OpWriter::Memory &memory, Num rows, int64_t from,
                      int64_t to, Num first, Num end) {
  int64_t pieces = at.depth / 4;
  Num all = k.loop(
      k.thread(), k.integer(at.keysAtOnce * pieces), kLayerThreads, {k.word(1)},
      [&](Num i, ArrayRef<Num> before) -> Nums {
        Num r = i / pieces, d = i % pieces * 4;
        Nums four;
        if (isAsync(memory)) {
          Num whole =
              k.load(k.vector(4, k.f32()), k.shared(from), r * at.depth + d);
          for (int64_t n = 0; n < 4; ++n)
            four.push_back(k.extract(whole, n));
        } else
          for (int64_t n = 0; n < 4; ++n)
            four.push_back(
                k.choose((first + r < end) & (d + n < k.integer(a.features)),
                         [&] {
                           return a.w.readReal(
                               memory, rows + (first + r) * a.features + d + n);
                         },
                         [&] { return k.real(0); }));
        storeFour(four, to, r, d);
        // Not of the largest: what is no number gets lost there.
        Num areFinite = before[0] == before[0].like(1);
        for (Num x : four)
          areFinite = areFinite & (k.max(x, 0 - x) < kTooLarge);
        return {k.select(areFinite, k.word(1), k.word(0))};
      })[0];
  return all == all.like(1);
}

void TensorTile::bringQueries(Num count, llvm::function_ref<Num(Num)> rowAt) {
  forMine(kRows, [&](Num r, Num d) {
    Nums four;
    for (int64_t i = 0; i < 4; ++i)
      four.push_back(
          k.choose((r < count) & (d + i < k.integer(a.features)),
                   [&] { return a.w.readReal(a.query, rowAt(r) + d + i); },
                   [&] { return k.real(0); }));
    storeFour(four, at.queries, r, d);
  });
}

Num TensorTile::loadMatrix(int64_t place, Num row, Num feature,
                           bool isTransposed) {
  return {k, moegpu::LoadMatrixOp::create(k.b, k.loc, k.vector(4, k.i32()),
                                          k.at(k.b.getI8Type(), k.shared(place),
                                               row * at.rowBytes + feature * 2)
                                              .value,
                                          isTransposed)};
}

Nums TensorTile::products() {
  return k.loop(
      k.integer(0), k.integer(at.depth), 16,
      Nums(keyTiles(), k.zeros(k.vector(4, k.f32()))),
      [&](Num d, ArrayRef<Num> before) {
        Nums sums(before);
        Num left = loadMatrix(at.queries, warp * kWarpRows + lane % 16,
                              d + lane / 16 * 8, false);
        for (int64_t j = 0; j < keyTiles(); j += 2) {
          Num two = loadMatrix(at.keys, lane / 16 * 8 + lane % 8 + j * 8,
                               d + lane / 8 % 2 * 8, false);
          for (int64_t i = 0; i < 2; ++i)
            sums[j + i] = k.mma(
                left,
                k.pack({k.extract(two, 2 * i), k.extract(two, 2 * i + 1)}),
                sums[j + i], moegpu::MmaKind::F16);
        }
        return sums;
      });
}

Nums TensorTile::mix(ArrayRef<Num> sums, ArrayRef<Num> weights, int64_t place) {
  Nums next(sums);
  for (int64_t j = 0; j < keyTiles(); j += 2) {
    // The sums of two products are the left side of the next.
    Nums left;
    for (int64_t i : {0, 1})
      for (int64_t row : {0, 2}) {
        Nums pair;
        for (int64_t n : {0, 1})
          pair.push_back(k.convert(k.extract(weights[j + i], row + n), half()));
        left.push_back(k.bitcast(k.pack(pair), k.vector(1, k.i32())));
      }
    for (Num &word : left)
      word = k.extract(word, 0);
    Num four = k.pack(left);
    for (int64_t n = 0; n < depthTiles(); n += 2) {
      Num two =
          loadMatrix(place, lane % 16 + j * 8, lane / 16 * 8 + n * 8, true);
      for (int64_t i = 0; i < 2; ++i)
        next[n + i] = k.mma(
            four, k.pack({k.extract(two, 2 * i), k.extract(two, 2 * i + 1)}),
            next[n + i], moegpu::MmaKind::F16);
    }
  }
  return next;
}

Nums TensorTile::mixOdd(ArrayRef<Num> sums, ArrayRef<Num> weights) {
  k.barrier(); // nobody needs the keys any more
  Num zero = k.convert(k.real(0), half()), one = k.convert(k.real(1), half());
  forMine(at.keysAtOnce, [&](Num r, Num d) {
    Nums clean, odd;
    for (int64_t i = 0; i < 4; ++i) {
      Num x = k.load(half(),
                     k.at(k.b.getI8Type(), k.shared(at.values),
                          r * at.rowBytes + (d + i) * 2),
                     k.integer(0));
      Num wide = k.convert(x, k.f32());
      Num isFinite = wide - wide == 0;
      clean.push_back(k.select(isFinite, x, zero));
      odd.push_back(k.select(isFinite, zero, one));
    }
    storeFour(clean, at.values, r, d);
    storeFour(odd, at.keys, r, d);
  });
  k.barrier();
  Nums next = mix(sums, weights, at.values), counted;
  for (Num four : weights) {
    Nums parts;
    for (int64_t i = 0; i < 4; ++i)
      parts.push_back(k.select(k.extract(four, i) == 0, k.real(0), k.real(1)));
    counted.push_back(k.pack(parts));
  }
  Nums none(depthTiles(), k.zeros(k.vector(4, k.f32())));
  Nums counts = mix(none, counted, at.keys);
  for (auto [sum, count] : llvm::zip(next, counts)) {
    Nums parts;
    for (int64_t i = 0; i < 4; ++i)
      parts.push_back(
          k.select(k.extract(count, i) == 0, k.extract(sum, i), k.real(NAN)));
    sum = k.pack(parts);
  }
  return next;
}

void TensorTile::run(Num item, Num tiles) {
  Num zero = k.integer(0), none = k.real(0);
  TileRows own(a, item, tiles, kRows);
  auto [begin, end] = a.range(own.query(zero), own.query(own.count - 1));
  auto start = [&, end = end](Num l) {
    this->start(a.key, own.keys, at.arriving, l, end);
    this->start(a.value, own.values, at.arriving + at.arrivingBytes, l, end);
    moegpu::AsyncCommitOp::create(k.b, k.loc);
  };
  bringQueries(own.count, [&](Num r) { return own.number(r) * a.features; });
  start(begin);
  k.barrier();
  // Of both rows of the thread: the largest score, and its own share of the
  // sum of weights; then the sums of features.
  Num rows[2] = {warp * kWarpRows + low, warp * kWarpRows + low + 8};
  Nums state = {k.real(-INFINITY), none, k.real(-INFINITY), none};
  state.append(depthTiles(), k.zeros(k.vector(4, k.f32())));
  state = k.loop(
      begin, end, at.keysAtOnce, state,
      [&, end = end](Num l, ArrayRef<Num> before) {
        moegpu::AsyncWaitOp::create(k.b, k.loc, 0);
        round(a.key, own.keys, at.arriving, at.keys, l, end);
        Num areFinite =
            round(a.value, own.values, at.arriving + at.arrivingBytes,
                  at.values, l, end);
        Num ofWarp = k.ballot(areFinite);
        k.when(lane == 0, [&] { k.store(ofWarp, k.shared(at.flags), warp); });
        k.barrier();
        start(l + at.keysAtOnce);
        Num bits = k.word(~0u);
        for (int64_t w = 0; w < kRows / kWarpRows; ++w)
          bits = bits & k.load(k.i32(), k.shared(at.flags), k.integer(w));
        Nums weights = products(), next;
        SmallVector<Nums> scores;
        for (Num four : weights) {
          Nums parts;
          for (int64_t i = 0; i < 4; ++i)
            parts.push_back(k.extract(four, i));
          scores.push_back(parts);
        }
        Num shrinks[2];
        for (int64_t half = 0; half < 2; ++half) {
          Num r = rows[half], top = before[2 * half];
          for (int64_t j = 0; j < keyTiles(); ++j)
            for (int64_t n = 0; n < 2; ++n) {
              Num key = l + (high * 2 + (j * 8 + n));
              Num &score = scores[j][2 * half + n];
              score = a.score(score, own.sees(r, key, end), own.batch,
                              own.head(r), own.query(r), key);
              top = k.max(score, top);
            }
          top = ofRow(top, [&](Num x, Num y) { return k.max(x, y); });
          // Before a key was seen, nothing is to be shifted.
          Num shift = k.select(top == -INFINITY, none, top);
          shrinks[half] = cuda::exp(k, before[2 * half] - shift);
          Num total = before[2 * half + 1] * shrinks[half];
          for (int64_t j = 0; j < keyTiles(); ++j)
            for (int64_t n = 0; n < 2; ++n) {
              Num &score = scores[j][2 * half + n];
              score = cuda::exp(k, score - shift);
              total = total + score;
            }
          next.append({top, total});
        }
        for (auto [j, parts] : llvm::enumerate(scores))
          weights[j] = k.pack(parts);
        Nums sums;
        for (Num four : before.drop_front(4)) {
          Nums parts;
          for (int64_t i = 0; i < 4; ++i)
            parts.push_back(k.extract(four, i) * shrinks[i / 2]);
          sums.push_back(k.pack(parts));
        }
        next.append(either(
            k, bits == k.word(~0u),
            [&] { return mix(sums, weights, at.values); },
            [&] { return mixOdd(sums, weights); }));
        k.barrier(); // before keys and values are overwritten
        return next;
      });
  for (int64_t half = 0; half < 2; ++half) {
    Num total = ofRow(state[2 * half + 1], [](Num x, Num y) { return x + y; });
    Num row = own.number(rows[half]);
    k.when(rows[half] < own.count, [&] {
      for (int64_t n = 0; n < depthTiles(); ++n)
        for (int64_t i = 0; i < 2; ++i) {
          Num d = high * 2 + (n * 8 + i);
          Num sum = k.extract(state[4 + n], 2 * half + i);
          auto write = [&] { a.finish(row, d, sum, total); };
          if (n * 8 + 8 <= a.features)
            write();
          else
            k.when(d < k.integer(a.features), write);
        }
      a.finishBlind(row, total, high, 4);
    });
  }
  // The copies of the step that did not come, and who still reads.
  moegpu::AsyncWaitOp::create(k.b, k.loc, 0);
  k.barrier();
}

void moe::cuda::attendByTensorTile(Attention &a) {
  TensorTile tile{a};
  TileRows::forEach(a, kRows,
                    [&](Num item, Num tiles) { tile.run(item, tiles); });
}
