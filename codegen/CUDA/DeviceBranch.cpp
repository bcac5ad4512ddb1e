// Host code around kernels: which memory is on the device, and when it is
// copied.
#include "codegen/CUDA/DeviceBranch.h"
#include "codegen/CUDA/FaultChecks.h"
#include "codegen/CUDA/LaunchChoice.h"
#include "codegen/CUDA/MemoryUses.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

BranchKind moe::cuda::branchOf(Operation *op) {
  BranchKind kind = BranchKind::Both; // of the outermost
  for (; op; op = op->getParentOp())
    if (auto either = dyn_cast_or_null<scf::IfOp>(op->getParentOp()))
      if (either.getCondition().getDefiningOp<moert::OnDeviceOp>())
        kind = op->getParentRegion() == &either.getThenRegion()
                   ? BranchKind::Device
                   : BranchKind::Processor;
  return kind;
}

/// Memory of the device of the shape that `memory` has.
static Value allocateLike(OpBuilder &builder, Location loc, Value memory) {
  auto type = cast<MemRefType>(memory.getType());
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < type.getRank(); ++d)
    if (type.isDynamicDim(d))
      sizes.push_back(memref::DimOp::create(builder, loc, memory, d));
  return moert::DeviceAllocOp::create(builder, loc, type, sizes);
}

/// What is not the kernel's own.
static SmallVector<Value> memoriesOf(const OpKernel &kernel) {
  return llvm::filter_to_vector(kernel.memories,
                                [](Value memory) { return bool(memory); });
}

/// Whether the model can give `memory` out as what is on the device.
static bool isPresentable(Value memory) {
  Operation *root = rootOf(memory).getDefiningOp();
  return isa_and_nonnull<moert::CacheOp>(root) ||
         (isa_and_nonnull<memref::AllocOp>(root) &&
          cast<MemRefType>(memory.getType()).getLayout().isIdentity());
}

namespace {
class Branch {
public:
  Branch(Block &block, DeviceTables &tables)
      : block(block), tables(tables), launches(chooseLaunches(block, tables)) {}

  BranchFacts rewrite();

private:
  /// Memory that both touch: which copies are good.
  struct Copies {
    Value device;
    bool onHost = true, onDevice = false;
    bool isChanged = false; ///< by the processor
  };

  bool isOnDevice(Operation *op) const { return launches.contains(op); }
  void placeRoots();
  void placeRoot(Value root, bool byDevice, bool byHost);
  void follow(Operation *op);
  Value onDevice(Value memory) const { return twins.lookup(memory); }
  void makeGood(Operation *before, Value memory, bool onHost);
  void launch(Operation *op, const Launch &launch);
  void launchKernel(OpBuilder &builder, Location loc, const OpKernel &kernel);
  void handOut();
  void retire();

  Block &block;
  DeviceTables &tables;
  Launches launches;
  DenseMap<Value, Value> twins;          // on the device
  llvm::MapVector<Value, Copies> copies; // of roots that both touch
  SmallVector<Operation *> retired;      // whose memory is the device's alone
  FaultChecks faults;
  BranchFacts facts;
};
} // namespace

void Branch::placeRoot(Value root, bool byDevice, bool byHost) {
  if (!byDevice)
    return;
  auto type = cast<MemRefType>(root.getType());
  Operation *op = root.getDefiningOp();
  OpBuilder builder(block.getParent());
  if (op)
    builder.setInsertionPointAfter(op);
  else
    builder.setInsertionPointToStart(&block);
  Location loc = root.getLoc();
  if (isa_and_nonnull<memref::GetGlobalOp, moert::WeightRefOp>(op)) {
    twins[root] = moert::DeviceConstantOp::create(builder, loc, type, root);
    return;
  }
  if (auto cache = dyn_cast_or_null<moert::CacheOp>(op)) {
    twins[root] = moert::DeviceCacheOp::create(
        builder, loc, type, cache.getPast(), cache.getFresh(), cache.getInput(),
        cache.getOutput());
    retired.push_back(op);
    return;
  }
  auto alloc = dyn_cast_or_null<memref::AllocOp>(op);
  // Not by asking for the shape of what may be retired.
  Value device = alloc ? moert::DeviceAllocOp::create(builder, loc, type,
                                                      alloc.getDynamicSizes())
                             .getResult()
                       : allocateLike(builder, loc, root);
  twins[root] = device;
  if (alloc && !byHost) {
    retired.push_back(alloc);
    return;
  }
  copies[root] = {device, true, alloc != nullptr};
}

