#include "dialects/MoE/MoEOps.h"

using namespace mlir;
using namespace moe;

using EmitError = function_ref<InFlightDiagnostic()>;

static LogicalResult verifySource(EmitError emitError, Attribute source) {
  if (isa<SliceAttr, FactoredAttr, MixAttr, StackAttr, PermuteAttr, LowRankAttr,
          QuantizeAttr, SparsifyAttr, HiddenAttr, GramAttr, ScaleAttr>(source))
    return success();
  return emitError() << "needs a slice or a recipe, not " << source;
}

static LogicalResult verifySources(EmitError emitError, ArrayAttr sources) {
  if (sources.empty())
    return emitError() << "needs a source";
  for (Attribute source : sources)
    if (failed(verifySource(emitError, source)))
      return failure();
  return success();
}

// mix_c1
LogicalResult MixAttr::verify(EmitError emitError, ArrayAttr sources,
                              ArrayAttr weights) {
  if (failed(verifySources(emitError, sources)))
    return failure();
  if (sources.size() != weights.size() ||
      !llvm::all_of(weights, llvm::IsaPred<FloatAttr>))
    return emitError() << "needs a number for each of " << sources.size()
                       << " sources";
  return success();
}

// stack_c1
LogicalResult StackAttr::verify(EmitError emitError, ArrayAttr sources) {
  return verifySources(emitError, sources);
}

// permute_c1
LogicalResult PermuteAttr::verify(EmitError emitError, Attribute source,
                                  int64_t dim, DenseI64ArrayAttr order) {
  if (failed(verifySource(emitError, source)))
    return failure();
  if (dim < 0 || order.empty() ||
      llvm::any_of(order.asArrayRef(), [](int64_t i) { return i < 0; }))
    return emitError() << "needs a dimension and the places to take from";
  return success();
}

static LogicalResult verifyMoments(EmitError emitError, Attribute moments) {
  return moments ? verifySource(emitError, moments) : success();
}

// low_rank_c1
LogicalResult LowRankAttr::verify(EmitError emitError, Attribute source,
                                  int64_t rank, StringAttr factor,
                                  Attribute moments) {
  if (failed(verifySource(emitError, source)) ||
      failed(verifyMoments(emitError, moments)))
    return failure();
  if (rank < 1)
    return emitError() << "needs a positive rank, not " << rank;
  if (factor != "left" && factor != "right" && factor != "rest")
    return emitError() << "needs factor \"left\", \"right\" or \"rest\", not "
                       << factor;
  return success();
}

// quantize_c1
LogicalResult QuantizeAttr::verify(EmitError emitError, Attribute source,
                                   int64_t bits, int64_t block, StringAttr part,
                                   StringAttr code, bool asymmetric,
                                   Attribute moments, Attribute gram) {
  if (failed(verifySource(emitError, source)) ||
      failed(verifyMoments(emitError, moments)) ||
      failed(verifyMoments(emitError, gram)))
    return failure();
  if (bits != 2 && bits != 4 && bits != 8)
    return emitError() << "needs 2, 4 or 8 bits, not " << bits;
  if (block < 0)
    return emitError() << "has a block of " << block << " values";
  if (part != "values" && part != "scales" && part != "zeros")
    return emitError() << "needs part \"values\", \"scales\" or \"zeros\", not "
                       << part;
  StringRef name = code ? code.getValue() : "int";
  if (name != "int" && !(bits == 4 && (name == "fp4" || name == "nf4")) &&
      !(bits == 8 && name == "fp8"))
    return emitError()
           << "needs code \"int\", \"fp4\" or \"nf4\" of 4 bits, or "
              "\"fp8\" of 8, not \""
           << name << "\" of " << bits;
  if ((asymmetric || part == "zeros") && !(asymmetric && name == "int"))
    return emitError() << "has zero points where it is asymmetric, and only "
                          "integers are";
  return success();
}

// sparsify_c1
LogicalResult SparsifyAttr::verify(EmitError emitError, Attribute source,
                                   int64_t n, int64_t m, Attribute moments) {
  if (failed(verifySource(emitError, source)) ||
      failed(verifyMoments(emitError, moments)))
    return failure();
  if (n < 0 || m < 0 || (m > 0 && n > m))
    return emitError() << "cannot keep " << n << " of " << m << " numbers";
  return success();
}

// hidden_c1
LogicalResult HiddenAttr::verify(EmitError emitError, Attribute inputs,
                                 Attribute up, Activation activation,
                                 Attribute gate, Attribute upBias,
                                 Attribute gateBias, FloatAttr alpha,
                                 FloatAttr beta, FloatAttr limit) {
  for (Attribute source : {inputs, up, gate, upBias, gateBias})
    if (source && failed(verifySource(emitError, source)))
      return failure();
  if (!gate && (gateBias || beta))
    return emitError() << "has a bias or beta of a gate, but no gate";
  return success();
}

// gram_c1
LogicalResult GramAttr::verify(EmitError emitError, Attribute source) {
  return verifySource(emitError, source);
}

// scale_c1
LogicalResult ScaleAttr::verify(EmitError emitError, Attribute source,
                                int64_t dim, Attribute factors) {
  if (failed(verifySource(emitError, source)) ||
      failed(verifySource(emitError, factors)))
    return failure();
  if (dim != 0 && dim != 1)
    return emitError() << "scales dimension 0 or 1, not " << dim;
  return success();
}
