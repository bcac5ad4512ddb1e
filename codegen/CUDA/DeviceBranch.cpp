// Host code around kernels: which memory is on the device, and when it is
// copied.
#include "codegen/CUDA/DeviceBranch.h"
#include "codegen/CUDA/MemoryViews.h"
#include "codegen/CUDA/OpKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/MapVector.h"

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

static bool isMemory(Value value) { return isa<MemRefType>(value.getType()); }

/// Whether `op` only asks for shapes, or ends a life.
static bool touchesNothing(Operation *op) {
  return isa<memref::DimOp, memref::DeallocOp>(op) || viewedBy(op);
}

/// Memory that `op` touches, with what its regions capture.
static SmallVector<Value> memoriesOf(Operation *op) {
  SmallVector<Value> memories;
  // What a reshape reads is the shape.
  if (auto reshape = dyn_cast<memref::ReshapeOp>(op))
    return {reshape.getShape()};
  if (touchesNothing(op))
    return memories;
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      if (isMemory(operand) &&
          !op->isProperAncestor(operand.getParentBlock()->getParentOp()) &&
          operand.getParentBlock()->getParentOp() != op)
        memories.push_back(operand);
  });
  return memories;
}

/// Whether `op` may write to `memory`.
static bool writes(Operation *op, Value memory) {
  if (isa<memref::LoadOp, memref::ReshapeOp, scf::YieldOp, moert::WeightRefOp>(
          op))
    return false;
  if (auto copy = dyn_cast<memref::CopyOp>(op))
    return copy.getTarget() == memory;
  if (auto target = dyn_cast<DestinationStyleOpInterface>(op))
    return llvm::is_contained(target.getDpsInits(), memory);
  return true;
}

/// Whether `op` writes all of what `memory` is a view of, and reads nothing of
/// it.
static bool overwrites(Operation *op, Value memory) {
  auto target = dyn_cast<DestinationStyleOpInterface>(op);
  if (!target || !llvm::is_contained(target.getDpsInits(), memory) ||
      !isWhole(memory))
    return false;
  if (llvm::count_if(memoriesOf(op), [&](Value other) {
        return rootOf(other) == rootOf(memory);
      }) != 1)
    return false;
  auto loop = dyn_cast<linalg::LinalgOp>(op);
  if (!loop)
    return op->getName().getDialectNamespace() == "moert";
  OpOperand *init = nullptr;
  for (OpOperand &operand : loop.getDpsInitsMutable())
    if (operand.get() == memory)
      init = &operand;
  return loop.getNumParallelLoops() == loop.getNumLoops() &&
         loop.getMatchingIndexingMap(init).isPermutation() &&
         !loop.payloadUsesValueFromOperand(init);
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

namespace {
class Branch {
public:
  Branch(Block &block, DeviceTables &tables) : block(block), tables(tables) {}

  /// Which ops get launched.
  void decide();
  BranchFacts rewrite();

private:
  struct Launch {
    std::optional<int64_t> layer;
    std::optional<OpKernel> kernel;
  };
  /// Memory that both touch: which copies are good.
  struct Copies {
    Value device;
    bool onHost = true, onDevice = false;
  };

  void choose(Operation *op);
  void chooseAroundKernels();
  bool isOnDevice(Operation *op) const { return launches.contains(op); }
  void placeRoots();
  void placeRoot(Value root, bool byDevice, bool byHost);
  void follow(Operation *op);
  Value onDevice(Value memory) const { return twins.lookup(memory); }
  void makeGood(Operation *before, Value memory, bool onHost);
  void launch(Operation *op, const Launch &launch);
  void placeFaults();
  void checkFaults();
  void retire();

  Block &block;
  DeviceTables &tables;
  llvm::MapVector<Operation *, Launch> launches;
  DenseMap<Value, Value> twins;          // on the device
  llvm::MapVector<Value, Copies> copies; // of roots that both touch
  SmallVector<memref::AllocOp> retired;  // that only the device touches
  /// Where a launch says what it cannot work with, and what that ends in.
  struct Fault {
    std::string message, where;
  };
  SmallVector<Fault> faults;
  Value allFaults; // a number for each
  BranchFacts facts;
};
} // namespace

/// Memory that is all there is of it, and dense, so that it can be copied.
static bool isKnown(Value memory) {
  Value root = rootOf(memory);
  Operation *op = root.getDefiningOp();
  return cast<MemRefType>(root.getType()).getLayout().isIdentity() &&
         (!op ||
          isa<memref::AllocOp, memref::GetGlobalOp, moert::WeightRefOp>(op));
}

void Branch::choose(Operation *op) {
  if (!llvm::all_of(memoriesOf(op), isKnown))
    return;
  StringRef why;
  std::optional<int64_t> layer;
  if (auto experts = dyn_cast<moert::ExpertFfnOp>(op))
    layer = tables.layerOf(experts, why);
  else if (auto gemm = dyn_cast<moert::GemmOp>(op))
    layer = tables.layerOf(gemm, why);
  if (layer)
    launches[op] = {layer, std::nullopt};
  if (layer || isa<moert::ExpertFfnOp, moert::GemmOp>(op))
    return;
  OpBuilder host(op);
  if (auto kernel = kernelOf(op, host, tables.kernels(), why))
    launches[op] = {std::nullopt, std::move(kernel)};
}

/// Loops over what kernels touch are kernels, too; others, over shapes and
/// positions, are not worth a launch.
void Branch::chooseAroundKernels() {
  DenseSet<Value> roots;
  auto add = [&](Operation *op) {
    for (Value memory : memoriesOf(op))
      roots.insert(rootOf(memory));
  };
  SmallVector<Operation *> loops;
  for (Operation &op : block)
    if (isa<linalg::LinalgOp, memref::CopyOp>(op))
      loops.push_back(&op);
    else if (isOnDevice(&op))
      add(&op);
  bool changed = true;
  while (changed) {
    changed = false;
    for (Operation *&op : loops) {
      if (!op || llvm::none_of(memoriesOf(op), [&](Value memory) {
            return isa<FloatType>(
                       cast<MemRefType>(memory.getType()).getElementType()) &&
                   roots.contains(rootOf(memory));
          }))
        continue;
      choose(op);
      if (isOnDevice(op)) {
        add(op);
        changed = true;
      }
      op = nullptr;
    }
  }
}

void Branch::decide() {
  SmallVector<Operation *> ops;
  for (Operation &op : block)
    ops.push_back(&op);
  for (Operation *op : ops)
    if (op->getName().getDialectNamespace() == "moert" &&
        isa<DestinationStyleOpInterface>(op))
      choose(op);
  chooseAroundKernels();
}

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
      for (Value memory : launch.kernel->memories)
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
  bool isWanted = !overwrites(before, memory);
  if (onHost && !state.onHost && isWanted)
    moert::TransferOp::create(builder, loc, moert::Direction::Down,
                              state.device, root);
  if (!onHost && !state.onDevice && isWanted)
    moert::TransferOp::create(builder, loc, moert::Direction::Up, root,
                              state.device);
  (onHost ? state.onHost : state.onDevice) = true;
  if (writes(before, memory))
    (onHost ? state.onDevice : state.onHost) = false;
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
    SmallVector<Value> memories;
    for (Value memory : launch.kernel->memories)
      memories.push_back(device(memory));
    if (launch.kernel->takesFaults) {
      auto number = static_cast<int64_t>(faults.size());
      memories.push_back(memref::SubViewOp::create(
          builder, loc, allFaults, ArrayRef<int64_t>{number},
          ArrayRef<int64_t>{1}, ArrayRef<int64_t>{1}));
      faults.push_back(
          {launch.kernel->faultMessage, launch.kernel->faultWhere});
    }
    moert::LaunchOp::create(builder, loc,
                            tables.kernelNumber(launch.kernel->name), memories,
                            launch.kernel->numbers);
  }
  op->erase();
}