void Branch::placeRoots() {
  llvm::MapVector<Value, std::pair<bool, bool>> users;
  for (Operation &op : block)
    for (Value memory : memoriesOf(&op)) {
      auto &[byDevice, byHost] = users[rootOf(memory)];
      if (&op == block.getTerminator() && isPresentable(memory))
        continue;
      (isOnDevice(&op) ? byDevice : byHost) = true;
    }
  // Packed weights have their own way to the device.
  for (auto &[op, launch] : launches)
    if (launch.layer)
      for (Value memory : op->getOperands())
        if (isa_and_nonnull<moert::WeightRefOp>(rootOf(memory).getDefiningOp()))
          users[rootOf(memory)].first = false;
  for (auto &[op, launch] : launches)
    if (launch.kernel)
      for (Value memory : memoriesOf(*launch.kernel))
        users[rootOf(memory)].first = true;
  for (auto &[root, by] : users)
    placeRoot(root, by.first, by.second);
}

/// Views of what has a twin have one, too; so does the end of its life.
void Branch::follow(Operation *op) {
  if (auto end = dyn_cast<memref::DeallocOp>(op)) {
    Value device = onDevice(end.getMemref());
    if (!device)
      return;
    OpBuilder builder(op);
    moert::DeviceFreeOp::create(builder, op->getLoc(), device);
    if (llvm::is_contained(retired, end.getMemref().getDefiningOp()))
      end.erase();
    return;
  }
  Value source = viewedBy(op);
  Value device = source ? onDevice(source) : Value();
  if (!device)
    return;
  OpBuilder builder(op->getContext());
  builder.setInsertionPointAfter(op);
  Operation *view = builder.clone(*op);
  view->replaceUsesOfWith(source, device);
  twins[op->getResult(0)] = view->getResult(0);
}

/// Sees that `memory` is good where `before` touches it.
void Branch::makeGood(Operation *before, Value memory, bool onHost) {
  auto found = copies.find(rootOf(memory));
  if (found == copies.end())
    return;
  auto &[root, state] = *found;
  OpBuilder builder(before);
  Location loc = before->getLoc();
  // What the caller gave goes first, so that launches follow one another.
  if (!onHost && isa<BlockArgument>(root) && !state.isChanged)
    builder.setInsertionPointAfterValue(state.device);
  bool isWanted = !overwrites(before, memory);
  if (onHost && !state.onHost && isWanted)
    moert::TransferOp::create(builder, loc, moert::Direction::Down,
                              state.device, root);
  if (!onHost && !state.onDevice && isWanted)
    moert::TransferOp::create(builder, loc, moert::Direction::Up, root,
                              state.device);
  (onHost ? state.onHost : state.onDevice) = true;
  if (writes(before, memory)) {
    (onHost ? state.onDevice : state.onHost) = false;
    state.isChanged |= onHost;
  }
}

/// With the kernels that follow.
void Branch::launchKernel(OpBuilder &builder, Location loc,
                          const OpKernel &kernel) {
  Value scratch;
  if (kernel.scratch)
    scratch = moert::DeviceAllocOp::create(
        builder, loc,
        MemRefType::get({ShapedType::kDynamic}, builder.getF32Type()),
        kernel.scratch);
  auto start = [&](const OpKernel &started) {
    OpBuilder at = builder;
    if (started.onlyIf)
      at = scf::IfOp::create(builder, loc, started.onlyIf).getThenBodyBuilder();
    SmallVector<Value> memories;
    for (Value memory : started.memories)
      memories.push_back(memory ? onDevice(memory) : scratch);
    if (started.takesFaults)
      memories.push_back(faults.add(at, loc, started));
    moert::LaunchOp::create(at, loc, tables.kernelNumber(started.name),
                            memories, started.numbers);
  };
  start(kernel);
  for (const OpKernel &follower : kernel.followers)
    start(follower);
  if (scratch)
    moert::DeviceFreeOp::create(builder, loc, scratch);
}

void Branch::launch(Operation *op, const Launch &launch) {
  OpBuilder builder(op);
  Location loc = op->getLoc();
  auto device = [&](Value memory) {
    return memory ? onDevice(memory) : Value();
  };
  if (auto experts = dyn_cast<moert::ExpertFfnOp>(op)) {
    moert::LaunchLayerOp::create(
        builder, loc, *launch.layer, device(experts.getX()),
        device(experts.getIds()), device(experts.getWeights()),
        device(experts.getResidual()), device(experts.getOuts()));
  } else if (auto gemm = dyn_cast<moert::GemmOp>(op)) {
    moert::LaunchLayerOp::create(
        builder, loc, *launch.layer, device(gemm.getX()), Value(), Value(),
        device(gemm.getResidual()), device(gemm.getOuts()));
  } else {
    launchKernel(builder, loc, *launch.kernel);
  }
  op->erase();
}

/// Outputs of the model that only the device touches stay there.
void Branch::handOut() {
  Operation *terminator = block.getTerminator();
  OpBuilder end(terminator);
  for (OpOperand &given : terminator->getOpOperands()) {
    Value root = rootOf(given.get());
    bool isCache = isa_and_nonnull<moert::CacheOp>(root.getDefiningOp());
    Value device = onDevice(isCache ? root : given.get());
    if (!device || copies.contains(root) || !isPresentable(given.get()))
      continue;
    given.set(moert::DevicePresentOp::create(end, root.getLoc(),
                                             given.get().getType(), device));
  }
}

