#include "codegen/CUDA/InlinePtx.h"
#include "codegen/CUDA/Passes.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace moe;
using namespace moe::moegpu;

/// Address space of shared memory as blocks of a cluster see it.
static constexpr unsigned kSharedOfCluster = 7;

namespace moe {
#define GEN_PASS_DEF_MOEGPUTONVVMPASS
#include "codegen/CUDA/Passes.h.inc"
} // namespace moe

/// The symbol of dynamic shared memory, which starts at it.
static constexpr const char *kSharedSymbol = "moegpu_shared";

namespace {
/// Replaces the ops of one kernel.
class Lowering {
public:
  explicit Lowering(IRRewriter &rewriter)
      : rewriter(rewriter), i32(rewriter.getI32Type()) {}

  void lower(Operation *op);

private:
  Value constant(int64_t value) {
    return arith::ConstantIntOp::create(rewriter, loc, value, 32);
  }
  Value inlinePtx(ptx::Inline text, Type result, ValueRange operands,
                  bool hasSideEffects = false) {
    return LLVM::InlineAsmOp::create(
               rewriter, loc, result, operands, text.text, text.constraints,
               hasSideEffects, /*is_align_stack=*/false,
               LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
        .getResult(0);
  }
  /// Numbers of a vector.
  SmallVector<Value> parts(Value vector) {
    SmallVector<Value> values;
    for (int64_t i = 0; i < cast<VectorType>(vector.getType()).getNumElements();
         ++i)
      values.push_back(vector::ExtractOp::create(rewriter, loc, vector, i));
    return values;
  }
  /// A vector of the members of a struct.
  Value gather(Value members, VectorType type) {
    SmallVector<Value> values;
    for (int64_t i = 0; i < type.getNumElements(); ++i)
      values.push_back(LLVM::ExtractValueOp::create(rewriter, loc, members, i));
    return vector::FromElementsOp::create(rewriter, loc, type, values);
  }
  Value load(LoadOp op);
  Value mma(MmaOp op);
  Value loadMatrix(LoadMatrixOp op);
  Value descriptor(Value address);
  Value wgmma(WgmmaOp op);
  Value wgmma(WgmmaRegistersOp op);
  Value finish(WgmmaFinishOp op);
  bool lowerBarrier(Operation *op);

  IRRewriter &rewriter;
  Type i32;
  Location loc = UnknownLoc::get(rewriter.getContext());
};
} // namespace

Value Lowering::load(LoadOp op) {
  Type type = op.getResult().getType();
  if (op.getCaching() == Caching::All)
    return LLVM::LoadOp::create(rewriter, loc, type, op.getPointer(),
                                sizeOf(type));
  auto registers = VectorType::get({4}, i32);
  auto members = LLVM::LLVMStructType::getLiteral(rewriter.getContext(),
                                                  SmallVector<Type>(4, i32));
  Value loaded = gather(
      inlinePtx(ptx::kLoadStreaming, members, op.getPointer()), registers);
  return type == registers ? loaded
                           : vector::BitCastOp::create(
                                 rewriter, loc, cast<VectorType>(type), loaded)
                                 .getResult();
}

Value Lowering::mma(MmaOp op) {
  bool isTF32 = op.getKind() == MmaKind::TF32;
  SmallVector<Value> a = parts(op.getA()), b = parts(op.getB());
  // NVVM wants f16 as vectors of two, others as integers.
  auto halves = VectorType::get({2}, rewriter.getF16Type());
  if (op.getKind() == MmaKind::F16)
    for (SmallVector<Value> *registers : {&a, &b})
      for (Value &value : *registers)
        value = LLVM::BitcastOp::create(rewriter, loc, halves, value);
  auto result = LLVM::LLVMStructType::getLiteral(
      rewriter.getContext(), SmallVector<Type>(4, rewriter.getF32Type()));
  if (op.getKind() == MmaKind::E4M3) {
    SmallVector<Value> all = std::move(a);
    all.append(b);
    all.append(parts(op.getC()));
    // All lanes reach it: it must not move to where some do not go.
    return gather(inlinePtx(ptx::kMmaE4M3, result, all,
                            /*hasSideEffects=*/true),
                  cast<VectorType>(op.getResult().getType()));
  }
  static const NVVM::MMATypes types[] = {
      NVVM::MMATypes::bf16, NVVM::MMATypes::f16, NVVM::MMATypes::tf32};
  NVVM::MMATypes type = types[static_cast<int>(op.getKind())];
  Value made = NVVM::MmaOp::create(
      rewriter, loc, result, a, b, parts(op.getC()),
      ArrayRef<int64_t>{16, 8, isTF32 ? 8 : 16}, std::nullopt, std::nullopt,
      std::array<NVVM::MMATypes, 2>{type, type},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  return gather(made, cast<VectorType>(op.getResult().getType()));
}

Value Lowering::loadMatrix(LoadMatrixOp op) {
  auto type = cast<VectorType>(op.getResult().getType());
  int32_t count = type.getNumElements();
  auto members = LLVM::LLVMStructType::getLiteral(
      rewriter.getContext(), SmallVector<Type>(count, i32));
  MLIRContext *context = rewriter.getContext();
  Value made = NVVM::LdMatrixOp::create(
      rewriter, loc, members, op.getRow(), count,
      op.getTransposed() ? NVVM::MMALayout::col : NVVM::MMALayout::row,
      NVVM::LdStMatrixShapeAttr::get(context, 8, 8),
      NVVM::LdStMatrixEltType::B16);
  return gather(made, type);
}

/// Of rows of 128 bytes that follow each other, with the 128-byte swizzle: the
/// address and 1024, from 8 rows to the next, in units of 16 bytes. PTX ISA,
/// "Matrix Descriptor Format".
Value Lowering::descriptor(Value address) {
  Type i64 = rewriter.getI64Type();
  auto number = [&](int64_t value) {
    return arith::ConstantIntOp::create(rewriter, loc, value, 64);
  };
  Value at = LLVM::PtrToIntOp::create(rewriter, loc, i64, address);
  at = arith::AndIOp::create(rewriter, loc, at, number(0x3FFFF));
  at = arith::ShRUIOp::create(rewriter, loc, at, number(4));
  return arith::OrIOp::create(
      rewriter, loc, at,
      number(int64_t(1) << 62 | int64_t(64) << 32 | int64_t(1) << 16));
}

/// Sums that start from zero need no registers that hold it: these would be set
/// behind the fence, where nothing but `wgmma` may touch them.
static bool areZero(Value sums) { return matchPattern(sums, m_AnyZeroFloat()); }

Value Lowering::wgmma(WgmmaOp op) {
  auto type = cast<VectorType>(op.getC().getType());
  int64_t count = type.getNumElements();
  auto members = LLVM::LLVMStructType::getLiteral(
      rewriter.getContext(), SmallVector<Type>(count, rewriter.getF32Type()));
  Value sums = LLVM::PoisonOp::create(rewriter, loc, members);
  bool startsFromZero = areZero(op.getC());
  if (!startsFromZero)
    for (auto [i, part] : llvm::enumerate(parts(op.getC())))
      sums = LLVM::InsertValueOp::create(rewriter, loc, sums, part, i);
  Value a = descriptor(op.getA()), b = descriptor(op.getB());
  bool isByte = op.getKind() == MmaKind::E4M3;
  NVVM::WGMMATypes number = isByte ? NVVM::WGMMATypes::e4m3
                            : op.getKind() == MmaKind::BF16
                                ? NVVM::WGMMATypes::bf16
                                : NVVM::WGMMATypes::f16;
  for (int64_t step = 0; step < 4; ++step) {
    // 32 bytes of each row.
    auto at = [&](Value descriptor) -> Value {
      return step == 0 ? descriptor
                       : arith::AddIOp::create(rewriter, loc, descriptor,
                                               arith::ConstantIntOp::create(
                                                   rewriter, loc, 2 * step, 64))
                             .getResult();
    };
    sums = NVVM::WgmmaMmaAsyncOp::create(
        rewriter, loc, members, sums, at(a), at(b),
        NVVM::MMAShapeAttr::get(rewriter.getContext(), 64,
                                static_cast<int>(2 * count), isByte ? 32 : 16),
        number, number, NVVM::WGMMATypes::f32,
        step == 0 && startsFromZero ? NVVM::WGMMAScaleOut::zero
                                    : NVVM::WGMMAScaleOut::one,
        NVVM::WGMMAScaleIn::one, NVVM::WGMMAScaleIn::one, NVVM::MMALayout::row,
        NVVM::MMALayout::col, NVVM::MMAIntOverflowAttr());
  }
  return gather(sums, type);
}

/// NVVM's op takes rows from shared memory alone.
Value Lowering::wgmma(WgmmaRegistersOp op) {
  auto type = cast<VectorType>(op.getC().getType());
  int64_t count = type.getNumElements();
  auto members = LLVM::LLVMStructType::getLiteral(
      rewriter.getContext(), SmallVector<Type>(count, rewriter.getF32Type()));
  bool startsFromZero = areZero(op.getC());
  SmallVector<Value> sums, a = parts(op.getA());
  if (startsFromZero)
    sums.assign(count,
                LLVM::PoisonOp::create(rewriter, loc, rewriter.getF32Type()));
  else
    sums = parts(op.getC());
  Value b = descriptor(op.getB());
  // Rows of bytes have one order alone, with no operand for it.
  bool isByte = op.getKind() == MmaKind::E4M3;
  std::string text, constraints;
  llvm::raw_string_ostream(text)
      << ptx::kWgmmaRegisters << 2 * count
      << (isByte                          ? "k32.f32.e4m3.e4m3"
          : op.getKind() == MmaKind::BF16 ? "k16.f32.bf16.bf16"
                                          : "k16.f32.f16.f16")
      << " {";
  for (int64_t i = 0; i < count; ++i) {
    text += (i ? ", $" : "$") + std::to_string(i);
    constraints += "=f,";
  }
  // Behind the results: registers of rows, the descriptor, then the sums again.
  auto operand = [&](int64_t i) { return "$" + std::to_string(count + i); };
  text += "}, {" + operand(0) + ", " + operand(1) + ", " + operand(2) + ", " +
          operand(3) + "}, " + operand(4);
  constraints += "r,r,r,r,l";
  for (int64_t i = 0; i < count; ++i)
    constraints += "," + std::to_string(i);
  Value made;
  for (size_t step = 0; step < a.size() / 4; ++step) {
    Value at = arith::AddIOp::create(
        rewriter, loc, b,
        arith::ConstantIntOp::create(rewriter, loc, 2 * (op.getFirst() + step),
                                     64));
    SmallVector<Value> operands(a.begin() + 4 * step, a.begin() + 4 * step + 4);
    operands.push_back(at);
    operands.append(sums);
    std::string ofStep = text + (step == 0 && startsFromZero ? ", 0" : ", 1") +
                         (isByte ? ", 1, 1;" : ", 1, 1, 0;");
    made = LLVM::InlineAsmOp::create(rewriter, loc, members, operands, ofStep,
                                     constraints, /*has_side_effects=*/true,
                                     /*is_align_stack=*/false,
                                     LLVM::TailCallKind::None,
                                     LLVM::AsmDialectAttr(), ArrayAttr())
               .getResult(0);
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = LLVM::ExtractValueOp::create(rewriter, loc, made, i);
  }
  return gather(made, type);
}

/// Waits with the sums as operands, so that nothing that uses them moves to
/// before it.
Value Lowering::finish(WgmmaFinishOp op) {
  auto type = cast<VectorType>(op.getSums().getType());
  int64_t count = type.getNumElements();
  std::string constraints;
  for (int64_t i = 0; i < count; ++i)
    constraints += "=f,";
  for (int64_t i = 0; i < count; ++i)
    constraints += std::to_string(i) + ",";
  constraints.pop_back();
  auto members = LLVM::LLVMStructType::getLiteral(
      rewriter.getContext(), SmallVector<Type>(count, rewriter.getF32Type()));
  Value made = LLVM::InlineAsmOp::create(
                   rewriter, loc, members, parts(op.getSums()), ptx::kWgmmaWait,
                   constraints, /*has_side_effects=*/true,
                   /*is_align_stack=*/false, LLVM::TailCallKind::None,
                   LLVM::AsmDialectAttr(), ArrayAttr())
                   .getResult(0);
  return gather(made, type);
}

/// What threads of sm_90 wait for; false where the op is another.
bool Lowering::lowerBarrier(Operation *op) {
  if (auto init = dyn_cast<MBarrierInitOp>(op)) {
    NVVM::MBarrierInitOp::create(rewriter, loc, init.getBarrier(),
                                 constant(init.getCount()), Value());
  } else if (auto arrive = dyn_cast<MBarrierArriveOp>(op)) {
    NVVM::MBarrierArriveOp::create(rewriter, loc, rewriter.getI64Type(),
                                   arrive.getBarrier());
  } else if (auto expect = dyn_cast<MBarrierExpectOp>(op)) {
    NVVM::MBarrierArriveExpectTxOp::create(
        rewriter, loc, Type(), expect.getBarrier(), constant(expect.getBytes()),
        NVVM::MemScopeKind::CTA,
        /*relaxed=*/false, Value());
  } else if (auto arrive = dyn_cast<MBarrierArriveCopiesOp>(op)) {
    NVVM::CpAsyncMBarrierArriveOp::create(rewriter, loc, arrive.getBarrier(),
                                          /*noinc=*/true);
  } else if (auto wait = dyn_cast<MBarrierWaitOp>(op)) {
    NVVM::MBarrierTryWaitParityOp::create(rewriter, loc, wait.getBarrier(),
                                          wait.getParity(), constant(1000000));
  } else if (auto load = dyn_cast<TensorLoadOp>(op)) {
    // As a cluster sees it, of which the block is all: the form that PTX 8.0
    // has. Addresses are the same.
    Value place = LLVM::PtrToIntOp::create(rewriter, loc, rewriter.getI64Type(),
                                           load.getTo());
    Value to = LLVM::IntToPtrOp::create(
        rewriter, loc,
        LLVM::LLVMPointerType::get(rewriter.getContext(), kSharedOfCluster),
        place);
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        rewriter, loc, to, load.getMap(),
        ValueRange{load.getDepth(), load.getRow(), load.getMatrix()},
        load.getBarrier(), ValueRange(), Value(), Value(),
        NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false, NVVM::CTAGroupKindAttr(),
        Value());
  } else if (isa<ProxyFenceOp>(op)) {
    MLIRContext *context = rewriter.getContext();
    NVVM::FenceProxyOp::create(
        rewriter, loc,
        NVVM::ProxyKindAttr::get(context, NVVM::ProxyKind::async_shared),
        NVVM::SharedSpaceAttr::get(context, NVVM::SharedSpace::shared_cta));
  } else if (auto barrier = dyn_cast<NamedBarrierOp>(op)) {
    NVVM::BarrierOp::create(rewriter, loc, TypeRange(), barrier.getId(),
                            constant(barrier.getThreads()),
                            NVVM::BarrierReductionAttr(), Value());
  } else if (auto registers = dyn_cast<MaxRegistersOp>(op)) {
    NVVM::SetMaxRegisterOp::create(rewriter, loc, registers.getCount(),
                                   registers.getIncrease()
                                       ? NVVM::SetMaxRegisterAction::increase
                                       : NVVM::SetMaxRegisterAction::decrease);
  } else if (isa<WgmmaFenceOp>(op)) {
    NVVM::WgmmaFenceAlignedOp::create(rewriter, loc);
  } else if (isa<WgmmaCommitOp>(op)) {
    NVVM::WgmmaGroupSyncAlignedOp::create(rewriter, loc);
  } else if (auto wait = dyn_cast<WgmmaWaitOp>(op)) {
    NVVM::WgmmaWaitGroupSyncOp::create(rewriter, loc, wait.getPending());
  } else {
    return false;
  }
  return true;
}

void Lowering::lower(Operation *op) {
  rewriter.setInsertionPoint(op);
  loc = op->getLoc();
  Value result;
  if (isa<ReturnOp>(op)) {
    LLVM::ReturnOp::create(rewriter, loc, ValueRange());
  } else if (isa<ThreadIdOp>(op)) {
    result = NVVM::ThreadIdXOp::create(rewriter, loc, i32);
  } else if (isa<BlockIdOp>(op)) {
    result = NVVM::BlockIdXOp::create(rewriter, loc, i32);
  } else if (isa<GridSizeOp>(op)) {
    result = NVVM::GridDimXOp::create(rewriter, loc, i32);
  } else if (auto shared = dyn_cast<SharedOp>(op)) {
    Type pointer = shared.getResult().getType();
    Value base =
        LLVM::AddressOfOp::create(rewriter, loc, pointer, kSharedSymbol);
    result = LLVM::GEPOp::create(
        rewriter, loc, pointer, rewriter.getI8Type(), base,
        ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(shared.getOffset())});
  } else if (auto load = dyn_cast<LoadOp>(op)) {
    result = this->load(load);
  } else if (auto store = dyn_cast<StoreOp>(op)) {
    LLVM::StoreOp::create(rewriter, loc, store.getValue(), store.getPointer(),
                          sizeOf(store.getValue().getType()));
  } else if (auto add = dyn_cast<AtomicAddOp>(op)) {
    result = LLVM::AtomicRMWOp::create(
        rewriter, loc,
        add.getValue().getType().isF32() ? LLVM::AtomicBinOp::fadd
                                         : LLVM::AtomicBinOp::add,
        add.getPointer(), add.getValue(), LLVM::AtomicOrdering::monotonic,
        "device");
  } else if (auto copy = dyn_cast<AsyncCopyOp>(op)) {
    int32_t size = copy.getSize();
    NVVM::CpAsyncOp::create(rewriter, loc, copy.getTo(), copy.getFrom(), size,
                            size == 16 ? NVVM::LoadCacheModifierKind::CG
                                       : NVVM::LoadCacheModifierKind::CA,
                            copy.getValid());
  } else if (isa<AsyncCommitOp>(op)) {
    NVVM::CpAsyncCommitGroupOp::create(rewriter, loc);
  } else if (auto wait = dyn_cast<AsyncWaitOp>(op)) {
    NVVM::CpAsyncWaitGroupOp::create(rewriter, loc, wait.getPending());
  } else if (isa<BarrierOp>(op)) {
    NVVM::BarrierOp::create(rewriter, loc, TypeRange(), Value(), Value(),
                            NVVM::BarrierReductionAttr(), Value());
  } else if (auto shuffle = dyn_cast<ShuffleOp>(op)) {
    static const NVVM::ShflKind kinds[] = {
        NVVM::ShflKind::bfly, NVVM::ShflKind::up, NVVM::ShflKind::down,
        NVVM::ShflKind::idx};
    bool isUp = shuffle.getKind() == ShuffleKind::Up;
    result = NVVM::ShflOp::create(
        rewriter, loc, shuffle.getValue().getType(), constant(-1),
        shuffle.getValue(), shuffle.getLane(), constant(isUp ? 0 : 31),
        kinds[static_cast<int>(shuffle.getKind())], UnitAttr());
  } else if (auto ballot = dyn_cast<BallotOp>(op)) {
    result = NVVM::VoteSyncOp::create(rewriter, loc, i32, constant(-1),
                                      ballot.getPredicate(),
                                      NVVM::VoteSyncKind::ballot);
  } else if (auto product = dyn_cast<MmaOp>(op)) {
    result = mma(product);
  } else if (auto matrix = dyn_cast<LoadMatrixOp>(op)) {
    result = loadMatrix(matrix);
  } else if (auto product = dyn_cast<WgmmaOp>(op)) {
    result = wgmma(product);
  } else if (auto product = dyn_cast<WgmmaRegistersOp>(op)) {
    result = wgmma(product);
  } else if (auto sums = dyn_cast<WgmmaFinishOp>(op)) {
    result = finish(sums);
  } else if (auto round = dyn_cast<RoundTF32Op>(op)) {
    result = inlinePtx(ptx::kRoundTF32, i32, round.getOperand());
  } else if (isa<RoundE4M3Op>(op)) {
    result = inlinePtx(ptx::kRoundE4M3, i32, op->getOperands());
  } else if (auto fma = dyn_cast<PackedFmaOp>(op)) {
    result = inlinePtx(fma.getKind() == MmaKind::BF16 ? ptx::kPackedFmaBF16
                                                      : ptx::kPackedFmaF16,
                       i32, fma->getOperands());
  } else if (isa<PermuteBytesOp>(op)) {
    result = inlinePtx(ptx::kPermuteBytes, i32, op->getOperands());
  } else if (auto power = dyn_cast<Exp2Op>(op)) {
    result = inlinePtx(ptx::kExp2, rewriter.getF32Type(), power.getOperand());
  } else if (auto inverse = dyn_cast<ReciprocalOp>(op)) {
    result = inlinePtx(ptx::kReciprocal, rewriter.getF32Type(),
                       inverse.getOperand());
  } else if (!lowerBarrier(op)) {
    return;
  }
  if (op->getNumResults())
    rewriter.replaceOp(op, result);
  else
    rewriter.eraseOp(op);
}

