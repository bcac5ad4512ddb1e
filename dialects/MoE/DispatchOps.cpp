#include "dialects/MoE/MoEOps.h"
#include "dialects/MoE/MoEUtils.h"

using namespace mlir;
using namespace moe;

static LogicalResult verifyRank2(Operation *op, ValueRange values) {
  for (Value value : values)
    if (value && tensorType(value).getRank() != 2)
      return op->emitOpError("needs tensors of rank 2, not ")
             << value.getType();
  return success();
}

/// Ids are i32, weights floats, of one shape.
static LogicalResult verifySlots(Operation *op, Value ids, Value weights) {
  if (!tensorType(ids).getElementType().isInteger(32))
    return op->emitOpError("needs i32 ids, not ") << ids.getType();
  if (weights && differ(tensorType(ids), tensorType(weights)))
    return op->emitOpError("has ids ")
           << ids.getType() << " but weights " << weights.getType();
  return success();
}

/// The pool, with one offset more than entries where `offsets` is given.
static FailureOr<PoolOp> verifyPool(Operation *op, FlatSymbolRefAttr name,
                                    Value offsets,
                                    SymbolTableCollection &symbols) {
  PoolOp pool = PoolOp::lookup(op, name, symbols);
  if (!pool)
    return op->emitOpError("uses ") << name << ", which is not a moe.pool";
  if (!offsets ||
      !differ(tensorType(offsets).getDimSize(0), pool.getNumEntries() + 1))
    return pool;
  InFlightDiagnostic diag = op->emitOpError("has ")
                            << tensorType(offsets).getDimSize(0)
                            << " offsets, but " << name << " has "
                            << pool.getNumEntries() << " entries";
  diag.attachNote(pool.getLoc()) << "pool declared here";
  return diag;
}

LogicalResult DispatchOp::verify() {
  // dispatch_c1
  if (failed(verifyRank2(*this, {getTokens(), getIds(), getRows()})) ||
      failed(verifySlots(*this, getIds(), getWeights())))
    return failure();
  // dispatch_c2
  if (differ(tensorType(getTokens()).getDimSize(1),
             tensorType(getRows()).getDimSize(1)))
    return emitOpError("gathers rows ")
           << getRows().getType() << " from tokens " << getTokens().getType();
  return success();
}

LogicalResult DispatchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // dispatch_c3
  return verifyPool(*this, getPoolAttr(), getOffsets(), symbols);
}

LogicalResult ExpertFfnOp::verify() {
  // expert_ffn_c1
  return verifyRank2(*this, {getRows(), getOut()});
}

LogicalResult ExpertFfnOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // expert_ffn_c2
  FailureOr<PoolOp> pool =
      verifyPool(*this, getPoolAttr(), getOffsets(), symbols);
  if (failed(pool))
    return failure();
  for (ExpertOpInterface entry : pool->getEntries()) {
    if (!isa<ExpertOp, NullExpertOp, AliasOp>(entry.getOperation()))
      return emitOpError("runs no functions, but entry @")
             << entry.getEntryName() << " is one";
    // expert_ffn_c3
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    FailureOr<ExpertShape> shape =
        expert ? expert.getShape(symbols) : FailureOr<ExpertShape>();
    if (failed(shape))
      continue;
    if (differ(tensorType(getRows()).getDimSize(1), shape->in) ||
        (shape->out >= 0 &&
         differ(tensorType(getOut()).getDimSize(1), shape->out)))
      return emitOpError("turns ")
             << getRows().getType() << " into " << getOut().getType()
             << ", but entry @" << entry.getEntryName() << " takes "
             << shape->in << " features and gives " << shape->out;
  }
  return success();
}

LogicalResult CombineOp::verify() {
  // combine_c1
  if (failed(
          verifyRank2(*this, {getRows(), getIds(), getTokens(), getOut()})) ||
      failed(verifySlots(*this, getIds(), getWeights())))
    return failure();
  // combine_c2
  if (differ(tensorType(getRows()).getDimSize(1),
             tensorType(getOut()).getDimSize(1)))
    return emitOpError("combines rows ")
           << getRows().getType() << " into " << getOut().getType();
  return success();
}

LogicalResult CombineOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // combine_c3
  return verifyPool(*this, getPoolAttr(), Value(), symbols);
}
