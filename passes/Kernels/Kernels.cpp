#include "passes/Kernels/Kernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

bool moe::hasKernel(Operation *op, const Isa &isa) {
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case<moert::GemmOp, moert::ExpertFfnOp, moert::AttentionOp,
            moert::RouteOp, moert::EmbedOp, moert::RmsNormOp,
            moert::LayerNormOp, moert::RopeTableOp, moert::RopeOp,
            moert::KvAppendOp>([&](auto op) { return kernels::has(op, isa); })
      .Default(false);
}

void moe::callKernel(KernelBuilder &k, Operation *op) {
  llvm::TypeSwitch<Operation *>(op)
      .Case<moert::GemmOp, moert::ExpertFfnOp, moert::AttentionOp,
            moert::RouteOp, moert::EmbedOp, moert::RmsNormOp,
            moert::LayerNormOp, moert::RopeTableOp, moert::RopeOp,
            moert::KvAppendOp>([&](auto op) { kernels::call(k, op); })
      .Default([](Operation *) { llvm_unreachable("an op without a kernel"); });
}

ShapedType kernels::shaped(Value value) {
  return cast<ShapedType>(value.getType());
}
Type kernels::element(Value value) { return shaped(value).getElementType(); }
int64_t kernels::dim(Value value, int64_t d) {
  int64_t rank = shaped(value).getRank();
  return shaped(value).getDimSize(d < 0 ? rank + d : d);
}
bool kernels::isF32(Value value) { return element(value).isF32(); }
bool kernels::isNarrow(Value value) {
  Type type = element(value);
  return type.isF32() || type.isBF16() || type.isF16();
}
std::string kernels::bits(const APFloat &number) {
  return llvm::utohexstr(number.bitcastToAPInt().getZExtValue());
}

Num kernels::pointer(KernelBuilder &k, Value memref) {
  Value address =
      memref::ExtractAlignedPointerAsIndexOp::create(k.b, k.loc, memref);
  Value integer = arith::IndexCastOp::create(k.b, k.loc, k.i64(), address);
  return {k, LLVM::IntToPtrOp::create(k.b, k.loc, k.pointer(), integer)};
}

Num kernels::size(KernelBuilder &k, Value memref, int64_t d) {
  if (d < 0)
    d += shaped(memref).getRank();
  if (!shaped(memref).isDynamicDim(d))
    return k.integer(dim(memref, d));
  Value size = memref::DimOp::create(k.b, k.loc, memref, d);
  return {k, arith::IndexCastOp::create(k.b, k.loc, k.i64(), size)};
}

Num kernels::stride(KernelBuilder &k, Value memref, int64_t d) {
  auto type = cast<MemRefType>(memref.getType());
  if (type.getLayout().isIdentity()) {
    Num product = k.integer(1);
    for (int64_t i = d + 1; i < type.getRank(); ++i)
      product = product * size(k, memref, i);
    return product;
  }
  auto data = memref::ExtractStridedMetadataOp::create(k.b, k.loc, memref);
  return {
      k, arith::IndexCastOp::create(k.b, k.loc, k.i64(), data.getStrides()[d])};
}

bool kernels::takesStrides(OpOperand &operand) {
  auto op = dyn_cast<moert::AttentionOp>(operand.getOwner());
  if (!op || (operand.get() != op.getKey() && operand.get() != op.getValue()))
    return false;
  auto type = cast<MemRefType>(operand.get().getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  return succeeded(type.getStridesAndOffset(strides, offset)) && offset == 0 &&
         strides[3] == 1 && !type.isDynamicDim(3) &&
         strides[2] == type.getDimSize(3);
}

Num kernels::rows(KernelBuilder &k, Value memref, int64_t trailing) {
  Num product = k.integer(1);
  for (int64_t d = 0; d + trailing < shaped(memref).getRank(); ++d)
    product = product * size(k, memref, d);
  return product;
}

Num kernels::grain(KernelBuilder &k, Num items, Num work) {
  // About ten microseconds of one core: sharing costs up to half of that.
  constexpr int64_t little = 1 << 19;
  return k.select(work < little, k.max(items, k.integer(1)), k.integer(1));
}
