#include "codegen/CUDA/AttentionParts.h"
#include "codegen/CUDA/Functions.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Elements = OpWriter::Elements;

/// Features of a head are registers of the lanes.
static constexpr int64_t kMostFeatures = 512;

Num Attention::score(Num product, Num seen, Num b, Num head, Num s, Num l) {
  double cap = op.getSoftcap().convertToDouble();
  Num hidden = k.real(-INFINITY), zero = k.integer(0);
  Num score = product * op.getScale().convertToDouble();
  if (cap > 0)
    score = cuda::tanh(k, score / cap) * cap;
  if (!op.getBias() && !op.getKeyMask())
    return k.select(seen, score, hidden);
  return k.choose(
      seen,
      [&] {
        Num sum = score;
        if (op.getBias()) {
          Num biasHeads = w.size(bias, 1);
          Num ofBatch = k.select(w.size(bias, 0) == 1, zero, b);
          Num ofHead = k.select(biasHeads == 1, zero, head);
          Num at = ((ofBatch * biasHeads + ofHead) * queries + s) * keys + l;
          sum = sum + w.readReal(bias, at);
        }
        if (op.getKeyMask()) {
          Num bit = w.read(mask, b * keys + l);
          sum = k.select(bit == bit.like(0), hidden, sum);
        }
        return sum;
      },
      [&] { return hidden; });
}

std::pair<Num, Num> Attention::range(Num first, Num last) {
  Num begin = k.integer(0), end = keys, past = keys - queries;
  if (op.getCausal())
    end = k.min(keys, last + past + 1);
  if (op.getWindow() > 0)
    begin = k.max(first + past - (op.getWindow() - 1), begin);
  return {begin, end};
}

MadeKernel moe::cuda::attentionKernel(OpWriter &w, moert::AttentionOp op) {
  auto query = w.memory(op.getQuery(), Elements::Real, "the query");
  auto key = w.strided(op.getKey(), Elements::Real, "memory of keys");
  auto value = w.strided(op.getValue(), Elements::Real, "memory of values");
  OpWriter::Memory mask, bias;
  if (op.getKeyMask())
    mask = w.memory(op.getKeyMask(), Elements::Any, "the mask of keys");
  if (op.getBias())
    bias = w.memory(op.getBias(), Elements::Real, "the bias");
  auto to = w.memory(op.getOuts(), Elements::Real, "the destination");
  if (w.isRefused())
    return std::nullopt;
  // A cache has dense rows, and room behind those of a head.
  for (const OpWriter::Memory &rows : {key, value})
    if (!rows.strides.empty() &&
        (rows.strides[3].constant != 1 ||
         rows.strides[2].constant != query.sizes[3].constant))
      return w.refuse("rows of keys or values are not dense");
  std::optional<int64_t> features = query.sizes[3].constant;
  if (!features || *features < 1 || *features > kMostFeatures)
    return w.refuse("heads have more than 512 features, none, or no known "
                    "number of them");
  std::optional<int64_t> tile = sharedByTile(*features);
  int64_t shared = std::max(tile.value_or(0), sharedByRow(*features));
  return w.write("attention", shared, [&](CudaBuilder &k) {
    Attention a{k, w, op, query, key, value, mask, bias, to, *features};
    a.batch = w.size(query, 0), a.queries = w.size(query, 1);
    a.keys = w.size(key, 2), a.heads = w.size(query, 2);
    a.keyHeads = w.size(key, 1), a.group = a.heads / a.keyHeads;
    if (!tile)
      return attendByRow(a);
    // Tiles read keys for 64 rows at a time, but are few: with long pasts they
    // have to be enough for the multiprocessors.
    Num rows = a.queries * a.group;
    Num tiles = a.batch * a.keyHeads * k.ceilDiv(rows, 64);
    Num isTiled = (k.integer(15) < rows) &
                  ((k.integer(63) < tiles) | (a.keys < k.integer(513)));
    k.when(isTiled, [&] { attendByTile(a); }, [&] { attendByRow(a); });
  });
}
