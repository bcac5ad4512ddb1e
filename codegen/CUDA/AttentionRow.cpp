// Attention of few queries.
#include "codegen/CUDA/AttentionParts.h"
#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

static constexpr int64_t kWarps = kLayerThreads / 32;

int64_t moe::cuda::sharedByRow(int64_t features) {
  return kWarps * (features + 2) * 4;
}

namespace {
/// Warps look at 32 keys at a time, with a running maximum and sum; lane i has
/// the features i, i + 32..., and the score of key i. Then what the warps found
/// is put together.
struct Row {
  Attention &a;
  CudaBuilder &k = a.k;
  Num lane = k.lane();

  int64_t parts() const { return llvm::divideCeil(a.features, 32); }
  /// Rows whose loads are under way at a time.
  int64_t abreast() const { return std::clamp<int64_t>(32 / parts(), 2, 8); }
  /// The features of the lane, of the row that begins at `first`.
  Nums read(const OpWriter::Memory &memory, Num first);
  /// The products of the query and keys first + j, j below `count`; lane j's.
  Num products(ArrayRef<Num> q, Num rows, Num first, Num count);
  /// Adds `weight` of lane j times value row first + j, for j below `count`.
  Nums mix(Nums sums, Num weight, Num rows, Num first, Num count);
  void run(Num number, Num split, Num splits);
};
} // namespace

Nums Row::read(const OpWriter::Memory &memory, Num first) {
  Nums values;
  for (int64_t p = 0; p < parts(); ++p) {
    Num d = lane + 32 * p;
    auto load = [&] { return a.w.readReal(memory, first + d); };
    values.push_back(32 * p + 32 <= a.features
                         ? load()
                         : k.choose(d < k.integer(a.features), load,
                                    [&] { return k.real(0); }));
  }
  return values;
}

Num Row::products(ArrayRef<Num> q, Num rows, Num first, Num count) {
  Num last = count - 1;
  return k.loop(k.integer(0), count, abreast(), {k.real(0)},
                [&](Num j, ArrayRef<Num> mine) -> Nums {
                  Num own = mine[0];
                  SmallVector<Nums> loaded;
                  for (int64_t u = 0; u < abreast(); ++u) {
                    Num l = first + k.min(j + u, last);
                    loaded.push_back(read(a.key, rows + l * a.features));
                  }
                  for (int64_t u = 0; u < abreast(); ++u) {
                    Num product = k.real(0);
                    for (auto [x, y] : llvm::zip(q, loaded[u]))
                      product = k.fma(x, y, product);
                    own = k.select(lane == j + u, k.warpSum(product), own);
                  }
                  return {own};
                })[0];
}

Nums Row::mix(Nums sums, Num weight, Num rows, Num first, Num count) {
  Num last = count - 1;
  return k.loop(k.integer(0), count, abreast(), sums,
                [&](Num j, ArrayRef<Num> carried) {
                  Nums now(carried);
                  SmallVector<Nums> loaded;
                  for (int64_t u = 0; u < abreast(); ++u) {
                    Num l = first + k.min(j + u, last);
                    loaded.push_back(read(a.value, rows + l * a.features));
                  }
                  for (int64_t u = 0; u < abreast(); ++u) {
                    // What is hidden counts for nothing, even if it is not a
                    // number.
                    Num share = ofLane(k, weight, j + u);
                    for (auto [sum, v] : llvm::zip(now, loaded[u]))
                      sum = k.select(share == 0, sum, k.fma(share, v, sum));
                  }
                  return now;
                });
}

