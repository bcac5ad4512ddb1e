// Attention of few queries.
#include "codegen/CUDA/AttentionParts.h"
#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

static constexpr int64_t kWarps = kLayerThreads / 32;

/// The features of a lane.
static int64_t partsOf(int64_t features) {
  return llvm::divideCeil(features, 32);
}

/// Rows whose loads are under way at a time: a divisor of 32.
static int64_t abreastOf(int64_t parts) {
  return std::clamp<int64_t>(llvm::bit_floor(uint64_t(32 / parts)), 2, 8);
}

int64_t moe::cuda::rowsOfBlock(moert::AttentionOp op) {
  auto query = cast<MemRefType>(op.getQuery().getType());
  auto key = cast<MemRefType>(op.getKey().getType());
  if (query.isDynamicDim(2) || query.isDynamicDim(3) || key.isDynamicDim(1) ||
      key.getDimSize(1) < 1 || query.getDimSize(3) < 1)
    return 1;
  // Queries and sums of all rows are registers: so many that a block is alone
  // on its multiprocessor, and has many loads under way for that.
  auto group = static_cast<uint64_t>(
      std::max<int64_t>(1, query.getDimSize(2) / key.getDimSize(1)));
  auto room = static_cast<uint64_t>(
      std::max<int64_t>(1, 32 / partsOf(query.getDimSize(3))));
  return static_cast<int64_t>(
      std::min({llvm::bit_ceil(group), llvm::bit_floor(room), uint64_t(8)}));
}

int64_t moe::cuda::sharedByRow(int64_t features, int64_t rows) {
  return kWarps * rows * splitStride(features) * 4;
}

namespace {
/// Warps look at 32 keys at a time, with running maxima and sums. For products
/// lane i has the features i, i + 32... For scores, of which there are 32 for
/// each row, neighbouring lanes share a row, each with some of its keys. Then
/// what the warps found is put together.
struct Rows {
  Attention &a;
  int64_t count; ///< a power of two
  CudaBuilder &k = a.k;
  Num lane = k.lane();
  int64_t lanes = 32 / count; ///< of a row
  Num ownRow = lane / lanes, ownKey = lane % lanes;
  int64_t parts = partsOf(a.features);
  int64_t abreast = abreastOf(parts);
  Num batch = {}, query = {}, firstHead = {}, isThere = {};

  /// Rows beyond the last are the last again.
  Num head(Num r) { return firstHead + k.min(r, isThere - 1); }
  Num number(Num r) { return (batch * a.queries + query) * a.heads + head(r); }
  /// Which of the lane's scores are those of key `i` of 32, for i + ownKey.
  Num keyOf(int64_t i) { return ownKey + i * lanes; }

  /// The features of the lane, of the row that begins at `first`.
  Nums read(const OpWriter::Memory &memory, Num first);
  /// Those of `abreast` rows from `first` + `j` on; behind the last of `keys`,
  /// of that again.
  SmallVector<Nums> readSome(const OpWriter::Memory &memory, Num rows,
                             Num first, Num j, Num keys);
  /// Of each row's values, one for a lane, the sum to the lanes of the row.
  Num sumRows(Nums values);
  Num ofRow(Num value, llvm::function_ref<Num(Num, Num)> join) {
    return ofLanes(k, value, lanes, join);
  }
  /// The products of the lane's row and its keys of those from `first` on.
  Nums products(ArrayRef<Nums> queries, Num rows, Num first, Num count);
  /// Adds weights times value rows `first` + j, for j below `count`, to the
  /// sums of all rows.
  Nums mix(Nums sums, ArrayRef<Num> weights, Num rows, Num first, Num count);
  Nums look(Num rows, Num valueRows, Num begin, Num end);
  void keep(ArrayRef<Num> found);
  /// What all warps together have of row `r`.
  struct Whole {
    Num top, total;
    Nums shrinks;
  };
  Whole whole(Num r);
  Num kept(Num warp, Num r, Num i) {
    return k.load(k.f32(), k.shared(0),
                  (warp * count + r) * splitStride(a.features) + i);
  }
  void write(Num split, Num splits);
  void run(Num item, Num split, Num splits);
};
} // namespace

