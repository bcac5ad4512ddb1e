// From logits to a token.
#ifndef MOE_RUNTIME_CORE_CHOOSETOKEN_H
#define MOE_RUNTIME_CORE_CHOOSETOKEN_H

#include "runtime/Core/Status.h"

#include <cstdint>

namespace moe::rt {

/// A token by logits[0..n), n > 0. With temperature 0 that of the largest, the
/// lower one among equals. Otherwise the first, in the order of ids, whose
/// weight exp((logit - largest) / temperature), with those of all before it, is
/// more than `uniform` (0 to below 1) of their sum; of the `topK` largest
/// logits (0: all), the lower ids among equals. -1 - i where logit i is NaN.
int64_t chooseToken(const double *logits, int64_t n, double temperature,
                    uint64_t topK, double uniform);

/// What is wrong where it chose none.
Status checkChosen(int64_t token);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_CHOOSETOKEN_H
