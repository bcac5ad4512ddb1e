// From logits to a token, and to bits.
#ifndef MOE_RUNTIME_RUNNER_SAMPLING_H
#define MOE_RUNTIME_RUNNER_SAMPLING_H

#include "runtime/Core/Status.h"
#include "runtime/Runner/Random.h"

#include <cstdint>

namespace moe::rt {

/// Picks a token from logits[0..n). Temperature 0 takes the largest, the lower
/// id among equals; otherwise softmax(logits / temperature) over the `topK`
/// largest (0: all) is sampled. ModelFailed when a logit is NaN.
Result<int64_t> sampleToken(const double *logits, int64_t n, double temperature,
                            int64_t topK, Random &random);

/// -log2 softmax(logits)[token]. NaN when a logit is.
double bitsOfToken(const double *logits, int64_t n, int64_t token);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_SAMPLING_H
