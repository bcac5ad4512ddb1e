#include "codegen/Link/PackedMatrix.h"

#include "codegen/Link/PackPanels.h"
#include "codegen/Link/PackQuantPanels.h"
#include "passes/Analysis/WeightSource.h"

using namespace mlir;
using namespace moe;

namespace {
struct PlainMatrix : PackedMatrix {
  PanelShape shape;
  SmallVector<ColumnRun> runs;

  int64_t bytes() const override { return shape.bytes(); }
  void pack(int64_t first, int64_t count, char *to) const override {
    packPanels(shape, runs, first, count, to);
  }
};

struct QuantMatrix : PackedMatrix {
  QuantPanelShape shape;
  SmallVector<ValueRun> runs;

  int64_t bytes() const override { return shape.bytes(); }
  void pack(int64_t first, int64_t count, char *to) const override {
    packQuantPanels(shape, runs, first, count, to);
  }
};
} // namespace

/// How far from their first number `columns` of `depth` numbers reach.
static int64_t extent(ColumnsAttr columns, int64_t depth) {
  return (columns.getCount() - 1) * columns.getStrideN() +
         (depth - 1) * columns.getStrideK();
}

/// The bank that `columns` are cut from, with room for them: `perElement`
/// numbers of theirs lie in one element of the bank.
static FailureOr<BankOp> sourceOf(BankOp bank, ColumnsAttr columns,
                                  int64_t depth, int64_t perElement,
                                  WeightSource &source) {
  BankOp from = source.lookup(bank, columns.getBank());
  if (!from)
    return bank.emitOpError("takes columns of ")
           << columns.getBank() << ", which is not a moe.bank";
  int64_t last = columns.getOffset() + extent(columns, depth);
  if (columns.getCount() > 0 &&
      (columns.getOffset() < 0 ||
       last / perElement >= from.getTensorType().getNumElements()))
    return bank.emitOpError("takes columns beyond the end of ")
           << columns.getBank();
  return from;
}

FailureOr<std::unique_ptr<PackedMatrix>>
moe::openMatrix(BankOp bank, PanelsAttr recipe, ArrayAttr runs,
                WeightSource &source, SmallVectorImpl<UsedBytes> &used) {
  auto type = bank.getTensorType();
  if (type.getElementTypeBitWidth() % 8 != 0)
    return bank.emitOpError("cannot pack elements of type ")
           << type.getElementType();
  auto matrix = std::make_unique<PlainMatrix>();
  matrix->shape = {recipe.getWidth(), recipe.getDepth(), recipe.getInterleave(),
                   type.getElementTypeBitWidth() / 8};
  for (auto columns : runs.getAsRange<ColumnsAttr>()) {
    auto from = sourceOf(bank, columns, recipe.getDepth(), 1, source);
    if (failed(from))
      return failure();
    if (from->getTensorType().getElementType() != type.getElementType())
      return bank.emitOpError("has elements of type ")
             << type.getElementType() << ", but " << columns.getBank()
             << " of type " << from->getTensorType().getElementType();
    auto data = source.bytes(*from);
    if (failed(data))
      return failure();
    int64_t size = matrix->shape.elementBytes;
    const char *begin = data->data() + columns.getOffset() * size;
    matrix->runs.push_back({begin, columns.getCount(), columns.getStrideN(),
                            columns.getStrideK()});
    if (columns.getCount() > 0)
      used.push_back(
          {StringRef(begin, (extent(columns, recipe.getDepth()) + 1) * size),
           *from});
  }
  return std::unique_ptr<PackedMatrix>(std::move(matrix));
}

FailureOr<std::unique_ptr<PackedMatrix>>
moe::openMatrix(BankOp bank, QuantPanelsAttr recipe, ArrayAttr runs,
                WeightSource &source, SmallVectorImpl<UsedBytes> &used) {
  auto matrix = std::make_unique<QuantMatrix>();
  int64_t stored = recipe.getStored();
  matrix->shape = {recipe.getBits(),  stored,
                   recipe.getFlip(),  recipe.getWidth(),
                   recipe.getDepth(), recipe.getInterleave()};
  for (auto columns : runs.getAsRange<ColumnsAttr>()) {
    BankOp known = source.lookup(bank, columns.getBank());
    int64_t width =
        known && known.getTensorType().getElementType().isIntOrFloat()
            ? known.getTensorType().getElementTypeBitWidth()
            : 0;
    if (known && width != 8 && width != stored)
      return bank.emitOpError("takes values of ")
             << stored << " bits of " << columns.getBank() << ", which is "
             << known.getTensorType();
    auto from =
        sourceOf(bank, columns, recipe.getDepth(), width / stored, source);
    if (failed(from))
      return failure();
    auto data = source.bytes(*from);
    if (failed(data))
      return failure();
    matrix->runs.push_back({data->data(), columns.getOffset(),
                            columns.getCount(), columns.getStrideN(),
                            columns.getStrideK()});
    int64_t begin = columns.getOffset();
    int64_t last = begin + extent(columns, recipe.getDepth());
    if (columns.getCount() > 0)
      used.push_back(
          {data->slice(begin * stored / 8, last * stored / 8 + 1), *from});
  }
  return std::unique_ptr<PackedMatrix>(std::move(matrix));
}
