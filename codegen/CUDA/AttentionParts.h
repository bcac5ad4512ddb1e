#ifndef MOE_CODEGEN_CUDA_ATTENTIONPARTS_H
#define MOE_CODEGEN_CUDA_ATTENTIONPARTS_H

#include "codegen/CUDA/OpWriter.h"

namespace moe::cuda {
/// What the forms of attention share, while their kernel is written.
struct Attention {
  CudaBuilder &k;
  OpWriter &w;
  moert::AttentionOp op;
  OpWriter::Memory query, key, value, mask, bias, to;
  int64_t features;
  /// Found sums of the parts of a row, and how many parts of how many keys
  /// there are.
  OpWriter::Memory found = {};
  OpWriter::Size splits = {}, length = {};
  Num batch = {}, queries = {}, keys = {}, heads = {}, keyHeads = {},
      group = {};

  using Nums = KernelBuilder::Nums;
  /// The score of a product, or -inf where it is not `seen`.
  Num score(Num product, Num seen, Num b, Num head, Num s, Num l);
  /// Whether keys before `end` may be seen by some query, and from where on, of
  /// queries `first` to `last`.
  std::pair<Num, Num> range(Num first, Num last);
  /// Writes feature `d` of row `number`, of the sums over all keys.
  void finish(Num number, Num d, Num sum, Num total);
  /// Then those of a row that sees no key, from `first` on, `step` apart.
  void finishBlind(Num number, Num total, Num first, int64_t step);
  /// Where the keys or values of a head begin.
  Num rowsOf(const OpWriter::Memory &memory, Num b, Num head) {
    return b * w.stride(memory, 0) + head * w.stride(memory, 1);
  }
};

/// A tile of up to `most` rows, a row being a query and a head of those that
/// share keys; the tiles of the last queries, which see most keys, come first.
struct TileRows {
  TileRows(Attention &a, Num item, Num tiles, int64_t most);
  /// Calls `body(item, tiles)` for the block's share of all tiles.
  static void forEach(Attention &a, int64_t most,
                      llvm::function_ref<void(Num, Num)> body);

  Num head(Num r) const { return firstHead + (first + r) % a.group; }
  Num query(Num r) const { return (first + r) / a.group; }
  /// Of all rows.
  Num number(Num r) const {
    return (batch * a.queries + query(r)) * a.heads + head(r);
  }
  /// Whether row `r` sees key `key` of those before `end`.
  Num sees(Num r, Num key, Num end) const;

  Attention &a;
  Num batch, firstHead, first, count;
  Num keys, values; ///< where they begin
  Num past;
};

/// A block has some keys, and up to `rowsOfBlock` of the heads that share them,
/// of a query; its warps divide the keys. For few queries. With more than one
/// split, what it finds is left to `joinSplits`.
void attendByRow(Attention &a);
int64_t sharedByRow(int64_t features, int64_t rows);
/// A power of two: 1 where the numbers of heads are not constant.
int64_t rowsOfBlock(moert::AttentionOp op);
/// Needs no keys, and no query.
void joinSplits(Attention &a);
/// Of scratch, for a part of a row: the largest score, the sum of the weights,
/// the sums of the features.
inline int64_t splitStride(int64_t features) { return features + 2; }
/// A block has many queries of the heads that share keys. The second gives its
/// shared memory, or nothing where that is too much.
void attendByTile(Attention &a);
std::optional<int64_t> sharedByTile(int64_t features);
/// The same by the tensor core, with numbers rounded to f16.
void attendByTensorTile(Attention &a);
std::optional<int64_t> sharedByTensorTile(int64_t features);
constexpr int64_t kTileRows = 64, kTensorTileRows = 128;
/// What a block may have on any GPU from sm_80 on: 8.6, 8.9 and 12.0 have the
/// least (CUDA Programming Guide, "Technical Specifications per Compute
/// Capability").
constexpr int64_t kMostShared = 99 << 10;
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_ATTENTIONPARTS_H
