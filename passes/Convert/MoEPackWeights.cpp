// Weights of experts and of products as derived banks of panels.
#include "passes/Convert/MoEConverter.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

FailureOr<Value> MoEConverter::pack(Operation *at, StringRef name,
                                    const Runs &runs, int64_t depth,
                                    int64_t width, int64_t interleave) {
  Type element;
  int64_t columns = 0;
  SmallVector<Attribute> matrices;
  for (const auto &list : runs) {
    int64_t own = 0;
    SmallVector<Attribute> attributes;
    for (ColumnsAttr run : list) {
      auto bank = symbols.lookup<BankOp>(run.getBank().getValue());
      if (!bank)
        return at->emitOpError("reads weights of ")
               << run.getBank() << ", which is not a moe.bank";
      Type type = bank.getTensorType().getElementType();
      if (element && type != element)
        return at->emitOpError("mixes weights of types ")
               << element << " and " << type << ", which cannot be packed yet";
      element = type;
      own = interleave ? run.getCount() : own + run.getCount();
      attributes.push_back(run);
    }
    columns = std::max(columns, own);
    matrices.push_back(builder.getArrayAttr(attributes));
  }
  int64_t perPanel = interleave ? interleave : width;
  auto type = RankedTensorType::get(
      {static_cast<int64_t>(runs.size()),
       static_cast<int64_t>(llvm::divideCeil(columns, perPanel)), depth, width},
      element);
  auto recipe = PanelsAttr::get(builder.getContext(), width, depth, interleave,
                                builder.getArrayAttr(matrices));
  return derive(at, name, recipe, type);
}

Value MoEConverter::packCoded(Operation *at, StringRef name, const Runs &runs,
                              int64_t depth, int64_t interleave, int64_t bits,
                              const CodedMatrix::Values &model) {
  int64_t columns = 0;
  SmallVector<Attribute> matrices;
  for (const auto &list : runs) {
    int64_t own = 0;
    for (ColumnsAttr run : list)
      own = interleave ? run.getCount() : own + run.getCount();
    columns = std::max(columns, own);
    matrices.push_back(
        builder.getArrayAttr(SmallVector<Attribute>(list.begin(), list.end())));
  }
  int64_t perPanel = interleave ? interleave : width;
  auto type = RankedTensorType::get(
      {static_cast<int64_t>(runs.size()),
       static_cast<int64_t>(llvm::divideCeil(columns, perPanel)), depth,
       width * bits / 8},
      builder.getI8Type());
  auto recipe = QuantPanelsAttr::get(builder.getContext(), bits, model.stored,
                                     model.flip, width, depth, interleave,
                                     builder.getArrayAttr(matrices));
  return derive(at, name, recipe, type);
}

Value MoEConverter::derive(Operation *at, StringRef name, Attribute recipe,
                           RankedTensorType type) {
  builder.setInsertionPointToEnd(module.getBody());
  auto bank = BankOp::create(builder, at->getLoc(), builder.getStringAttr(name),
                             StringAttr(), StringAttr(), IntegerAttr(),
                             IntegerAttr(), recipe, TypeAttr::get(type));
  symbols.insert(bank);
  builder.setInsertionPoint(at);
  return WeightOp::create(builder, at->getLoc(), type,
                          FlatSymbolRefAttr::get(bank.getSymNameAttr()));
}

FailureOr<Value> MoEConverter::packBias(Operation *at, StringRef name,
                                        const Runs &runs) {
  int64_t columns = 0;
  for (const auto &list : runs) {
    int64_t own = 0;
    for (ColumnsAttr run : list)
      own += run.getCount();
    columns = std::max(columns, own);
  }
  FailureOr<Value> packed = pack(at, name, runs, 1, columns, 0);
  if (failed(packed))
    return failure();
  SmallVector<ReassociationIndices> groups{{0, 1, 2}, {3}};
  return tensor::CollapseShapeOp::create(builder, at->getLoc(), *packed, groups)
      .getResult();
}

LogicalResult MoEConverter::pack(moert::GemmOp gemm) {
  auto weight = gemm.getWeight().getDefiningOp<WeightOp>();
  auto type = cast<ShapedType>(gemm.getWeight().getType());
  if (!weight || type.getRank() != 2)
    return success();
  bool rows = gemm.getTransposeWeight(); // [N, K], else [K, N]
  int64_t depth = type.getDimSize(rows ? 1 : 0);
  int64_t columns = type.getDimSize(rows ? 0 : 1);
  Runs runs(1);
  runs[0].push_back(ColumnsAttr::get(builder.getContext(), weight.getBankAttr(),
                                     columns, 0, rows ? depth : 1,
                                     rows ? 1 : columns));
  auto packed =
      pack(gemm, (weight.getBank() + ".panels").str(), runs, depth, width, 0);
  if (failed(packed))
    return failure();
  gemm.getWeightMutable().assign(*packed);
  gemm.setTransposeWeight(false);
  return success();
}
