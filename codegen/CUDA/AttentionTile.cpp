// Attention of many queries.
#include "codegen/CUDA/AttentionParts.h"
#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

/// Rows of a tile, a row being a query and a head of those that share keys, and
/// the keys that it looks at at a time. A thread has 4 rows and 2 keys, and
/// sixteen threads share rows.
static constexpr int64_t kRows = kTileRows, kKeys = 32, kMine = 4,
                         kSharing = 16;

namespace {
/// Where things lie in shared memory, in numbers. Rows of queries and keys are
/// read 4 features at a time, by threads that have different rows: between
/// those lies an odd number of 16 bytes.
struct Layout {
  int64_t features, depth = llvm::alignTo(features, 4);
  int64_t stride = depth % 8 ? depth : depth + 4;
  int64_t queries = 0, keys = kRows * stride, values = keys + kKeys * stride;
  int64_t width = llvm::alignTo(features, kSharing *step());
  int64_t weights = values + kKeys * width;
  int64_t weightStride = kKeys + 4;
  int64_t end = weights + kRows * weightStride;

  /// Features beside each other that a thread adds up.
  int64_t step() const { return features % 64 ? features % 32 ? 1 : 2 : 4; }
};

struct Tile {
  Attention &a;
  Layout at{a.features};
  CudaBuilder &k = a.k;
  Num row = k.thread() / kSharing * kMine, column = k.thread() % kSharing;

  int64_t groups() const { return at.width / kSharing / at.step(); }
  Type vector(int64_t count) {
    return count == 1 ? k.f32() : Type(k.vector(count, k.f32()));
  }
  Num part(Num vector, int64_t i) {
    return isa<VectorType>(vector.value.getType()) ? k.extract(vector, i)
                                                   : vector;
  }
  /// Brings `count` rows of features to shared memory, and zeros behind them,
  /// by the next `arrive`.
  void bring(const OpWriter::Memory &memory, int64_t place, int64_t rows,
             int64_t stride, int64_t width, Num count,
             llvm::function_ref<Num(Num)> rowAt);
  /// All threads meet, with what they were to bring.
  void arrive() {
    moegpu::AsyncWaitOp::create(k.b, k.loc, 0);
    k.barrier();
  }
  /// Products of the thread's rows and keys.
  Nums products();
  /// Adds what the weights make of the values; `guarded`: of those that are
  /// not zero alone.
  Nums mix(ArrayRef<Num> sums, bool guarded);
  Num ofRow(Num value, llvm::function_ref<Num(Num, Num)> join) {
    return ofLanes(k, value, kSharing, join);
  }
  void run(Num item, Num tiles);
};
} // namespace

std::optional<int64_t> moe::cuda::sharedByTile(int64_t features) {
  int64_t bytes = Layout{features}.end * 4;
  return bytes <= kMostShared ? std::optional(bytes) : std::nullopt;
}

void Tile::bring(const OpWriter::Memory &memory, int64_t place, int64_t rows,
                 int64_t stride, int64_t width, Num count,
                 llvm::function_ref<Num(Num)> rowAt) {
  Num to = k.shared(place * 4);
  bool isAsync = memory.element.isF32() && a.features % 4 == 0;
  int64_t step = isAsync ? 4 : 1, pieces = width / step;
  k.loop(k.thread(), k.integer(rows * pieces), kLayerThreads, [&](Num i) {
    Num r = i / pieces, d = i % pieces * step;
    Num isThere = (r < count) & (d < k.integer(a.features));
    if (isAsync) {
      Num from = k.select(isThere, rowAt(r) + d, k.integer(0));
      Num bytes = k.select(isThere, k.integer(16), k.integer(0));
      moegpu::AsyncCopyOp::create(k.b, k.loc,
                                  k.at(k.f32(), to, r * stride + d).value,
                                  k.at(k.f32(), a.w.base(memory), from).value,
                                  k.convert(bytes, k.i32()).value, 16);
      return;
    }
    Num value = k.choose(
        isThere, [&] { return a.w.readReal(memory, rowAt(r) + d); },
        [&] { return k.real(0); });
    k.store(value, to, r * stride + d);
  });
  moegpu::AsyncCommitOp::create(k.b, k.loc);
}

Nums Tile::products() {
  Type four = vector(4);
  Num queries = k.shared(at.queries * 4), keys = k.shared(at.keys * 4);
  return k.loop(
      k.integer(0), k.integer(at.depth), 4, Nums(kMine * 2, k.real(0)),
      [&](Num d, ArrayRef<Num> sums) {
        Nums q, next(sums);
        for (int64_t i = 0; i < kMine; ++i)
          q.push_back(k.load(four, queries, (row + i) * at.stride + d));
        for (int64_t j = 0; j < 2; ++j) {
          Num key = k.load(four, keys, (column + j * kSharing) * at.stride + d);
          for (int64_t i = 0; i < kMine; ++i)
            for (int64_t n = 0; n < 4; ++n)
              next[2 * i + j] =
                  k.fma(part(q[i], n), part(key, n), next[2 * i + j]);
        }
        return next;
      });
}

