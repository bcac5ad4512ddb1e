// Ops about devices to calls of runtime/Core/OffloadCalls.cpp.
#include "codegen/LLVM/RuntimeCalls.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

namespace {
/// Room for the arguments of a launch, eight bytes each, and their addresses.
struct LaunchRoom {
  Value slots, table;
};
using LaunchRooms = DenseMap<Operation *, LaunchRoom>;

class DeviceCalls {
public:
  DeviceCalls(Operation *op, LLVMTypeConverter &types, LaunchRooms &rooms)
      : op(op), types(types), rooms(rooms), b(op), loc(op->getLoc()),
        module(op->getParentOfType<ModuleOp>()), i32(b.getI32Type()),
        i64(b.getI64Type()), ptr(LLVM::LLVMPointerType::get(b.getContext())) {}

  void lower() {
    TypeSwitch<Operation *>(op)
        .Case([&](moert::OnDeviceOp is) {
          Value found = call("moert_on_device", {}, i32);
          Value zero = constant(i32, 0);
          replace(LLVM::ICmpOp::create(b, loc, LLVM::ICmpPredicate::ne, found,
                                       zero));
        })
        .Case([&](moert::DeviceAllocOp alloc) {
          auto type = cast<MemRefType>(alloc.getMemory().getType());
          SmallVector<Value> sizes;
          auto dynamic = alloc.getSizes().begin();
          for (int64_t size : type.getShape())
            sizes.push_back(ShapedType::isDynamic(size) ? integer(*dynamic++)
                                                        : constant(i64, size));
          replace(
              denseMemory(call("moert_device_alloc", {bytes(type, sizes)}, ptr),
                          type, sizes));
        })
        .Case([&](moert::DeviceFreeOp end) {
          call("moert_device_free", {address(end.getMemory())});
          op->erase();
        })
        .Case([&](moert::DeviceConstantOp constantOp) {
          auto type = cast<MemRefType>(constantOp.getMemory().getType());
          SmallVector<Value> sizes = sizesOf(constantOp.getMemory());
          replace(denseMemory(
              call("moert_device_constant",
                   {address(constantOp.getMemory()), bytes(type, sizes)}, ptr),
              type, sizes));
        })
        .Case([&](moert::DevicePresentOp present) {
          auto type = cast<MemRefType>(present.getPresent().getType());
          SmallVector<Value> sizes = sizesOf(present.getMemory());
          replace(denseMemory(
              call("moert_device_present",
                   {address(present.getMemory()), bytes(type, sizes)}, ptr),
              type, sizes));
        })
        .Case([&](moert::TransferOp transfer) {
          auto type = cast<MemRefType>(transfer.getFrom().getType());
          bool isUp = transfer.getDirection() == moert::Direction::Up;
          call(isUp ? "moert_device_upload" : "moert_device_download",
               {address(transfer.getTo()), address(transfer.getFrom()),
                bytes(type, sizesOf(transfer.getFrom()))});
          op->erase();
        })
        .Case([&](moert::LaunchOp launch) { lowerLaunch(launch); })
        .Case([&](moert::LaunchLayerOp layer) {
          Value rows = constant(i64, 1);
          SmallVector<Value> sizes = sizesOf(layer.getX());
          for (Value size : ArrayRef(sizes).drop_back())
            rows = multiply(rows, size);
          call("moert_device_rows",
               {constant(i32, layer.getLayer()), rows, address(layer.getX()),
                address(layer.getIds()), address(layer.getWeights()),
                address(layer.getResidual()), address(layer.getOuts())});
          op->erase();
        });
  }

private:
  Value constant(Type type, int64_t value) {
    return LLVM::ConstantOp::create(b, loc, type,
                                    b.getIntegerAttr(type, value));
  }
  Value integer(Value index) {
    return arith::IndexCastOp::create(b, loc, i64, index);
  }
  Type storedType(MemRefType type) {
    return types.convertType(type.getElementType());
  }
  /// Of sizes: a product that does not fit is no size that can be had.
  Value multiply(Value a, Value c) {
    Value both = LLVM::SMulWithOverflowOp::create(
        b, loc,
        LLVM::LLVMStructType::getLiteral(b.getContext(), {i64, b.getI1Type()}),
        a, c);
    Value product = LLVM::ExtractValueOp::create(b, loc, both, 0);
    Value isTooMuch = LLVM::ExtractValueOp::create(b, loc, both, 1);
    return LLVM::SelectOp::create(b, loc, isTooMuch, constant(i64, -1),
                                  product);
  }
  Value address(Value memory) {
    if (!memory)
      return LLVM::ZeroOp::create(b, loc, ptr);
    return addressOfMemory(b, loc, memory);
  }
  SmallVector<Value> sizesOf(Value memory) {
    SmallVector<Value> sizes;
    for (int64_t d = 0; d < cast<MemRefType>(memory.getType()).getRank(); ++d)
      sizes.push_back(integer(memref::DimOp::create(b, loc, memory, d)));
    return sizes;
  }
  Value bytes(MemRefType type, ArrayRef<Value> sizes) {
    Value product = constant(i64, bytesOfElement(type));
    for (Value size : sizes)
      product = multiply(product, size);
    return product;
  }
  Value call(StringRef name, ValueRange arguments, Type result = {}) {
    SmallVector<Type> given(arguments.getTypes());
    auto done = LLVM::CallOp::create(
        b, loc, declareRuntime(module, name, given, result), arguments);
    return result ? done.getResult() : Value();
  }
  void replace(Value result) {
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  }
  /// Dense memory of `sizes` at `data`.
  Value denseMemory(Value data, MemRefType type, ArrayRef<Value> sizes) {
    SmallVector<Value> strides(sizes.size());
    Value stride = constant(i64, 1);
    for (size_t d = sizes.size(); d-- > 0;) {
      strides[d] = stride;
      if (d > 0)
        stride = LLVM::MulOp::create(b, loc, stride, sizes[d]);
    }
    return memoryAt(b, loc, types, data, type, sizes, strides);
  }

