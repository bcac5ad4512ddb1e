#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/Convert/MoEConverter.h"
#include "passes/Convert/Passes.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTMOETOMOERTPASS
#include "passes/Convert/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

Value moe::destination(OpBuilder &builder, Location loc, Value like,
                       int64_t last, Type element) {
  auto type = cast<RankedTensorType>(like.getType());
  SmallVector<int64_t> shape(type.getShape().drop_back());
  shape.push_back(last);
  SmallVector<Value> dynamic;
  for (int64_t d = 0; d + 1 < type.getRank(); ++d)
    if (type.isDynamicDim(d))
      dynamic.push_back(tensor::DimOp::create(builder, loc, like, d));
  return tensor::EmptyOp::create(builder, loc, shape, element, dynamic);
}

Value moe::convertTo(OpBuilder &builder, Location loc, Value value,
                     RankedTensorType type) {
  auto from = cast<RankedTensorType>(value.getType());
  if (from.getElementType() != type.getElementType()) {
    SmallVector<Value> dynamic;
    for (int64_t d = 0; d < from.getRank(); ++d)
      if (from.isDynamicDim(d))
        dynamic.push_back(tensor::DimOp::create(builder, loc, value, d));
    Value init = tensor::EmptyOp::create(builder, loc, from.getShape(),
                                         type.getElementType(), dynamic);
    SmallVector<AffineMap> maps(2,
                                builder.getMultiDimIdentityMap(from.getRank()));
    SmallVector<utils::IteratorType> loops(from.getRank(),
                                           utils::IteratorType::parallel);
    value = linalg::GenericOp::create(
                builder, loc, TypeRange{init.getType()}, ValueRange{value},
                ValueRange{init}, maps, loops,
                [&](OpBuilder &b, Location, ValueRange elements) {
                  Type to = type.getElementType();
                  bool isWider = to.getIntOrFloatBitWidth() >
                                 from.getElementTypeBitWidth();
                  Value element =
                      isWider ? arith::ExtFOp::create(b, loc, to, elements[0])
                                    .getResult()
                              : arith::TruncFOp::create(b, loc, to, elements[0])
                                    .getResult();
                  linalg::YieldOp::create(b, loc, element);
                })
                .getResult(0);
  }
  if (value.getType() == type)
    return value;
  return tensor::CastOp::create(builder, loc, type, value);
}

namespace {
struct ConvertMoEToMoERTPass
    : moe::impl::ConvertMoEToMoERTPassBase<ConvertMoEToMoERTPass> {
  using ConvertMoEToMoERTPassBase::ConvertMoEToMoERTPassBase;

  void runOnOperation() override {
    MoEConverter converter(getOperation(), width);
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (op->getDialect() && op->getDialect()->getNamespace() == "moe" &&
          op->getParentOfType<FunctionOpInterface>())
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      LogicalResult result = success();
      if (auto router = dyn_cast<RouterOp>(op))
        result = converter.convert(router);
      else if (auto gate = dyn_cast<GateOp>(op))
        result = converter.convert(gate);
      else if (auto apply = dyn_cast<ApplyOp>(op))
        result = converter.convert(apply);
      else if (auto observe = dyn_cast<ObserveOp>(op))
        result = converter.convert(observe);
      else if (!isa<WeightOp>(op))
        result = op->emitOpError("has no kernel yet");
      if (failed(result))
        return signalPassFailure();
    }
    SmallVector<moert::GemmOp> gemms; // routers' ones included
    getOperation().walk([&](moert::GemmOp gemm) { gemms.push_back(gemm); });
    for (moert::GemmOp gemm : gemms)
      if (failed(converter.pack(gemm)))
        return signalPassFailure();
  }
};
} // namespace
