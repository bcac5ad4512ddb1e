#ifndef MOE_DIALECTS_MOE_QUANTISEDBANK_H
#define MOE_DIALECTS_MOE_QUANTISEDBANK_H

#include "dialects/MoE/MoEOps.h"

namespace moe {
/// What `slice` of `bank` is stored as: where the bank is a derived one that
/// dequantises a matrix and does nothing else, the matrix, or the same rows of
/// it. Null where the slice is no such thing.
SliceAttr quantisedSlice(SliceAttr slice, BankOp bank);
} // namespace moe

#endif // MOE_DIALECTS_MOE_QUANTISEDBANK_H