/// Memory for what kernels cannot say when it happens: zeros.
void Branch::placeFaults() {
  int64_t count = llvm::count_if(launches, [](auto &entry) {
    return entry.second.kernel && entry.second.kernel->takesFaults;
  });
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
  allFaults = moert::DeviceAllocOp::create(start, loc, type, ValueRange());
  moert::TransferOp::create(start, loc, moert::Direction::Up, none, allFaults);
  memref::DeallocOp::create(start, loc, none);
}

void Branch::checkFaults() {
  if (!allFaults)
    return;
  Location loc = block.getParentOp()->getLoc();
  OpBuilder end(block.getTerminator());
  Value host =
      memref::AllocOp::create(end, loc, cast<MemRefType>(allFaults.getType()));
  moert::TransferOp::create(end, loc, moert::Direction::Down, allFaults, host);
  moert::DeviceFreeOp::create(end, loc, allFaults);
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

/// Takes away memory of the host that nobody touches any more.
void Branch::retire() {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (viewedBy(&op) && op.use_empty())
      op.erase();
  for (memref::AllocOp alloc : retired) {
    // Its shape may still be asked for.
    alloc.replaceAllUsesWith(onDevice(alloc));
    alloc.erase();
  }
}

BranchFacts Branch::rewrite() {
  // What is recorded of layers, only the processor records (moert_on_device).
  // Phases are true here, too: recording them waits for each launch.
  for (Operation &op : llvm::make_early_inc_range(block))
    if (isa<moert::ObserveOp>(op))
      op.erase();
  placeRoots();
  placeFaults();
  for (Operation &op : llvm::make_early_inc_range(block)) {
    auto found = launches.find(&op);
    bool isLaunched = found != launches.end();
    bool computes = isa<DestinationStyleOpInterface>(op);
    SmallVector<Value> memories =
        isLaunched && found->second.kernel
            ? SmallVector<Value>(found->second.kernel->memories)
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
  checkFaults();
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

  Branch branch(device, tables);
  branch.decide();
  return branch.rewrite();
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
