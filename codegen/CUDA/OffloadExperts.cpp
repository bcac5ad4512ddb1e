#include "codegen/CUDA/Passes.h"
#include "codegen/CUDA/PoolOfExperts.h"
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

namespace {
struct OffloadExpertsPass
    : moe::impl::OffloadExpertsPassBase<OffloadExpertsPass> {
  using OffloadExpertsPassBase::OffloadExpertsPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    Builder builder(&getContext());
    SmallVector<Attribute> pools, layers;
    module.walk([&](moert::ExpertFfnOp op) {
      StringRef why;
      std::optional<Pool> pool = poolOf(op, tf32, why);
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
      layers.push_back(layerOf(op, number, entries));
    });
    if (layers.empty())
      return;
    module->setAttr(kDevicePools, builder.getArrayAttr(pools));
    module->setAttr(kDeviceLayers, builder.getArrayAttr(layers));
  }

  /// An element of `moe.device_layers`.
  static Attribute layerOf(moert::ExpertFfnOp op, int64_t pool,
                           ArrayRef<int64_t> entries) {
    Builder builder(op.getContext());
    NamedAttrList fields;
    fields.set("pool", builder.getI64IntegerAttr(pool));
    fields.set("entries", builder.getDenseI64ArrayAttr(entries));
    const std::pair<StringRef, Value> parts[] = {
        {"up", op.getUp()},
        {"up_scales", op.getUpScales()},
        {"up_zeros", op.getUpZeros()},
        {"up_bias", op.getUpBias()},
        {"down", op.getDown()},
        {"down_scales", op.getDownScales()},
        {"down_zeros", op.getDownZeros()},
        {"down_bias", op.getDownBias()}};
    for (auto [name, value] : parts)
      if (value)
        fields.set(name, bankOf(value).getBankAttr());
    return fields.getDictionary(op.getContext());
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
