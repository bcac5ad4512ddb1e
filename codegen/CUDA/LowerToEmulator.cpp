#include "codegen/CUDA/Passes.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace moe;
using namespace moe::moegpu;

namespace moe {
#define GEN_PASS_DEF_MOEGPUTOEMULATORPASS
#include "codegen/CUDA/Passes.h.inc"
} // namespace moe

/// Of values on the stack, also of vectors that would like more.
static constexpr unsigned kAlignment = 16;

namespace {
/// Replaces the ops of one kernel by calls.
class Lowering {
public:
  Lowering(IRRewriter &rewriter, ModuleOp module, LLVM::LLVMFuncOp function)
      : rewriter(rewriter), module(module), function(function),
        i32(rewriter.getI32Type()), f32(rewriter.getF32Type()),
        pointer(LLVM::LLVMPointerType::get(rewriter.getContext())),
        none(LLVM::LLVMVoidType::get(rewriter.getContext())) {}

  void lower(Operation *op);

private:
  bool lowerBarrier(Operation *op);
  Value wgmma(WgmmaOp op);
  Value constant(int64_t value) {
    return arith::ConstantIntOp::create(rewriter, loc, value, 32);
  }
  /// Calls `moegpu_emu_<name>`, with the site last where it has one.
  Value call(StringRef name, Type result, SmallVector<Value> operands,
             bool hasSite = true);
  Value site();
  Value generic(Value address) {
    return LLVM::AddrSpaceCastOp::create(rewriter, loc, pointer, address);
  }
  /// Where a kernel may read or write `type` at `address`.
  Value access(Value address, Type type, bool isStore) {
    return call("access", pointer,
                {generic(address), constant(sizeOf(type)), constant(isStore)});
  }
  /// A place on the stack, with `value` in it.
  Value spilled(Value value) {
    Value place = room(value.getType());
    LLVM::StoreOp::create(rewriter, loc, value, place, kAlignment);
    return place;
  }
  Value room(Type type);
  Value asInteger(Value value) {
    return value.getType().isF32()
               ? arith::BitcastOp::create(rewriter, loc, i32, value).getResult()
               : value;
  }

  IRRewriter &rewriter;
  ModuleOp module;
  LLVM::LLVMFuncOp function;
  Type i32, f32, pointer, none;
  Location loc = UnknownLoc::get(rewriter.getContext());
  std::string siteText;
  int64_t sites = 0;
};
} // namespace

Value Lowering::room(Type type) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointToStart(&function.getBody().front());
  Value one =
      LLVM::ConstantOp::create(rewriter, loc, rewriter.getI64IntegerAttr(1));
  return LLVM::AllocaOp::create(rewriter, loc, pointer, type, one, kAlignment);
}

Value Lowering::site() {
  std::string name = (function.getName() + ".site" + Twine(sites - 1)).str();
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointToStart(module.getBody());
    std::string text = siteText + '\0';
    LLVM::GlobalOp::create(
        rewriter, loc,
        LLVM::LLVMArrayType::get(rewriter.getI8Type(), text.size()),
        /*isConstant=*/true, LLVM::Linkage::Internal, name,
        rewriter.getStringAttr(text));
  }
  return LLVM::AddressOfOp::create(rewriter, loc, pointer, name);
}

Value Lowering::call(StringRef name, Type result, SmallVector<Value> operands,
                     bool hasSite) {
  if (hasSite)
    operands.push_back(site());
  std::string symbol = ("moegpu_emu_" + name).str();
  auto callee = module.lookupSymbol<LLVM::LLVMFuncOp>(symbol);
  if (!callee) {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointToStart(module.getBody());
    SmallVector<Type> types;
    for (Value operand : operands)
      types.push_back(operand.getType());
    callee =
        LLVM::LLVMFuncOp::create(rewriter, module.getLoc(), symbol,
                                 LLVM::LLVMFunctionType::get(result, types));
  }
  auto made = LLVM::CallOp::create(rewriter, loc, callee, operands);
  return made.getNumResults() ? made.getResult() : Value();
}

