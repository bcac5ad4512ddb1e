// Tokens that choose the experts we want.
#ifndef MOE_TOOLS_MOEBENCH_TOKENS_H
#define MOE_TOOLS_MOEBENCH_TOKENS_H

#include "tools/moe-bench/LayerFiles.h"

#include <vector>

namespace moe::bench {

/// Inputs of one run: `x` is [tokens, hidden].
struct TokenSet {
  std::vector<float> x;
  int64_t tokens;
  int64_t distinctExperts;
};

/// `count` sets of `tokens` tokens, each a sum of the router's rows of its
/// experts and noise. Experts are dealt from a shuffled pack, so that as many
/// others as possible come before one returns: its weights have left the caches
/// by then, as in real decoding.
std::vector<TokenSet> dealTokens(const LayerWeights &weights,
                                 const LayerShape &shape, int64_t tokens,
                                 int64_t count);

/// What the layer makes of token `t` of the set, in f64: [hidden].
std::vector<double> reference(const LayerWeights &weights,
                              const LayerShape &shape, const TokenSet &set,
                              int64_t t);

} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_TOKENS_H