Nums Rows::read(const OpWriter::Memory &memory, Num first) {
  Nums values;
  for (int64_t p = 0; p < parts; ++p) {
    Num d = lane + 32 * p;
    auto load = [&] { return a.w.readReal(memory, first + d); };
    values.push_back(32 * p + 32 <= a.features
                         ? load()
                         : k.choose(d < k.integer(a.features), load,
                                    [&] { return k.real(0); }));
  }
  return values;
}

SmallVector<Nums> Rows::readSome(const OpWriter::Memory &memory, Num rows,
                                 Num first, Num j, Num keys) {
  SmallVector<Nums> loaded;
  for (int64_t u = 0; u < abreast; ++u) {
    Num l = first + k.min(j + u, keys - 1);
    loaded.push_back(read(memory, rows + l * a.features));
  }
  return loaded;
}

Num Rows::sumRows(Nums values) {
  // Halves of the lanes take halves of the rows, and so on, until a lane has
  // one.
  auto exchange = [&](Num value, int64_t step) {
    return k.shuffle(value, k.convert(k.integer(step), k.i32()),
                     moegpu::ShuffleKind::Xor);
  };
  int64_t step = 16;
  for (; values.size() > 1; step /= 2) {
    size_t half = values.size() / 2;
    Num isLower = lane / step % 2 == 0;
    Nums next;
    for (size_t r = 0; r < half; ++r) {
      Num mine = k.select(isLower, values[r], values[half + r]);
      Num other = k.select(isLower, values[half + r], values[r]);
      next.push_back(mine + exchange(other, step));
    }
    values = next;
  }
  return ofRow(values[0], [](Num x, Num y) { return x + y; });
}

Nums Rows::products(ArrayRef<Nums> queries, Num rows, Num first, Num keys) {
  return k.loop(k.integer(0), keys, abreast, Nums(count, k.real(0)),
                [&](Num j, ArrayRef<Num> mine) {
                  Nums own(mine);
                  SmallVector<Nums> loaded =
                      readSome(a.key, rows, first, j, keys);
                  for (int64_t u = 0; u < abreast; ++u) {
                    Nums sums;
                    for (const Nums &q : queries) {
                      Num product = k.real(0);
                      for (auto [x, y] : llvm::zip(q, loaded[u]))
                        product = k.fma(x, y, product);
                      sums.push_back(product);
                    }
                    Num sum = sumRows(sums);
                    for (int64_t i = 0; i < count; ++i)
                      own[i] = k.select(keyOf(i) == j + u, sum, own[i]);
                  }
                  return own;
                });
}

Nums Rows::mix(Nums sums, ArrayRef<Num> weights, Num rows, Num first,
               Num keys) {
  return k.loop(
      k.integer(0), keys, abreast, sums, [&](Num j, ArrayRef<Num> carried) {
        Nums now(carried);
        SmallVector<Nums> loaded = readSome(a.value, rows, first, j, keys);
        for (int64_t u = 0; u < abreast; ++u) {
          Num key = j + u, own = weights[0];
          for (int64_t i = 1; i < count; ++i)
            own = k.select(key / lanes == i, weights[i], own);
          for (int64_t r = 0; r < count; ++r) {
            // What is hidden counts for nothing, even if it is not a number.
            Num share = ofLane(k, own, key % lanes + r * lanes);
            for (int64_t p = 0; p < parts; ++p) {
              Num &sum = now[r * parts + p];
              sum = k.select(share == 0, sum, k.fma(share, loaded[u][p], sum));
            }
          }
        }
        return now;
      });
}

