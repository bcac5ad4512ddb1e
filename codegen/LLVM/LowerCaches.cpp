// Ops about rows that stay from run to run to calls of the runtime.
#include "codegen/LLVM/RuntimeCalls.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace moe;

namespace {
class CacheCalls {
public:
  CacheCalls(Operation *op, LLVMTypeConverter &types)
      : op(op), types(types), b(op), loc(op->getLoc()),
        module(op->getParentOfType<ModuleOp>()), i32(b.getI32Type()),
        i64(b.getI64Type()), ptr(LLVM::LLVMPointerType::get(b.getContext())) {}

  /// A call of `function`, moert_append or moert_device_append, and the memref
  /// that it means.
  template <typename Cache>
  void append(Cache cache, StringRef function) {
    auto type = cast<MemRefType>(cache.getPresent().getType());
    SmallVector<Value> sizes = sizesOf(cache.getPast());
    Value fresh = integer(cache.getFresh());
    OpBuilder atStart = atFunctionStart(op);
    Value one =
        LLVM::ConstantOp::create(atStart, loc, i64, b.getI64IntegerAttr(1));
    Value slot = LLVM::AllocaOp::create(atStart, loc, ptr, i64, one);
    Value data = call(function, {constant(i32, cache.getInput()),
                                 constant(i32, cache.getOutput()),
                                 addressOfMemory(b, loc, cache.getPast()),
                                 multiply(sizes[0], sizes[1]), sizes[2], fresh,
                                 multiply(sizes[3], bytesOf(type)), slot});
    Value capacity = LLVM::LoadOp::create(b, loc, i64, slot);
    sizes[2] = LLVM::AddOp::create(b, loc, sizes[2], fresh);
    replace(data, type, sizes, capacity);
  }

private:
  Value constant(Type type, int64_t value) {
    return LLVM::ConstantOp::create(b, loc, type,
                                    b.getIntegerAttr(type, value));
  }
  Value integer(Value index) {
    return arith::IndexCastOp::create(b, loc, i64, index);
  }
  Value multiply(Value x, Value y) { return LLVM::MulOp::create(b, loc, x, y); }
  Value bytesOf(MemRefType type) { return constant(i64, bytesOfElement(type)); }
  SmallVector<Value> sizesOf(Value memory) {
    SmallVector<Value> sizes;
    for (int64_t d = 0; d < 4; ++d)
      sizes.push_back(integer(memref::DimOp::create(b, loc, memory, d)));
    return sizes;
  }
  Value call(StringRef name, ValueRange arguments) {
    SmallVector<Type> given(arguments.getTypes());
    return LLVM::CallOp::create(
               b, loc, declareRuntime(module, name, given, ptr), arguments)
        .getResult();
  }
  /// With memory whose blocks of rows lie `capacity` rows apart.
  void replace(Value data, MemRefType type, ArrayRef<Value> sizes,
               Value capacity) {
    Value strides[4];
    strides[3] = constant(i64, 1);
    strides[2] = sizes[3];
    strides[1] = multiply(capacity, sizes[3]);
    strides[0] = multiply(strides[1], sizes[1]);
    Value memory = memoryAt(b, loc, types, data, type, sizes, strides);
    op->getResult(0).replaceAllUsesWith(memory);
    op->erase();
  }

  Operation *op;
  LLVMTypeConverter &types;
  OpBuilder b;
  Location loc;
  ModuleOp module;
  Type i32, i64, ptr;
};
} // namespace

void moe::lowerCaches(ModuleOp module) {
  LLVMTypeConverter types(module.getContext());
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<moert::CacheOp, moert::DeviceCacheOp>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    CacheCalls calls(op, types);
    if (auto cache = dyn_cast<moert::CacheOp>(op))
      calls.append(cache, "moert_append");
    else
      calls.append(cast<moert::DeviceCacheOp>(op), "moert_device_append");
  }
}
