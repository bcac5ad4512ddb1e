// Quantised numbers as what they mean.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

namespace {
/// (x - zero_point) * scale; per tensor, per axis, or per block of an axis.
LogicalResult dequantize(NodeLowering &n) {
  Value x = n.in[0], scale = n.in[1];
  int64_t rank = n.rank(0), scaleRank = n.rank(1);
  int64_t block = n.node.intAttribute("block_size", 0);
  int64_t axis = rank ? n.axis(n.node.intAttribute("axis", 1), rank) : 0;
  Type quantized = n.elementOf(0), element = n.elementOf(1);
  n.out[0] = n.compute(
      n.resultElement(), n.dims(x), [&](OpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> from;
        if (block) {
          from.assign(at.begin(), at.end());
          Value size = arith::ConstantIndexOp::create(b, n.loc, block);
          from[axis] = arith::DivUIOp::create(b, n.loc, at[axis], size);
        } else if (scaleRank == 1) {
          auto type = cast<RankedTensorType>(scale.getType());
          from.push_back(
              type.getDimSize(0) == 1
                  ? arith::ConstantIndexOp::create(b, n.loc, 0).getResult()
                  : at[axis]);
        }
        Type type = NodeLowering::computeType(element);
        auto widen = [&](Value tensor, ValueRange where) {
          Value v = tensor::ExtractOp::create(b, n.loc, tensor, where);
          if (isa<FloatType>(v.getType()))
            return n.narrow(b, v, type);
          return n.castElement(b, v, quantized, type);
        };
        Value v = widen(x, at);
        if (n.has(2))
          v = arith::SubFOp::create(b, n.loc, v, widen(n.in[2], from));
        return arith::MulFOp::create(b, n.loc, v, n.read(b, scale, from));
      });
  return success();
}
} // namespace

void moe::addQuantizeLowerings(LoweringTable &table) {
  table["DequantizeLinear"] = dequantize;
}