/// The largest score and the sum of the weights of the lane's row, and the sums
/// of the lane's features of all rows, of keys from `begin` on.
Nums Rows::look(Num rows, Num valueRows, Num begin, Num end) {
  SmallVector<Nums> queries;
  for (int64_t r = 0; r < count; ++r)
    queries.push_back(read(a.query, number(k.integer(r)) * a.features));
  Nums found(2 + count * parts, k.real(0));
  found[0] = k.real(-INFINITY);
  return k.loop(
      begin + k.warp() * 32, end, 32 * kWarps, found,
      [&](Num first, ArrayRef<Num> before) {
        Num keys = k.min(k.integer(32), end - first), top = k.real(-INFINITY);
        Nums scores = products(queries, rows, first, keys);
        for (int64_t i = 0; i < count; ++i) {
          Num l = first + keyOf(i);
          scores[i] =
              a.score(scores[i], l < end, batch, head(ownRow), query, l);
          top = k.max(scores[i], top);
        }
        top = k.max(ofRow(top, [&](Num x, Num y) { return k.max(x, y); }),
                    before[0]);
        // Before a key was seen, nothing is to be shifted.
        Num shift = k.select(top == -INFINITY, k.real(0), top);
        Num shrink = cuda::exp(k, before[0] - shift), sum = k.real(0);
        for (Num &score : scores) {
          score = cuda::exp(k, score - shift);
          sum = sum + score;
        }
        sum = ofRow(sum, [](Num x, Num y) { return x + y; });
        Nums next = {top, before[1] * shrink + sum}, sums;
        for (int64_t r = 0; r < count; ++r) {
          Num ofSums = ofLane(k, shrink, k.integer(r * lanes));
          for (Num sum : before.slice(2 + r * parts, parts))
            sums.push_back(sum * ofSums);
        }
        next.append(mix(sums, scores, valueRows, first, keys));
        return next;
      });
}

/// Of each warp and row: the maximum, the sum, and the sums of features.
void Rows::keep(ArrayRef<Num> found) {
  int64_t stride = splitStride(a.features);
  Num place = k.shared(0), first = k.warp() * (count * stride);
  k.when(ownKey == 0, [&] {
    k.store(found[0], place, first + ownRow * stride);
    k.store(found[1], place, first + ownRow * stride + 1);
  });
  for (int64_t r = 0; r < count; ++r)
    for (int64_t p = 0; p < parts; ++p) {
      Num d = lane + 32 * p;
      k.when(d < k.integer(a.features), [&] {
        k.store(found[2 + r * parts + p], place, first + d + (r * stride + 2));
      });
    }
}

Rows::Whole Rows::whole(Num r) {
  auto at = [&](int64_t warp, int64_t i) {
    return kept(k.integer(warp), r, k.integer(i));
  };
  Whole made{k.real(-INFINITY), k.real(0), {}};
  for (int64_t w = 0; w < kWarps; ++w)
    made.top = k.max(at(w, 0), made.top);
  Num shift = k.select(made.top == -INFINITY, k.real(0), made.top);
  for (int64_t w = 0; w < kWarps; ++w) {
    made.shrinks.push_back(cuda::exp(k, at(w, 0) - shift));
    made.total = made.total + at(w, 1) * made.shrinks[w];
  }
  return made;
}

void Rows::write(Num split, Num splits) {
  Num isOnly = splits < 2;
  k.loop(k.thread(), isThere * a.features, kLayerThreads, [&](Num i) {
    Num r = i / a.features, d = i % a.features;
    Whole all = whole(r);
    Num sum = k.real(0);
    for (int64_t w = 0; w < kWarps; ++w)
      sum = k.fma(kept(k.integer(w), r, d + 2), all.shrinks[w], sum);
    k.when(
        isOnly, [&] { a.finish(number(r), d, sum, all.total); },
        [&] {
          Num part = (number(r) * splits + split) * splitStride(a.features);
          a.w.writeReal(sum, a.found, part + 2 + d);
          k.when(d == 0, [&] {
            a.w.writeReal(all.top, a.found, part);
            a.w.writeReal(all.total, a.found, part + 1);
          });
        });
  });
  k.when(isOnly, [&] {
    k.loop(0, isThere, [&](Num r) {
      a.finishBlind(number(r), whole(r).total, k.thread(), kLayerThreads);
    });
  });
}