/// Takes away memory of the host that nobody touches any more.
void Branch::retire() {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (viewedBy(&op) && op.use_empty())
      op.erase();
  for (Operation *op : retired) {
    // Its shape may still be asked for.
    op->getResult(0).replaceAllUsesWith(onDevice(op->getResult(0)));
    op->erase();
  }
}

BranchFacts Branch::rewrite() {
  // What is recorded of layers, only the processor records (moert_on_device).
  // Phases are true here, too: recording them waits for each launch.
  for (Operation &op : llvm::make_early_inc_range(block))
    if (isa<moert::ObserveOp>(op))
      op.erase();
  placeRoots();
  faults.place(block, llvm::count_if(launches, [](auto &entry) {
                 return entry.second.kernel && entry.second.kernel->takesFaults;
               }));
  for (Operation &op : llvm::make_early_inc_range(block)) {
    auto found = launches.find(&op);
    bool isLaunched = found != launches.end();
    bool computes = isa<DestinationStyleOpInterface>(op);
    SmallVector<Value> memories = isLaunched && found->second.kernel
                                      ? memoriesOf(*found->second.kernel)
                                      : memoriesOf(&op);
    for (Value memory : memories)
      makeGood(&op, memory, !isLaunched);
    if (isLaunched) {
      ++facts.onDevice;
      launch(&op, found->second);
      continue;
    }
    facts.onProcessor += computes;
    follow(&op);
  }
  // What the caller gave is good for it, too.
  OpBuilder end(block.getTerminator());
  for (auto &[root, state] : copies)
    if (isa<BlockArgument>(root) && !state.onHost)
      moert::TransferOp::create(end, root.getLoc(), moert::Direction::Down,
                                state.device, root);
  faults.check(block);
  handOut();
  retire();
  return facts;
}

std::optional<BranchFacts> moe::cuda::addDeviceBranch(func::FuncOp function,
                                                      DeviceTables &tables) {
  if (!function.getBody().hasOneBlock())
    return std::nullopt;
  Block &body = function.getBody().front();
  if (llvm::none_of(body.getOps<moert::ExpertFfnOp>(),
                    [&](moert::ExpertFfnOp op) { return tables.has(op); }))
    return std::nullopt;
  Location loc = function.getLoc();
  OpBuilder builder = OpBuilder::atBlockEnd(&body);
  Operation *end = body.getTerminator();
  SmallVector<Type> types(end->getOperandTypes());
  auto either = scf::IfOp::create(
      builder, loc, types,
      moert::OnDeviceOp::create(builder, loc, builder.getI1Type()),
      /*addThenBlock=*/true, /*addElseBlock=*/true);
  Block &processor = either.getElseRegion().front();
  Operation *first = either.getCondition().getDefiningOp();
  processor.getOperations().splice(processor.end(), body.getOperations(),
                                   body.begin(), Block::iterator(first));
  OpBuilder inside = OpBuilder::atBlockEnd(&processor);
  scf::YieldOp::create(inside, loc, end->getOperands());
  end->erase();
  Block &device = either.getThenRegion().front();
  IRMapping mapping;
  inside.setInsertionPointToEnd(&device);
  for (Operation &op : processor)
    inside.clone(op, mapping);
  builder.setInsertionPointToEnd(&body);
  func::ReturnOp::create(builder, loc, either.getResults());

  return Branch(device, tables).rewrite();
}

bool moe::cuda::offload(moert::ExpertFfnOp op, DeviceTables &tables,
                        StringRef &why) {
  std::optional<int64_t> layer = tables.layerOf(op, why);
  if (!layer)
    return false;
  OpBuilder builder(op);
  Location loc = op.getLoc();
  Value isThere = moert::OnDeviceOp::create(builder, loc, builder.getI1Type());
  auto either = scf::IfOp::create(builder, loc, isThere, /*withElse=*/true);
  op->moveBefore(either.elseYield());
  builder.setInsertionPoint(either.thenYield());
  llvm::MapVector<Value, Value> copies;
  auto copyOf = [&](Value memory) -> Value {
    if (!memory || copies.contains(memory))
      return copies.lookup(memory);
    Value copy = allocateLike(builder, loc, memory);
    if (memory != op.getOuts() || memory == op.getResidual())
      moert::TransferOp::create(builder, loc, moert::Direction::Up, memory,
                                copy);
    return copies[memory] = copy;
  };
  Value x = copyOf(op.getX()), ids = copyOf(op.getIds()),
        weights = copyOf(op.getWeights()), residual = copyOf(op.getResidual()),
        outs = copyOf(op.getOuts());
  moert::LaunchLayerOp::create(builder, loc, *layer, x, ids, weights, residual,
                               outs);
  moert::TransferOp::create(builder, loc, moert::Direction::Down, outs,
                            op.getOuts());
  for (auto [memory, copy] : copies)
    moert::DeviceFreeOp::create(builder, loc, copy);
  return true;
}
