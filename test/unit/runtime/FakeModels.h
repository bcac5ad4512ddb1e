// Models written by hand, in the form in which moe-opt writes them.
#ifndef MOE_TEST_UNIT_RUNTIME_FAKEMODELS_H
#define MOE_TEST_UNIT_RUNTIME_FAKEMODELS_H

#include "runtime/IRInterface.h"

namespace moe::test {

/// sum[n, 4] = x[n, 4] + y[n, 4], floats, in parallel.
const moert_model &addModel();

/// Fails on purpose, by input `how` [1] int64: 0 not at all, 1 outside a
/// region, 2 in chunks 3 and 5 of one, 3 asks the arena for too much, 4 asks
/// scratch for too much in a region, 5 returns a bad shape.
const moert_model &failModel();

/// A language model over bytes with a cache: the logits favour the token that
/// follows the sum of everything seen so far, mod 256. Inputs input_ids
/// [batch, seq], attention_mask [batch, total], position_ids [batch, seq],
/// past.0.key [batch, past, 1]; outputs logits, present.0.key.
const moert_model &textModel();

/// Two caches of rows of two floats: fresh.0 and fresh.1 [batch, seq, 2] are
/// appended to past.0 and past.1 [batch, past, 2] in place (moert_append) and
/// come back as present.0 and present.1; sum [1] adds up all rows. Fails after
/// it has appended when the first fresh number is negative.
const moert_model &appendModel();
/// The same, with rows that lie on a FakeOffload.
const moert_model &deviceAppendModel();

/// y[n, 4] = x[n, 4] + 1, which stays on a FakeOffload until it is wanted.
const moert_model &deviceResultModel();

/// The same language without a cache: input_ids [batch, seq] to logits. Of
/// `fixed` sizes it takes [2, 256] only.
const moert_model &plainModel(bool fixed);

/// One weight: y[n] = w * x[n], weights of 64 bytes.
const moert_model &weightModel();

} // namespace moe::test

#endif // MOE_TEST_UNIT_RUNTIME_FAKEMODELS_H
