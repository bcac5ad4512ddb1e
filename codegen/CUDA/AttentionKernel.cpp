#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/OpWriter.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Elements = OpWriter::Elements;
using Nums = KernelBuilder::Nums;

/// Features of a head are registers of the lanes.
static constexpr int64_t kMostFeatures = 512;
/// Keys whose products are under way at a time.
static constexpr int64_t kAbreast = 4;

namespace {
/// A warp has a head of a query. It looks at 32 keys at a time, with a running
/// maximum and sum; lane i has the features i, i + 32..., and the score of key
/// i.
struct Attention {
  CudaBuilder &k;
  OpWriter &w;
  moert::AttentionOp op;
  OpWriter::Memory query, key, value, mask, bias, to;
  int64_t features;
  Num lane, queries, keys;

  size_t parts() const { return llvm::divideCeil(features, 32); }
  /// The features of the lane, of the row that begins at `first`.
  Nums row(const OpWriter::Memory &memory, Num first);
  /// The score of key `l` after the product, or -inf where it is hidden.
  Num visible(Num score, Num batch, Num head, Num s, Num l, Num end);
  /// Adds `weight` of lane j times value row first + j, for j below `count`.
  Nums mix(Nums sums, Num weight, Num rows, Num first, Num count);
  void head(Num number);
};
} // namespace

Nums Attention::row(const OpWriter::Memory &memory, Num first) {
  Nums values;
  for (size_t p = 0; p < parts(); ++p) {
    Num d = lane + int64_t(32 * p);
    auto load = [&] { return w.readReal(memory, first + d); };
    values.push_back(int64_t(32 * p + 32) <= features
                         ? load()
                         : k.choose(d < k.integer(features), load,
                                    [&] { return k.real(0); }));
  }
  return values;
}

Num Attention::visible(Num score, Num batch, Num head, Num s, Num l, Num end) {
  double cap = op.getSoftcap().convertToDouble();
  if (cap > 0)
    score = cuda::tanh(k, score / cap) * cap;
  Num hidden = k.real(-INFINITY), zero = k.integer(0);
  return k.choose(
      l < end,
      [&] {
        Num seen = score;
        if (op.getBias()) {
          Num biasHeads = w.size(bias, 1);
          Num b = k.select(w.size(bias, 0) == 1, zero, batch);
          Num h = k.select(biasHeads == 1, zero, head);
          Num at = ((b * biasHeads + h) * queries + s) * keys + l;
          seen = seen + w.readReal(bias, at);
        }
        if (op.getKeyMask()) {
          Num bit = w.read(mask, batch * keys + l);
          seen = k.select(bit == bit.like(0), hidden, seen);
        }
        return seen;
      },
      [&] { return hidden; });
}

Nums Attention::mix(Nums sums, Num weight, Num rows, Num first, Num count) {
  return k.loop(
      k.integer(0), count, kAbreast, sums, [&](Num j, ArrayRef<Num> carried) {
        Nums now(carried);
        llvm::SmallVector<Nums> loaded;
        Num last = count - 1;
        for (int64_t u = 0; u < kAbreast; ++u)
          loaded.push_back(
              row(value, rows + (first + k.min(j + u, last)) * features));
        for (int64_t u = 0; u < kAbreast; ++u) {
          // What is hidden counts for nothing, even if it is not a number.
          Num share = ofLane(k, weight, j + u);
          for (auto [sum, v] : llvm::zip(now, loaded[u]))
            sum = k.select(share == 0, sum, k.fma(share, v, sum));
        }
        return now;
      });
}