Nums Tile::mix(ArrayRef<Num> sums, bool guarded) {
  Num weights = k.shared(at.weights * 4), values = k.shared(at.values * 4);
  Type four = vector(4), some = vector(at.step());
  return k.loop(
      k.integer(0), k.integer(kKeys), 4, sums, [&](Num l, ArrayRef<Num> now) {
        Nums next(now), shares;
        for (int64_t i = 0; i < kMine; ++i)
          shares.push_back(
              k.load(four, weights, (row + i) * at.weightStride + l));
        for (int64_t n = 0; n < 4; ++n)
          for (int64_t g = 0; g < groups(); ++g) {
            Num value = k.load(some, values,
                               (l + n) * at.width + column * at.step() +
                                   g * kSharing * at.step());
            for (int64_t i = 0; i < kMine; ++i)
              for (int64_t p = 0; p < at.step(); ++p) {
                Num &sum = next[(i * groups() + g) * at.step() + p];
                Num share = part(shares[i], n);
                Num more = k.fma(share, part(value, p), sum);
                sum = guarded ? k.select(share == 0, sum, more) : more;
              }
          }
        return next;
      });
}

void Tile::run(Num item, Num tiles) {
  Num zero = k.integer(0), none = k.real(0);
  TileRows own(a, item, tiles, kRows);
  bring(a.query, at.queries, kRows, at.stride, at.depth, own.count,
        [&](Num r) { return own.number(r) * a.features; });
  auto [begin, end] = a.range(own.query(zero), own.query(own.count - 1));
  auto bringRows = [&, end = end](const OpWriter::Memory &memory, Num rows,
                                  int64_t to, int64_t stride, int64_t width,
                                  Num l) {
    bring(memory, to, kKeys, stride, width, end - l,
          [&](Num r) { return rows + (l + r) * a.features; });
  };
  auto bringKeys = [&](Num l) {
    bringRows(a.key, own.keys, at.keys, at.stride, at.depth, l);
  };
  bringKeys(begin);
  int64_t numbers = kMine * groups() * at.step();
  Nums state;
  for (int64_t i = 0; i < kMine; ++i)
    state.append({k.real(-INFINITY), none});
  state.append(numbers, none);
  state = k.loop(
      begin, end, kKeys, state, [&, end = end](Num l, ArrayRef<Num> before) {
        // Values come while keys are multiplied, and keys while values are.
        arrive();
        bringRows(a.value, own.values, at.values, at.width, at.width, l);
        Nums scores = products(), next, sums;
        Num weights = k.shared(at.weights * 4);
        for (int64_t i = 0; i < kMine; ++i) {
          Num r = row + i, top = k.real(-INFINITY);
          for (int64_t j = 0; j < 2; ++j) {
            Num key = l + column + j * kSharing;
            Num &score = scores[2 * i + j];
            score = a.score(score, own.sees(r, key, end), own.batch,
                            own.head(r), own.query(r), key);
            top = k.max(score, top);
          }
          top = ofRow(top, [&](Num x, Num y) { return k.max(x, y); });
          top = k.max(top, before[2 * i]);
          // Before a key was seen, nothing is to be shifted.
          Num shift = k.select(top == -INFINITY, none, top);
          Num shrink = cuda::exp(k, before[2 * i] - shift);
          Num total = none;
          for (int64_t j = 0; j < 2; ++j) {
            Num weight = cuda::exp(k, scores[2 * i + j] - shift);
            k.store(weight, weights,
                    r * at.weightStride + column + j * kSharing);
            total = total + weight;
          }
          total = ofRow(total, [&](Num x, Num y) { return x + y; });
          next.append({top, k.fma(before[2 * i + 1], shrink, total)});
          for (int64_t n = 0; n < numbers / kMine; ++n)
            sums.push_back(before[2 * kMine + i * (numbers / kMine) + n] *
                           shrink);
        }
        arrive();
        bringKeys(l + kKeys);
        // What is hidden counts for nothing, even if it is not a number. Where
        // all rows see all keys nothing is.
        bool everSeen = !a.op.getKeyMask();
        Num isWhole = k.integer(everSeen) == 1;
        if (a.op.getCausal())
          isWhole = isWhole & (l + (kKeys - 2) < own.query(zero) + own.past);
        if (a.op.getWindow() > 0)
          isWhole =
              isWhole &
              (own.query(own.count - 1) + own.past - a.op.getWindow() < l);
        next.append(either(
            k, isWhole, [&] { return mix(sums, false); },
            [&] { return mix(sums, true); }));
        return next;
      });
  auto featureOf = [&](int64_t n) {
    return column * at.step() +
           (n / at.step() * kSharing * at.step() + n % at.step());
  };
  for (int64_t i = 0; i < kMine; ++i)
    for (int64_t n = 0; n < numbers / kMine; ++n) {
      Num d = featureOf(n), r = row + i, total = state[2 * i + 1];
      Num sum = state[2 * kMine + i * (numbers / kMine) + n];
      k.when((r < own.count) & (d < k.integer(a.features)),
             [&] { a.finish(own.number(r), d, sum, total); });
    }
  for (int64_t i = 0; i < kMine; ++i)
    k.when(row + i < own.count, [&] {
      a.finishBlind(own.number(row + i), state[2 * i + 1], column, kSharing);
    });
  arrive(); // before the next tile
}

void moe::cuda::attendByTile(Attention &a) {
  Tile tile{a};
  TileRows::forEach(a, kRows,
                    [&](Num item, Num tiles) { tile.run(item, tiles); });
}