void Rows::run(Num item, Num split, Num splits) {
  Num chunks = k.ceilDiv(a.group, count), all = a.keyHeads * chunks;
  Num keyHead = item % all / chunks, chunk = item % chunks;
  query = item / all % a.queries, batch = item / all / a.queries;
  firstHead = keyHead * a.group + chunk * count;
  isThere = k.min(k.integer(count), a.group - chunk * count);
  auto [from, to] = a.range(query, query);
  Num length = a.w.size(a.length);
  Num begin = k.max(from, split * length);
  Num end = k.min(to, (split + 1) * length);
  keep(look(a.rowsOf(a.key, batch, keyHead), a.rowsOf(a.value, batch, keyHead),
            begin, end));
  k.barrier();
  write(split, splits);
  k.barrier(); // before the next rows
}

void moe::cuda::attendByRow(Attention &a) {
  int64_t count = rowsOfBlock(a.op);
  Num chunks = a.k.ceilDiv(a.group, count);
  Num items = a.batch * a.queries * a.keyHeads * chunks;
  Num splits = a.w.size(a.splits);
  // Blocks at work at a time share keys.
  forEachBlock(a.k, items * splits, [&](Num item) {
    Rows{a, count}.run(item % items, item / items, splits);
  });
}

namespace {
/// A warp has 32 features of a row; lanes divide the splits, then their sums.
struct Join {
  Attention &a;
  CudaBuilder &k = a.k;
  Num lane = k.lane(), splits = a.w.size(a.splits);

  Num read(Num row, Num split, Num i) {
    return a.w.readReal(a.found,
                        (row * splits + split) * splitStride(a.features) + i);
  }
  /// exp of the maximum of the lane's split of 32 from `first` on; 0 behind
  /// the last.
  Num shrink(Num row, Num first, Num shift);
  void run(Num row, Num part);
};
} // namespace

Num Join::shrink(Num row, Num first, Num shift) {
  return k.choose(
      first + lane < splits,
      [&] {
        return cuda::exp(k, read(row, first + lane, k.integer(0)) - shift);
      },
      [&] { return k.real(0); });
}

void Join::run(Num row, Num part) {
  Num zero = k.integer(0), one = k.integer(1), none = k.real(0);
  Num top = k.loop(lane, splits, 32, {k.real(-INFINITY)},
                   [&](Num split, ArrayRef<Num> now) -> Nums {
                     return {k.max(read(row, split, zero), now[0])};
                   })[0];
  top = warpMax(k, top);
  Num shift = k.select(top == -INFINITY, none, top);
  Num d = part * 32 + lane, known = k.min(d, k.integer(a.features - 1));
  constexpr int64_t abreast = 8;
  Nums both = k.loop(
      zero, splits, 32, {none, none}, [&](Num first, ArrayRef<Num> before) {
        Num own = shrink(row, first, shift);
        Num split = k.min(first + lane, splits - 1);
        Num total = k.select(own == 0, before[0],
                             k.fma(read(row, split, one), own, before[0]));
        Num sum = k.loop(
            zero, k.min(k.integer(32), splits - first), abreast, {before[1]},
            [&](Num j, ArrayRef<Num> now) -> Nums {
              Nums loaded;
              for (int64_t u = 0; u < abreast; ++u)
                loaded.push_back(
                    read(row, k.min(first + j + u, splits - 1), known + 2));
              Num sum = now[0];
              for (int64_t u = 0; u < abreast; ++u) {
                // What was not seen counts for nothing.
                Num share = ofLane(k, own, j + u);
                sum = k.select(share == 0, sum, k.fma(loaded[u], share, sum));
              }
              return {sum};
            })[0];
        return Nums{total, sum};
      });
  Num total = k.warpSum(both[0]);
  k.when(d < k.integer(a.features), [&] { a.finish(row, d, both[1], total); });
  // Once for a row.
  k.when(part == 0, [&] { a.finishBlind(row, total, lane, 32); });
}

void moe::cuda::joinSplits(Attention &a) {
  int64_t parts = partsOf(a.features);
  Num rows = a.batch * a.queries * a.heads;
  forEachWarp(a.k, rows * parts,
              [&](Num i) { Join{a}.run(i / parts, i % parts); });
}