void Attention::head(Num number) {
  Num heads = w.size(query, 2), keyHeads = w.size(key, 1);
  Num head = number % heads, s = number / heads % queries;
  Num batch = number / heads / queries;
  Num rows = (batch * keyHeads + head / (heads / keyHeads)) * keys * features;
  Nums q = row(query, number * features);
  for (Num &part : q)
    part = part * op.getScale().convertToDouble();
  Num zero = k.integer(0), begin = zero, end = keys;
  Num place = s + keys - queries; // of the query among the keys
  if (op.getCausal())
    end = k.min(keys, place + 1);
  if (op.getWindow() > 0)
    begin = k.max(place - (op.getWindow() - 1), zero);
  Nums carried(2 + parts(), k.real(0));
  carried[0] = k.real(-INFINITY);
  carried =
      k.loop(begin, end, 32, carried, [&](Num first, ArrayRef<Num> before) {
        Num count = k.min(k.integer(32), end - first), last = count - 1;
        Num score = k.loop(
            zero, count, kAbreast, {k.real(0)},
            [&](Num j, ArrayRef<Num> mine) -> Nums {
              Nums products;
              for (int64_t u = 0; u < kAbreast; ++u) {
                Num l = first + k.min(j + u, last);
                Num product = k.real(0);
                for (auto [x, y] : llvm::zip(q, row(key, rows + l * features)))
                  product = k.fma(x, y, product);
                products.push_back(product);
              }
              Num own = mine[0];
              for (int64_t u = 0; u < kAbreast; ++u)
                own = k.select(lane == j + u, k.warpSum(products[u]), own);
              return {own};
            })[0];
        score = visible(score, batch, head, s, first + lane, end);
        Num top = k.max(warpMax(k, score), before[0]);
        // Before a key was seen, nothing is to be shifted.
        Num shift = k.select(top == -INFINITY, k.real(0), top);
        Num shrink = cuda::exp(k, before[0] - shift);
        Num weight = cuda::exp(k, score - shift);
        Num total = before[1] * shrink + k.warpSum(weight);
        Nums sums;
        for (Num sum : before.drop_front(2))
          sums.push_back(sum * shrink);
        Nums next = {top, total};
        next.append(mix(sums, weight, rows, first, count));
        return next;
      });
  Num total = carried[1];
  Nums blind(parts(), k.real(0));
  if (op.getMaskedRow() == moert::MaskedRow::Uniform) {
    Num seen = k.select(total == 0, keys, zero);
    blind = k.loop(zero, seen, 1, blind, [&](Num l, ArrayRef<Num> sums) {
      Nums next(sums);
      for (auto [sum, v] : llvm::zip(next, row(value, rows + l * features)))
        sum = sum + v;
      return next;
    });
    for (Num &sum : blind)
      sum = sum / k.convert(keys, k.f32());
  }
  for (size_t p = 0; p < parts(); ++p) {
    Num d = lane + int64_t(32 * p);
    Num mean = k.select(total == 0, blind[p], carried[2 + p] / total);
    k.when(d < k.integer(features),
           [&] { w.writeReal(mean, to, number * features + d); });
  }
}

MadeKernel moe::cuda::attentionKernel(OpWriter &w, moert::AttentionOp op) {
  auto query = w.memory(op.getQuery(), Elements::Real, "the query");
  auto key = w.memory(op.getKey(), Elements::Real, "memory of keys");
  auto value = w.memory(op.getValue(), Elements::Real, "memory of values");
  OpWriter::Memory mask, bias;
  if (op.getKeyMask())
    mask = w.memory(op.getKeyMask(), Elements::Any, "the mask of keys");
  if (op.getBias())
    bias = w.memory(op.getBias(), Elements::Real, "the bias");
  auto to = w.memory(op.getOuts(), Elements::Real, "the destination");
  if (w.isRefused())
    return std::nullopt;
  std::optional<int64_t> features = query.sizes[3].constant;
  if (!features || *features < 1 || *features > kMostFeatures)
    return w.refuse("heads have more than 512 features, none, or no known "
                    "number of them");
  return w.write("attention", 0, [&](CudaBuilder &k) {
    Attention attention{k,
                        w,
                        op,
                        query,
                        key,
                        value,
                        mask,
                        bias,
                        to,
                        *features,
                        k.lane(),
                        w.size(query, 1),
                        w.size(key, 2)};
    forEachWarp(k, w.count(query, 1),
                [&](Num number) { attention.head(number); });
  });
}
