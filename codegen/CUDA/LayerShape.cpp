#include "codegen/CUDA/LayerShape.h"

using namespace moe;
using namespace moe::cuda;

/// The first product alone, of rows of `inputs` numbers to rows of `rank`.
static LayerShape productOf(LayerShape shape, int64_t inputs, int64_t rank,
                            const std::optional<rt::CodedRows> &coded) {
  shape.inputs = inputs;
  shape.hidden = rank;
  shape.upCoded = coded;
  shape.isGlu = shape.hasUpBias = false;
  shape.activation = Activation::Identity;
  shape.limit = 0;
  shape.upRank = shape.downRank = 0;
  return shape;
}

LayerShape LayerShape::upLow() const {
  return productOf(*this, inputs, upRank, upLowCoded);
}

LayerShape LayerShape::downLow() const {
  LayerShape shape = productOf(*this, hidden, downRank, downLowCoded);
  shape.isSorted = true;
  shape.scaleInput = false;
  return shape;
}

LayerShape LayerShape::upProduct() const {
  LayerShape shape = *this;
  shape.upRank = shape.downRank = 0;
  if (!upRank)
    return shape;
  shape.inputs = upRank;
  shape.isSorted = true;
  shape.scaleInput = false; // the low factor's product has the weights
  return shape;
}

LayerShape LayerShape::downProduct() const {
  LayerShape shape = *this;
  shape.upRank = shape.downRank = 0;
  if (downRank)
    shape.hidden = downRank;
  return shape;
}
