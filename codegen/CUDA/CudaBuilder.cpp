#include "codegen/CUDA/CudaBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace moe;
using namespace moe::moegpu;

void CudaBuilder::kernel(ModuleOp module, StringRef name,
                         ArrayRef<Type> arguments, int32_t threads,
                         int64_t shared,
                         Fn<void(CudaBuilder &, ArrayRef<Num>)> body) {
  OpBuilder b(module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  Location loc = NameLoc::get(b.getStringAttr(name));
  auto kernel = KernelOp::create(b, loc, name, arguments, threads, shared);
  b.setInsertionPointToStart(&kernel.getBody().front());
  CudaBuilder k(b, loc, module);
  Nums nums;
  for (Value argument : kernel.getBody().getArguments())
    nums.push_back({k, argument});
  body(k, nums);
  moegpu::ReturnOp::create(b, loc);
}

Type CudaBuilder::global(MLIRContext *context) {
  return LLVM::LLVMPointerType::get(context, kGlobal);
}

template <typename Op>
Num CudaBuilder::index() {
  Value id = Op::create(b, loc, b.getI32Type());
  // Never negative.
  return {*this, arith::ExtUIOp::create(b, loc, i64(), id)};
}

Num CudaBuilder::thread() { return index<ThreadIdOp>(); }
Num CudaBuilder::block() { return index<BlockIdOp>(); }
Num CudaBuilder::grid() { return index<GridSizeOp>(); }

Num CudaBuilder::warp() {
  Num id = convert(thread() / 32, i32());
  return convert(shuffle(id, id.like(0), ShuffleKind::Idx), i64());
}

Num CudaBuilder::shared(int64_t offset) {
  return {*this,
          SharedOp::create(b, loc,
                           LLVM::LLVMPointerType::get(b.getContext(), kShared),
                           offset)};
}

Num CudaBuilder::at(Type type, Num base, Num index) {
  return {*this, LLVM::GEPOp::create(b, loc, base.value.getType(),
                                     getElementTypeOrSelf(type), base.value,
                                     ArrayRef<LLVM::GEPArg>{index.value})};
}

Num CudaBuilder::load(Type type, Num base, Num index, Caching caching) {
  return {*this,
          LoadOp::create(b, loc, type, at(type, base, index).value, caching)};
}

void CudaBuilder::store(Num value, Num base, Num index) {
  StoreOp::create(b, loc, value.value,
                  at(value.value.getType(), base, index).value);
}

Num CudaBuilder::atomicAdd(Num value, Num base, Num index) {
  Type type = value.value.getType();
  return {*this, AtomicAddOp::create(b, loc, type, value.value,
                                     at(type, base, index).value)};
}

void CudaBuilder::barrier() { BarrierOp::create(b, loc); }

Num CudaBuilder::shuffle(Num value, Num lane, ShuffleKind kind) {
  return {*this, ShuffleOp::create(b, loc, value.value.getType(), value.value,
                                   lane.value, kind)};
}

Num CudaBuilder::ballot(Num condition) {
  return {*this, BallotOp::create(b, loc, i32(), condition.value)};
}

Num CudaBuilder::countBits(Num bits) {
  return {*this, math::CtPopOp::create(b, loc, bits.value)};
}

Num CudaBuilder::lanesBelow(Num lane) {
  Num one = convert(integer(1), i32());
  return Num(*this, arith::ShLIOp::create(b, loc, one.value,
                                          convert(lane, i32()).value)) -
         one;
}

Num CudaBuilder::warpSum(Num value) {
  for (int64_t step : {16, 8, 4, 2, 1})
    value =
        value + shuffle(value, convert(integer(step), i32()), ShuffleKind::Xor);
  return value;
}

Num CudaBuilder::mma(Num a, Num x, Num c, MmaKind kind) {
  return {*this, MmaOp::create(b, loc, c.value.getType(), a.value, x.value,
                               c.value, kind)};
}

Num CudaBuilder::extract(Num vector, int64_t i) {
  return {*this, vector::ExtractOp::create(b, loc, vector.value, i)};
}

Num CudaBuilder::pack(ArrayRef<Num> parts) {
  SmallVector<Value> values;
  for (Num part : parts)
    values.push_back(part.value);
  auto type = VectorType::get({static_cast<int64_t>(parts.size())},
                              values[0].getType());
  return {*this, vector::FromElementsOp::create(b, loc, type, values)};
}

Num CudaBuilder::bitcast(Num value, Type type) {
  if (llvm::isa<VectorType>(type))
    return {*this, vector::BitCastOp::create(b, loc, cast<VectorType>(type),
                                             value.value)};
  return {*this, arith::BitcastOp::create(b, loc, type, value.value)};
}

Num CudaBuilder::word(uint32_t bits) {
  return {*this,
          arith::ConstantIntOp::create(b, loc, static_cast<int32_t>(bits), 32)};
}

Num CudaBuilder::shift(Num bits, int64_t by) {
  if (by == 0)
    return bits;
  Num places = bits.like(std::abs(by));
  Value moved =
      by > 0
          ? arith::ShLIOp::create(b, loc, bits.value, places.value).getResult()
          : arith::ShRUIOp::create(b, loc, bits.value, places.value)
                .getResult();
  return {*this, moved};
}

Num CudaBuilder::exclusiveOr(Num x, Num y) {
  return {*this, arith::XOrIOp::create(b, loc, x.value, y.value)};
}

Num CudaBuilder::packedFma(Num x, Num y, Num z, MmaKind kind) {
  return {*this,
          PackedFmaOp::create(b, loc, i32(), x.value, y.value, z.value, kind)};
}

Num CudaBuilder::permuteBytes(Num low, Num high, Num selector) {
  return {*this, PermuteBytesOp::create(b, loc, i32(), low.value, high.value,
                                        selector.value)};
}

Num CudaBuilder::roundTF32(Num x) {
  return {*this, RoundTF32Op::create(b, loc, i32(), x.value)};
}

Num CudaBuilder::roundE4M3(ArrayRef<Num> four) {
  return {*this,
          RoundE4M3Op::create(b, loc, i32(), four[0].value, four[1].value,
                              four[2].value, four[3].value)};
}

Num CudaBuilder::exp2(Num x) {
  return {*this, Exp2Op::create(b, loc, f32(), x.value)};
}

Num CudaBuilder::reciprocal(Num x) {
  return {*this, ReciprocalOp::create(b, loc, f32(), x.value)};
}