Value Lowering::wgmma(WgmmaOp op) {
  auto type = cast<VectorType>(op.getC().getType());
  Value place = room(type);
  call("wgmma", none,
       {place, generic(op.getA()), generic(op.getB()), spilled(op.getC()),
        constant(2 * type.getNumElements()),
        constant(static_cast<int64_t>(op.getKind()))});
  return LLVM::LoadOp::create(rewriter, loc, type, place, kAlignment);
}

/// What threads of sm_90 wait for; false where the op is another.
bool Lowering::lowerBarrier(Operation *op) {
  if (auto init = dyn_cast<MBarrierInitOp>(op)) {
    call("mbarrier_init", none,
         {generic(init.getBarrier()), constant(init.getCount())});
  } else if (auto arrive = dyn_cast<MBarrierArriveOp>(op)) {
    call("mbarrier_arrive", none, {generic(arrive.getBarrier()), constant(0)});
  } else if (auto expect = dyn_cast<MBarrierExpectOp>(op)) {
    call("mbarrier_arrive", none,
         {generic(expect.getBarrier()), constant(expect.getBytes())});
  } else if (auto arrive = dyn_cast<MBarrierArriveCopiesOp>(op)) {
    call("mbarrier_arrive_copies", none, {generic(arrive.getBarrier())});
  } else if (auto wait = dyn_cast<MBarrierWaitOp>(op)) {
    call("mbarrier_wait", none, {generic(wait.getBarrier()), wait.getParity()});
  } else if (auto load = dyn_cast<TensorLoadOp>(op)) {
    call("tensor_load", none,
         {load.getMap(), load.getMatrix(), load.getRow(), load.getDepth(),
          generic(load.getTo()), generic(load.getBarrier())});
  } else if (isa<ProxyFenceOp>(op)) {
    call("proxy_fence", none, {}, false);
  } else if (auto barrier = dyn_cast<NamedBarrierOp>(op)) {
    call("barrier", none, {barrier.getId(), constant(barrier.getThreads())});
  } else if (auto registers = dyn_cast<MaxRegistersOp>(op)) {
    call("max_registers", none, {constant(registers.getCount())});
  } else if (isa<WgmmaFenceOp>(op)) {
    call("wgmma_fence", none, {});
  } else if (isa<WgmmaCommitOp>(op)) {
    call("wgmma_commit", none, {});
  } else if (auto wait = dyn_cast<WgmmaWaitOp>(op)) {
    call("wgmma_wait", none, {constant(wait.getPending())});
  } else {
    return false;
  }
  return true;
}