static void lowerKernel(KernelOp kernel, IRRewriter &rewriter) {
  rewriter.setInsertionPoint(kernel);
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(kernel.getContext()), kernel.getArgumentTypes());
  auto function = LLVM::LLVMFuncOp::create(rewriter, kernel.getLoc(),
                                           kernel.getSymName(), type);
  function->setAttr("nvvm.kernel", rewriter.getUnitAttr());
  function->setAttr("nvvm.maxntid",
                    rewriter.getDenseI32ArrayAttr(
                        {static_cast<int32_t>(kernel.getThreads())}));
  // Without it ptxas does not know the number of registers.
  function->setAttr("nvvm.minctasm", rewriter.getI32IntegerAttr(1));
  // Tensor maps are parameters by value, where the hardware reads them.
  for (auto [i, type] : llvm::enumerate(kernel.getArgumentTypes())) {
    auto pointer = dyn_cast<LLVM::LLVMPointerType>(type);
    if (!pointer || pointer.getAddressSpace() != kTensorMap)
      continue;
    auto bytes =
        LLVM::LLVMArrayType::get(rewriter.getI8Type(), kTensorMapBytes);
    function.setArgAttr(i, "llvm.byval", TypeAttr::get(bytes));
    function.setArgAttr(i, "nvvm.grid_constant", rewriter.getUnitAttr());
    function.setArgAttr(i, "llvm.align", rewriter.getI64IntegerAttr(128));
  }
  rewriter.inlineRegionBefore(kernel.getBody(), function.getBody(),
                              function.getBody().end());
  rewriter.eraseOp(kernel);
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) {
    if (isa<MoEGPUDialect>(op->getDialect()))
      ops.push_back(op);
  });
  Lowering lowering(rewriter);
  for (Operation *op : ops)
    lowering.lower(op);
}

namespace {
struct MoEGPUToNVVMPass : moe::impl::MoEGPUToNVVMPassBase<MoEGPUToNVVMPass> {
  using MoEGPUToNVVMPassBase::MoEGPUToNVVMPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<KernelOp> kernels(module.getOps<KernelOp>());
    if (kernels.empty())
      return;
    IRRewriter rewriter(&getContext());
    rewriter.setInsertionPointToStart(module.getBody());
    if (!module.lookupSymbol(kSharedSymbol))
      LLVM::GlobalOp::create(rewriter, module.getLoc(),
                             LLVM::LLVMArrayType::get(rewriter.getI8Type(), 0),
                             /*isConstant=*/false, LLVM::Linkage::External,
                             kSharedSymbol, Attribute(), /*alignment=*/1024,
                             kShared);
    for (KernelOp kernel : kernels)
      lowerKernel(kernel, rewriter);
  }
};
} // namespace
