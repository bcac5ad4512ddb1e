#ifndef MOE_CODEGEN_CUDA_SAMPLEKERNELS_H
#define MOE_CODEGEN_CUDA_SAMPLEKERNELS_H

#include "mlir/IR/BuiltinOps.h"
#include <string>
#include <utility>

namespace moe::cuda {
/// The names of the two kernels below, for logits of `element`.
std::pair<std::string, std::string> sampleKernelNames(mlir::Type element);

/// Adds two kernels to `kernels` that choose a token for each of `sequences`
/// rows of `width` logits (f32, bf16 or f16), which are `stride` numbers apart:
///
///     parts(logits, stride, width, sequences, scratch)
///     choose(logits, stride, width, sequences, scratch, topK, inverse, slots)
///
/// - `scratch` [sequences, ceil(width / kSamplePart), kSampleWords] words of
///   4 bytes (runtime/Device/KernelChoice.h)
/// - `topK` from 1 to `width`: tokens are among so many of the largest, of
///   equals those with lower ids
/// - `inverse` f32: of the temperature
/// - `slots` [sequences] i64: a number u from 0 to below 1 in the f32 of its
///   low half. Afterwards the token: the first, by ids, whose weight with
///   those of all before it is more than u of the sum of all weights
///   exp((logit - largest) * inverse). Or -1 - i where logit i is no number
void emitSample(mlir::ModuleOp kernels, mlir::Type element);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_SAMPLEKERNELS_H