void Lowering::lower(Operation *op) {
  rewriter.setInsertionPoint(op);
  loc = op->getLoc();
  siteText = (function.getName() + " #" + Twine(sites++) + " " +
              op->getName().stripDialect())
                 .str();
  if (auto load = dyn_cast<LoadOp>(op);
      load && load.getCaching() == Caching::Streaming)
    siteText += " streaming";
  Value result;
  if (isa<ReturnOp>(op)) {
    LLVM::ReturnOp::create(rewriter, loc, ValueRange());
  } else if (isa<ThreadIdOp>(op)) {
    result = call("thread_id", i32, {}, false);
  } else if (isa<BlockIdOp>(op)) {
    result = call("block_id", i32, {}, false);
  } else if (isa<GridSizeOp>(op)) {
    result = call("grid_size", i32, {}, false);
  } else if (auto shared = dyn_cast<SharedOp>(op)) {
    Value base = call("shared", pointer, {}, false);
    Value at = LLVM::GEPOp::create(
        rewriter, loc, pointer, rewriter.getI8Type(), base,
        ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(shared.getOffset())});
    result = LLVM::AddrSpaceCastOp::create(rewriter, loc,
                                           shared.getResult().getType(), at);
  } else if (auto load = dyn_cast<LoadOp>(op)) {
    Type type = load.getResult().getType();
    result = LLVM::LoadOp::create(rewriter, loc, type,
                                  access(load.getPointer(), type, false), 1);
  } else if (auto store = dyn_cast<StoreOp>(op)) {
    Value value = store.getValue();
    LLVM::StoreOp::create(rewriter, loc, value,
                          access(store.getPointer(), value.getType(), true), 1);
  } else if (auto add = dyn_cast<AtomicAddOp>(op)) {
    Type type = add.getValue().getType();
    result = call(type.isF32() ? "atomic_add_f32" : "atomic_add_i32", type,
                  {generic(add.getPointer()), add.getValue()});
  } else if (auto copy = dyn_cast<AsyncCopyOp>(op)) {
    call("async_copy", none,
         {generic(copy.getTo()), generic(copy.getFrom()),
          constant(copy.getSize()), copy.getValid()});
  } else if (isa<AsyncCommitOp>(op)) {
    call("async_commit", none, {});
  } else if (auto wait = dyn_cast<AsyncWaitOp>(op)) {
    call("async_wait", none, {constant(wait.getPending())});
  } else if (isa<BarrierOp>(op)) {
    call("barrier", none, {constant(0), constant(0)});
  } else if (auto shuffle = dyn_cast<ShuffleOp>(op)) {
    Value got = call("shuffle", i32,
                     {asInteger(shuffle.getValue()), shuffle.getLane(),
                      constant(static_cast<int64_t>(shuffle.getKind()))});
    result = shuffle.getResult().getType().isF32()
                 ? arith::BitcastOp::create(rewriter, loc, f32, got).getResult()
                 : got;
  } else if (auto ballot = dyn_cast<BallotOp>(op)) {
    Value says =
        arith::ExtUIOp::create(rewriter, loc, i32, ballot.getPredicate());
    result = call("ballot", i32, {says});
  } else if (auto product = dyn_cast<MmaOp>(op)) {
    Value place = room(product.getResult().getType());
    SmallVector<Value> operands = {place, spilled(product.getA()),
                                   spilled(product.getB()),
                                   spilled(product.getC())};
    bool isTF32 = product.getKind() == MmaKind::TF32;
    bool isE4M3 = product.getKind() == MmaKind::E4M3;
    if (!isTF32 && !isE4M3)
      operands.push_back(constant(static_cast<int64_t>(product.getKind())));
    call(isE4M3   ? "mma_m16n8k32"
         : isTF32 ? "mma_m16n8k8"
                  : "mma_m16n8k16",
         none, operands);
    result = LLVM::LoadOp::create(rewriter, loc, product.getResult().getType(),
                                  place);
  } else if (auto matrix = dyn_cast<LoadMatrixOp>(op)) {
    auto type = cast<VectorType>(matrix.getResult().getType());
    Value place = room(type);
    call("ldmatrix", none,
         {place, generic(matrix.getRow()), constant(type.getNumElements()),
          constant(matrix.getTransposed())});
    result = LLVM::LoadOp::create(rewriter, loc, type, place);
  } else if (auto product = dyn_cast<WgmmaOp>(op)) {
    result = wgmma(product);
  } else if (auto product = dyn_cast<WgmmaRegistersOp>(op)) {
    auto type = cast<VectorType>(product.getC().getType());
    Value place = room(type);
    call("wgmma_registers", none,
         {place, spilled(product.getA()), generic(product.getB()),
          spilled(product.getC()), constant(2 * type.getNumElements()),
          constant(product.getFirst()),
          constant(product.getA().getType().getNumElements() / 4),
          constant(static_cast<int64_t>(product.getKind()))});
    result = LLVM::LoadOp::create(rewriter, loc, type, place, kAlignment);
  } else if (auto finish = dyn_cast<WgmmaFinishOp>(op)) {
    auto type = cast<VectorType>(finish.getSums().getType());
    Value place = room(type);
    call("wgmma_finish", none,
         {place, spilled(finish.getSums()), constant(type.getNumElements())});
    result = LLVM::LoadOp::create(rewriter, loc, type, place, kAlignment);
  } else if (auto round = dyn_cast<RoundTF32Op>(op)) {
    result = call("round_tf32", i32, {round.getOperand()}, false);
  } else if (isa<RoundE4M3Op>(op)) {
    result = call("round_e4m3", i32, op->getOperands(), false);
  } else if (auto fma = dyn_cast<PackedFmaOp>(op)) {
    result = call("packed_fma", i32,
                  {fma.getA(), fma.getB(), fma.getC(),
                   constant(static_cast<int64_t>(fma.getKind()))},
                  false);
  } else if (auto permute = dyn_cast<PermuteBytesOp>(op)) {
    result = call("permute_bytes", i32,
                  {permute.getLow(), permute.getHigh(), permute.getSelector()},
                  false);
  } else if (auto power = dyn_cast<Exp2Op>(op)) {
    result = call("exp2", f32, {power.getOperand()}, false);
  } else if (auto inverse = dyn_cast<ReciprocalOp>(op)) {
    result = call("reciprocal", f32, {inverse.getOperand()}, false);
  } else if (!lowerBarrier(op)) {
    return;
  }
  if (op->getNumResults())
    rewriter.replaceOp(op, result);
  else
    rewriter.eraseOp(op);
}

