// From logits to bits.
#ifndef MOE_RUNTIME_RUNNER_TOKENBITS_H
#define MOE_RUNTIME_RUNNER_TOKENBITS_H

#include <cstdint>

namespace moe::rt {

/// -log2 softmax(logits)[token]. NaN when a logit is.
double bitsOfToken(const double *logits, int64_t n, int64_t token);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_TOKENBITS_H