void Row::run(Num number, Num split, Num splits) {
  Num head = number % a.heads, s = number / a.heads % a.queries;
  Num batch = number / a.heads / a.queries;
  Num keys = a.rowsOf(a.key, batch, head / a.group);
  Num values = a.rowsOf(a.value, batch, head / a.group);
  Nums q = read(a.query, number * a.features);
  auto [from, to] = a.range(s, s);
  Num length = a.w.size(a.length);
  Num begin = k.max(from, split * length);
  Num end = k.min(to, (split + 1) * length);
  Num warp = k.warp(), zero = k.integer(0), lowest = k.real(-INFINITY);
  Nums found(2 + parts(), k.real(0));
  found[0] = lowest;
  found = k.loop(begin + warp * 32, end, 32 * kWarps, found,
                 [&](Num first, ArrayRef<Num> before) {
                   Num count = k.min(k.integer(32), end - first),
                       l = first + lane;
                   Num product = products(q, keys, first, count);
                   Num score = a.score(product, l < end, batch, head, s, l);
                   Num top = k.max(warpMax(k, score), before[0]);
                   // Before a key was seen, nothing is to be shifted.
                   Num shift = k.select(top == -INFINITY, k.real(0), top);
                   Num shrink = cuda::exp(k, before[0] - shift);
                   Num weight = cuda::exp(k, score - shift);
                   Nums next = {top, before[1] * shrink + k.warpSum(weight)};
                   Nums sums;
                   for (Num sum : before.drop_front(2))
                     sums.push_back(sum * shrink);
                   next.append(mix(sums, weight, values, first, count));
                   return next;
                 });
  // Of each warp: the maximum, the sum, and the sums of features.
  int64_t stride = a.features + 2;
  Num place = k.shared(0), mine = warp * stride;
  k.when(lane == 0, [&] {
    k.store(found[0], place, mine);
    k.store(found[1], place, mine + 1);
  });
  for (int64_t p = 0; p < parts(); ++p) {
    Num d = lane + 32 * p;
    k.when(d < k.integer(a.features),
           [&] { k.store(found[2 + p], place, mine + 2 + d); });
  }
  k.barrier();
  auto at = [&](int64_t w, Num i) {
    return k.load(k.f32(), place, i + w * stride);
  };
  Num top = lowest, total = k.real(0);
  for (int64_t w = 0; w < kWarps; ++w)
    top = k.max(at(w, zero), top);
  Num shift = k.select(top == -INFINITY, k.real(0), top);
  Nums shrinks;
  for (int64_t w = 0; w < kWarps; ++w) {
    shrinks.push_back(cuda::exp(k, at(w, zero) - shift));
    total = total + at(w, k.integer(1)) * shrinks[w];
  }
  Num isOnly = splits < 2;
  Num part = (number * splits + split) * splitStride(a.features);
  k.when((k.thread() == 0) & (1 < splits), [&] {
    a.w.writeReal(top, a.found, part);
    a.w.writeReal(total, a.found, part + 1);
  });
  k.loop(k.thread(), k.integer(a.features), kLayerThreads, [&](Num d) {
    Num sum = k.real(0);
    for (int64_t w = 0; w < kWarps; ++w)
      sum = k.fma(at(w, d + 2), shrinks[w], sum);
    k.when(
        isOnly, [&] { a.finish(number, d, sum, total); },
        [&] { a.w.writeReal(sum, a.found, part + 2 + d); });
  });
  k.barrier(); // before the next row
}

void moe::cuda::attendByRow(Attention &a) {
  Row row{a};
  Num rows = a.batch * a.queries * a.heads, splits = a.w.size(a.splits);
  // Blocks at work at a time share keys.
  forEachBlock(a.k, rows * splits,
               [&](Num item) { row.run(item % rows, item / rows, splits); });
}

void moe::cuda::joinSplits(Attention &a) {
  CudaBuilder &k = a.k;
  Num splits = a.w.size(a.splits), zero = k.integer(0), lane = k.lane();
  int64_t stride = splitStride(a.features);
  forEachWarp(k, a.batch * a.queries * a.heads, [&](Num number) {
    Num first = number * splits;
    auto read = [&](Num split, Num i) {
      return a.w.readReal(a.found, (first + split) * stride + i);
    };
    Num top = k.fold(zero, splits, k.real(-INFINITY), [&](Num split, Num top) {
      return k.max(read(split, zero), top);
    });
    Num shift = k.select(top == -INFINITY, k.real(0), top);
    auto shrink = [&](Num split) {
      return cuda::exp(k, read(split, zero) - shift);
    };
    Num total = k.fold(zero, splits, k.real(0), [&](Num split, Num total) {
      return k.fma(read(split, k.integer(1)), shrink(split), total);
    });
    k.loop(lane, k.integer(a.features), 32, [&](Num d) {
      Num sum = k.fold(zero, splits, k.real(0), [&](Num split, Num sum) {
        // What was not seen counts for nothing.
        Num share = shrink(split);
        return k.select(share == 0, sum, k.fma(read(split, d + 2), share, sum));
      });
      a.finish(number, d, sum, total);
    });
  });
}
