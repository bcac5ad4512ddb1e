#include "codegen/CUDA/Passes.h"
#include "codegen/CUDA/PoolAttributes.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/IR/Remarks.h"

namespace moe {
#define GEN_PASS_DEF_OFFLOADEXPERTSPASS
#include "codegen/CUDA/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

static constexpr remark::RemarkOpts offload =
    remark::RemarkOpts::name("offload").category("moe-offload");

static moert::WeightRefOp bankOf(Value memory) {
  return memory.getDefiningOp<moert::WeightRefOp>();
}

static std::optional<cuda::Activation> activationOf(moert::Activation from) {
  switch (from) {
  case moert::Activation::Identity:
    return cuda::Activation::Identity;
  case moert::Activation::Relu:
    return cuda::Activation::Relu;
  case moert::Activation::Relu2:
    return cuda::Activation::Relu2;
  case moert::Activation::Silu:
    return cuda::Activation::Silu;
  case moert::Activation::GeluTanh:
    return cuda::Activation::GeluTanh;
  case moert::Activation::Gelu:
    return std::nullopt;
  }
  return std::nullopt;
}

/// The pool that kernels can compute, or null with the reason in `why`.
static std::optional<Pool> poolOf(moert::ExpertFfnOp op, StringRef &why) {
  auto type = [](Value value) { return cast<MemRefType>(value.getType()); };
  auto refuse = [&](StringRef reason) {
    why = reason;
    return std::nullopt;
  };
  if (!isa<MemRefType>(op.getX().getType()))
    return refuse("it is not on memory yet");
  if (op.getUpLow() || op.getDownLow())
    return refuse("its matrices are factored");
  if (op.getUpCoding() || op.getDownCoding())
    return refuse("its weights are quantised");
  if (op.getUpBias() || op.getDownBias())
    return refuse("it has biases");
  if (op.getScaleInput() || op.getOutputScale().convertToDouble() != 1)
    return refuse("its inputs or outputs are scaled");
  for (Value matrix : {op.getUp(), op.getDown()})
    if (type(matrix).getRank() != 4 ||
        !type(matrix).getElementType().isBF16() || !bankOf(matrix))
      return refuse("its weights are not packed bf16");
  for (Value value : {op.getX(), op.getIds(), op.getWeights(), op.getResidual(),
                      op.getOuts()})
    if (value && (!type(value).getLayout().isIdentity() ||
                  ShapedType::isDynamic(type(value).getDimSize(1))))
      return refuse("its rows are not dense, or of a size not known");
  for (Value value :
       {op.getX(), op.getWeights(), op.getResidual(), op.getOuts()})
    if (value && !type(value).getElementType().isF32())
      return refuse("its inputs or outputs are not f32");
  if (!type(op.getIds()).getElementType().isInteger(32))
    return refuse("its ids are not i32");
  std::optional<cuda::Activation> activation = activationOf(op.getActivation());
  if (!activation)
    return refuse("its activation has no kernel");
  int64_t width = type(op.getUp()).getDimSize(3);
  Pool pool{{type(op.getUp()).getDimSize(0), type(op.getX()).getDimSize(1),
             op.getInner(), type(op.getOuts()).getDimSize(1),
             type(op.getIds()).getDimSize(1), op.getGlu(), *activation,
             op.getAlpha().convertToDouble(), op.getBeta().convertToDouble(),
             op.getLimit().convertToDouble()},
            op.getNumColumns(),
            width};
  // As the runtime finds matrices.
  auto hasPanels = [&](Value matrix, int64_t columns, int64_t depth) {
    return type(matrix).getDimSize(3) == width &&
           type(matrix).getDimSize(1) == llvm::divideCeil(columns, width) &&
           type(matrix).getDimSize(2) == depth;
  };
  if (!fromAttribute(toAttribute(op.getContext(), pool)))
    return refuse("it is empty");
  const LayerShape &shape = pool.shape;
  if (!hasPanels(op.getUp(), shape.hidden * (shape.isGlu ? 2 : 1),
                 shape.inputs) ||
      !hasPanels(op.getDown(), shape.outputs, shape.hidden))
    return refuse("its weights are packed otherwise");
  return pool;
}

namespace {
struct OffloadExpertsPass
    : moe::impl::OffloadExpertsPassBase<OffloadExpertsPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    Builder builder(&getContext());
    SmallVector<Attribute> pools, layers;
    module.walk([&](moert::ExpertFfnOp op) {
      StringRef why;
      std::optional<Pool> pool = poolOf(op, why);
      if (!pool) {
        remark::missed(op.getLoc(), offload) << remark::reason("{0}", why);
        op->setAttr(kNotOffloaded, builder.getStringAttr(why));
        return;
      }
      Attribute shape = toAttribute(&getContext(), *pool);
      auto known = llvm::find(pools, shape);
      int64_t number = known - pools.begin();
      if (known == pools.end())
        pools.push_back(shape);
      SmallVector<int64_t> entries;
      if (std::optional<ArrayRef<int64_t>> given = op.getEntries())
        entries.assign(given->begin(), given->end());
      else
        for (int64_t i = 0; i < pool->entries; ++i)
          entries.push_back(i);
      remark::passed(op.getLoc(), offload)
          << remark::metric("experts", pool->shape.experts);
      tryFirst(op, layers.size());
      layers.push_back(builder.getDictionaryAttr(
          {builder.getNamedAttr("pool", builder.getI64IntegerAttr(number)),
           builder.getNamedAttr("up", bankOf(op.getUp()).getBankAttr()),
           builder.getNamedAttr("down", bankOf(op.getDown()).getBankAttr()),
           builder.getNamedAttr("entries",
                                builder.getDenseI64ArrayAttr(entries))}));
    });
    if (layers.empty())
      return;
    module->setAttr(kDevicePools, builder.getArrayAttr(pools));
    module->setAttr(kDeviceLayers, builder.getArrayAttr(layers));
  }

  static void tryFirst(moert::ExpertFfnOp op, int64_t layer) {
    OpBuilder builder(op);
    Location loc = op.getLoc();
    Value done = moert::OffloadOp::create(
        builder, loc, builder.getI1Type(), layer, op.getX(), op.getIds(),
        op.getWeights(), op.getResidual(), op.getOuts());
    auto either = scf::IfOp::create(builder, loc, done, /*withElse=*/true);
    op->moveBefore(either.elseYield());
  }
};
} // namespace
