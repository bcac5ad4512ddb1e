#include "codegen/LLVM/Passes.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace moe {
#define GEN_PASS_DEF_APPENDINPLACEPASS
#include "codegen/LLVM/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// What the model's border says about one append.
struct Append {
  moert::KvAppendOp op;
  memref::AllocOp memory;
  int64_t input, output;
};

/// The append's place at the border, if it can stay where it is.
std::optional<Append> match(moert::KvAppendOp op, func::FuncOp main) {
  if (!op.getPast() || op->getBlock() != &main.front())
    return std::nullopt;
  auto past = dyn_cast<BlockArgument>(op.getPast());
  auto memory = op.getOuts().getDefiningOp<memref::AllocOp>();
  if (!past || past.getOwner() != &main.front() || !memory ||
      memory->getBlock() != &main.front())
    return std::nullopt;
  auto pastType = cast<MemRefType>(past.getType());
  auto freshType = cast<MemRefType>(op.getFresh().getType());
  MemRefType type = memory.getType();
  if (!pastType.getLayout().isIdentity() || !type.getLayout().isIdentity() ||
      pastType.getElementType() != type.getElementType() ||
      freshType.getElementType() != type.getElementType() ||
      type.getElementTypeBitWidth() % 8 != 0)
    return std::nullopt;
  for (Operation *user : past.getUsers())
    if (user != op && !isa<memref::DimOp>(user))
      return std::nullopt;
  std::optional<int64_t> output;
  for (OpOperand &use : memory.getResult().getUses()) {
    Operation *user = use.getOwner();
    if (user == op) {
      if (use.get() == op.getFresh())
        return std::nullopt;
      continue;
    }
    if (isa<func::ReturnOp>(user)) {
      if (output)
        return std::nullopt;
      output = use.getOperandNumber();
      continue;
    }
    // What reads before the append reads nothing; leave that alone.
    Operation *here = main.front().findAncestorOpInBlock(*user);
    if (!here || here->isBeforeInBlock(op))
      return std::nullopt;
    auto kernel = dyn_cast<DestinationStyleOpInterface>(user);
    bool reads =
        kernel && !kernel.isDpsInit(&use) &&
        isa<moert::MoERTDialect, linalg::LinalgDialect>(user->getDialect());
    if (!reads && !isa<memref::DimOp, memref::LoadOp>(user))
      return std::nullopt;
  }
  if (!output)
    return std::nullopt;
  return Append{op, memory, int64_t(past.getArgNumber()), *output};
}

void rewrite(Append append) {
  moert::KvAppendOp op = append.op;
  OpBuilder builder(op);
  Location loc = op.getLoc();
  MemRefType dense = append.memory.getType();
  constexpr int64_t free = ShapedType::kDynamic;
  auto type = MemRefType::get(
      dense.getShape(), dense.getElementType(),
      StridedLayoutAttr::get(builder.getContext(), /*offset=*/0,
                             {free, free, dense.getDimSize(3), 1}));
  auto size = [&](Value of, int64_t d) -> OpFoldResult {
    return memref::getMixedSize(builder, loc, of, d);
  };
  Value fresh =
      getValueOrCreateConstantIndexOp(builder, loc, size(op.getFresh(), 1));
  Value present = moert::CacheOp::create(builder, loc, type, op.getPast(),
                                         fresh, append.input, append.output);
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  SmallVector<OpFoldResult> offsets{zero, zero, size(op.getPast(), 2), zero};
  SmallVector<OpFoldResult> sizes{size(present, 0), size(present, 1), fresh,
                                  size(present, 3)};
  SmallVector<OpFoldResult> strides(4, one);
  Value room =
      memref::SubViewOp::create(builder, loc, present, offsets, sizes, strides);
  linalg::TransposeOp::create(builder, loc, op.getFresh(), room,
                              ArrayRef<int64_t>{0, 2, 1, 3});
  op.erase();
  for (OpOperand &use :
       llvm::make_early_inc_range(append.memory.getResult().getUses())) {
    Operation *user = use.getOwner();
    builder.setInsertionPoint(user);
    use.set(
        isa<func::ReturnOp>(user)
            ? memref::CastOp::create(builder, loc, dense, present).getResult()
            : present);
  }
  append.memory->erase();
}

struct AppendInPlacePass : moe::impl::AppendInPlacePassBase<AppendInPlacePass> {
  void runOnOperation() override {
    func::FuncOp main = getOperation();
    if (main.getName() != "main" || main.isDeclaration())
      return;
    SmallVector<moert::KvAppendOp> ops;
    main.walk([&](moert::KvAppendOp op) { ops.push_back(op); });
    for (moert::KvAppendOp op : ops)
      if (std::optional<Append> append = match(op, main))
        rewrite(*append);
  }
};
} // namespace
