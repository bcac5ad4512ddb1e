#include "codegen/CUDA/FaultChecks.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

void FaultChecks::place(Block &block, int64_t count) {
  if (count == 0)
    return;
  Location loc = block.getParentOp()->getLoc();
  OpBuilder start = OpBuilder::atBlockBegin(&block);
  auto type = MemRefType::get({count}, start.getI32Type());
  Value none = memref::AllocOp::create(start, loc, type);
  Value zero = arith::ConstantIntOp::create(start, loc, 0, 32);
  for (int64_t i = 0; i < count; ++i) {
    Value at = arith::ConstantIndexOp::create(start, loc, i);
    memref::StoreOp::create(start, loc, zero, none, ValueRange{at});
  }
  all = moert::DeviceAllocOp::create(start, loc, type, ValueRange());
  moert::TransferOp::create(start, loc, moert::Direction::Up, none, all);
  memref::DeallocOp::create(start, loc, none);
}

Value FaultChecks::add(OpBuilder &builder, Location loc,
                       const OpKernel &kernel) {
  auto number = static_cast<int64_t>(faults.size());
  faults.push_back({kernel.faultMessage, kernel.faultWhere});
  return memref::SubViewOp::create(builder, loc, all, ArrayRef<int64_t>{number},
                                   ArrayRef<int64_t>{1}, ArrayRef<int64_t>{1});
}

void FaultChecks::check(Block &block) {
  if (!all)
    return;
  Location loc = block.getParentOp()->getLoc();
  OpBuilder end(block.getTerminator());
  Value host =
      memref::AllocOp::create(end, loc, cast<MemRefType>(all.getType()));
  moert::TransferOp::create(end, loc, moert::Direction::Down, all, host);
  moert::DeviceFreeOp::create(end, loc, all);
  Value nothing = arith::ConstantIntOp::create(end, loc, 0, 32);
  Value one = arith::ConstantIndexOp::create(end, loc, 1);
  for (auto [i, fault] : llvm::enumerate(faults)) {
    Value at = arith::ConstantIndexOp::create(end, loc, i);
    Value found = memref::LoadOp::create(end, loc, host, ValueRange{at});
    Value good = arith::CmpIOp::create(end, loc, arith::CmpIPredicate::eq,
                                       found, nothing);
    Value token =
        arith::IndexCastOp::create(end, loc, end.getIndexType(), found);
    token = arith::SubIOp::create(end, loc, token, one);
    moert::CheckOp::create(end, loc, good, end.getStringAttr(fault.message),
                           fault.where.empty() ? StringAttr()
                                               : end.getStringAttr(fault.where),
                           token);
  }
  memref::DeallocOp::create(end, loc, host);
}