  Value slotAt(OpBuilder &builder, Value slots, size_t i) {
    return LLVM::GEPOp::create(builder, loc, ptr, i64, slots,
                               ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i)});
  }

  /// Where the function around a launch keeps arguments: the runtime has copied
  /// them when the call returns, so all launches share it.
  LaunchRoom roomOf(Operation *launch) {
    auto function = launch->getParentOfType<FunctionOpInterface>();
    LaunchRoom &room = rooms[function];
    if (room.table)
      return room;
    size_t most = 0;
    function->walk([&](moert::LaunchOp other) {
      most = std::max<size_t>(most, other->getNumOperands());
    });
    OpBuilder start = atFunctionStart(launch);
    auto allocate = [&](Type type) -> Value {
      Value count = LLVM::ConstantOp::create(start, loc, i64,
                                             start.getI64IntegerAttr(most));
      return LLVM::AllocaOp::create(start, loc, ptr, type, count);
    };
    room = {allocate(i64), allocate(ptr)};
    for (size_t i = 0; i < most; ++i) {
      Value place =
          LLVM::GEPOp::create(start, loc, ptr, ptr, room.table,
                              ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i)});
      LLVM::StoreOp::create(start, loc, slotAt(start, room.slots, i), place);
    }
    return room;
  }

  void lowerLaunch(moert::LaunchOp launch) {
    SmallVector<Value> values;
    for (Value memory : launch.getMemories()) {
      Value first = address(memory);
      // Views may begin later.
      auto type = cast<MemRefType>(memory.getType());
      if (type.getStridesAndOffset().second != 0) {
        Value offset =
            integer(memref::ExtractStridedMetadataOp::create(b, loc, memory)
                        .getOffset());
        first = LLVM::GEPOp::create(b, loc, ptr, storedType(type), first,
                                    ArrayRef<LLVM::GEPArg>{offset});
      }
      values.push_back(first);
    }
    for (Value number : launch.getNumbers())
      values.push_back(number.getType().isIndex() ? integer(number) : number);
    LaunchRoom room = roomOf(op);
    for (auto [i, value] : llvm::enumerate(values))
      LLVM::StoreOp::create(b, loc, value, slotAt(b, room.slots, i));
    call("moert_device_launch",
         {constant(i32, launch.getKernel()), room.table});
    op->erase();
  }

  Operation *op;
  LLVMTypeConverter &types;
  LaunchRooms &rooms;
  OpBuilder b;
  Location loc;
  ModuleOp module;
  Type i32, i64, ptr;
};
} // namespace

void moe::lowerDeviceCalls(ModuleOp module) {
  LLVMTypeConverter types(module.getContext());
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<moert::OnDeviceOp, moert::DeviceAllocOp, moert::DeviceFreeOp,
            moert::DeviceConstantOp, moert::DevicePresentOp, moert::TransferOp,
            moert::LaunchOp, moert::LaunchLayerOp>(op))
      ops.push_back(op);
  });
  LaunchRooms rooms;
  for (Operation *op : ops)
    DeviceCalls(op, types, rooms).lower();
}