/// A function of one pointer, which finds the arguments behind it.
static void lowerKernel(KernelOp kernel, IRRewriter &rewriter) {
  ModuleOp module = kernel->getParentOfType<ModuleOp>();
  Location loc = kernel.getLoc();
  rewriter.setInsertionPoint(kernel);
  Type pointer = LLVM::LLVMPointerType::get(kernel.getContext());
  auto function = LLVM::LLVMFuncOp::create(
      rewriter, loc, kernel.getSymName(),
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(kernel.getContext()),
                                  {pointer}));
  Block *entry = function.addEntryBlock(rewriter);
  rewriter.setInsertionPointToStart(entry);
  SmallVector<Value> arguments;
  for (auto [i, type] : llvm::enumerate(kernel.getArgumentTypes())) {
    Value place = LLVM::LoadOp::create(
        rewriter, loc, pointer,
        LLVM::GEPOp::create(rewriter, loc, pointer, pointer,
                            entry->getArgument(0),
                            ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i)}));
    auto address = dyn_cast<LLVM::LLVMPointerType>(type);
    if (address && address.getAddressSpace() == kTensorMap) {
      arguments.push_back(place); // by value
      continue;
    }
    bool isPointer = static_cast<bool>(address);
    Value value =
        LLVM::LoadOp::create(rewriter, loc, isPointer ? pointer : type, place);
    arguments.push_back(
        isPointer ? LLVM::AddrSpaceCastOp::create(rewriter, loc, type, value)
                        .getResult()
                  : value);
  }
  Block *body = &kernel.getBody().front();
  rewriter.inlineRegionBefore(kernel.getBody(), function.getBody(),
                              function.getBody().end());
  rewriter.mergeBlocks(body, entry, arguments);
  rewriter.eraseOp(kernel);
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) {
    if (isa<MoEGPUDialect>(op->getDialect()))
      ops.push_back(op);
  });
  Lowering lowering(rewriter, module, function);
  for (Operation *op : ops)
    lowering.lower(op);
}

namespace {
struct MoEGPUToEmulatorPass
    : moe::impl::MoEGPUToEmulatorPassBase<MoEGPUToEmulatorPass> {
  using MoEGPUToEmulatorPassBase::MoEGPUToEmulatorPassBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    for (KernelOp kernel :
         llvm::make_early_inc_range(getOperation().getOps<KernelOp>()))
      lowerKernel(kernel, rewriter);
  }
};
} // namespace
