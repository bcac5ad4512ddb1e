// Accessors and builders of the moe dialect that text cannot reach.

#include "dialects/MoE/MoEOps.h"
#include "dialects/RegisterDialects.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace moe;

namespace {
class MoEDialectTest : public testing::Test {
protected:
  MoEDialectTest() {
    DialectRegistry registry;
    moe::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  OwningOpRef<ModuleOp> parse(StringRef text) {
    return parseSourceString<ModuleOp>(text, &context);
  }

  PoolOp pool(ModuleOp module, StringRef name) {
    return cast<PoolOp>(SymbolTable::lookupSymbolIn(module, name));
  }

  MLIRContext context;
  SymbolTableCollection symbols;
};

constexpr const char *banks = R"(
moe.bank @gate_up in "m" key "a" : tensor<4x256x64xbf16>
moe.bank @gate_up_b in "m" key "b" : tensor<4x256xf32>
moe.bank @down in "m" key "c" : tensor<4x64x128xbf16>
moe.bank @up_t in "m" key "d" : tensor<4x64x128xf32>
moe.bank @v in "m" key "e" : tensor<64xf32>
moe.bank @mix in "m" key "f" : tensor<2x64xf32>
moe.bank @q in "m" key "g" : tensor<128x32xui8>
moe.bank @s in "m" key "h" : tensor<128x2xf16>
)";

TEST_F(MoEDialectTest, ColumnsOfInterleavedGateAndUp) {
  OwningOpRef<ModuleOp> module = parse(std::string(banks) + R"(
    moe.pool @p {
      moe.expert @e3 glu silu gate @gate_up[3, 0:256:2] up @gate_up[3, 1:256:2]
          up_bias @gate_up_b[3, 1:256:2] down @down[3]
    })");
  ASSERT_TRUE(module);
  auto expert = cast<ExpertOp>(pool(*module, "p").getEntry(0).getOperation());
  ColumnsAttr up = expert.getColumns(expert.getUp(), symbols);
  ASSERT_TRUE(up);
  EXPECT_EQ(up.getBank().getValue(), "gate_up");
  EXPECT_EQ(up.getCount(), 128);
  EXPECT_EQ(up.getOffset(), 3 * 256 * 64 + 64);
  EXPECT_EQ(up.getStrideN(), 2 * 64);
  EXPECT_EQ(up.getStrideK(), 1);
  ColumnsAttr bias = expert.getColumns(expert.getUpBiasAttr(), symbols);
  ASSERT_TRUE(bias);
  EXPECT_EQ(bias.getCount(), 128);
  EXPECT_EQ(bias.getOffset(), 3 * 256 + 1);
  EXPECT_EQ(bias.getStrideN(), 2);
  EXPECT_EQ(bias.getStrideK(), 0);
}

TEST_F(MoEDialectTest, ColumnsOfTransposedMatrix) {
  OwningOpRef<ModuleOp> module = parse(std::string(banks) + R"(
    moe.pool @p {
      moe.expert @e linear up @up_t[1, :, 32:64] transposed
    })");
  ASSERT_TRUE(module);
  auto expert = cast<ExpertOp>(pool(*module, "p").getEntry(0).getOperation());
  ColumnsAttr up = expert.getColumns(expert.getUp(), symbols);
  ASSERT_TRUE(up);
  EXPECT_EQ(up.getCount(), 32);
  EXPECT_EQ(up.getOffset(), 64 * 128 + 32);
  EXPECT_EQ(up.getStrideN(), 1);
  EXPECT_EQ(up.getStrideK(), 128);
  FailureOr<ExpertShape> shape = expert.getShape(symbols);
  ASSERT_TRUE(succeeded(shape));
  EXPECT_EQ(shape->in, 64);
  EXPECT_EQ(shape->out, 32);
}

TEST_F(MoEDialectTest, CostsOfEntries) {
  OwningOpRef<ModuleOp> module = parse(std::string(banks) + R"(
    moe.pool @p {
      moe.expert @glu glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
      moe.alias @same of @glu
      moe.null_expert @zero zero
      moe.null_expert @constant constant value @v mix @mix
      moe.expert @int4 linear up @q quant<bits = 4, block = 32, scales = <@s>>
    })");
  ASSERT_TRUE(module);
  PoolOp p = pool(*module, "p");
  ExpertCost glu = p.getEntry(0).getCost(symbols);
  EXPECT_EQ(glu.params, 3 * 128 * 64);
  EXPECT_EQ(glu.bytes, 2 * glu.params);
  EXPECT_EQ(glu.flopsPerToken, 2 * glu.params);
  ExpertCost alias = p.getEntry(1).getCost(symbols);
  EXPECT_EQ(alias.params, 0);
  EXPECT_EQ(alias.flopsPerToken, glu.flopsPerToken);
  EXPECT_EQ(p.getEntry(2).getCost(symbols).bytes, 0);
  // MoE++: 4 d for the mix and 3 d for a1 x + a2 v.
  EXPECT_EQ(p.getEntry(3).getCost(symbols).flopsPerToken, 7 * 64);
  // 4 bits and an fp16 scale per 32: 4.5 bits per weight.
  ExpertCost int4 = p.getEntry(4).getCost(symbols);
  EXPECT_EQ(int4.params, 128 * 64);
  EXPECT_EQ(8 * int4.bytes * 2, 9 * int4.params);
}

TEST_F(MoEDialectTest, EntriesOfPool) {
  OwningOpRef<ModuleOp> module = parse(std::string(banks) + R"(
    moe.pool @mixed {
      moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
      moe.null_expert @e1 copy
      moe.alias @e2 of @e0
    }
    moe.pool @uniform {
      moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
      moe.expert @e1 glu silu gate @gate_up[1, 0:128] up @gate_up[1, 128:256] down @down[1]
    }
    moe.pool @widths {
      moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
      moe.expert @e1 glu silu gate @gate_up[1, 0:64] up @gate_up[1, 128:192] down @down[1, :, 0:64]
    })");
  ASSERT_TRUE(module);
  PoolOp mixed = pool(*module, "mixed");
  EXPECT_EQ(mixed.getNumEntries(), 3);
  EXPECT_EQ(mixed.getEntry("e1").getEntryName(), "e1");
  EXPECT_FALSE(mixed.getEntry("e9"));
  EXPECT_FALSE(mixed.getEntry(3));
  EXPECT_EQ(mixed.getResolvedEntry(2), mixed.getEntry(0));
  EXPECT_TRUE(mixed.getEntry(0).needsDispatch());
  EXPECT_FALSE(mixed.getEntry(1).needsDispatch());
  EXPECT_TRUE(mixed.getEntry(2).needsDispatch());
  EXPECT_FALSE(mixed.isUniformGlu(symbols));
  EXPECT_EQ(pool(*module, "uniform").getUniformExperts(symbols).size(), 2u);
  EXPECT_TRUE(pool(*module, "uniform").isUniformGlu(symbols));
  EXPECT_FALSE(pool(*module, "widths").isUniformGlu(symbols));
}

// What the raising passes write: a layer of many experts from builders alone.
TEST_F(MoEDialectTest, BuildsLayer) {
  constexpr int64_t experts = 128;
  OpBuilder b(&context);
  Location loc = b.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  b.setInsertionPointToEnd(module->getBody());
  auto bank = [&](StringRef name, ArrayRef<int64_t> shape) {
    BankOp::create(b, loc, name, b.getStringAttr("m"), b.getStringAttr(name),
                   IntegerAttr(), IntegerAttr(), Attribute(),
                   RankedTensorType::get(shape, b.getBF16Type()));
    return FlatSymbolRefAttr::get(&context, name);
  };
  FlatSymbolRefAttr gateUp = bank("gate_up", {experts, 64, 16});
  FlatSymbolRefAttr down = bank("down", {experts, 16, 32});
  auto p = PoolOp::create(b, loc, "ffn0");
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(&p.getBody().front());
    for (int64_t e = 0; e < experts; ++e)
      ExpertOp::create(b, loc, ("e" + Twine(e)).str(), ExpertKind::Glu,
                       Activation::Silu, SliceAttr::rows(gateUp, e, 0, 32),
                       SliceAttr::rows(gateUp, e, 32, 64),
                       SliceAttr::at(down, e));
  }
  auto f32 = b.getF32Type();
  auto rows = RankedTensorType::get({ShapedType::kDynamic, 16}, f32);
  auto logits = RankedTensorType::get({ShapedType::kDynamic, experts}, f32);
  auto weight = RankedTensorType::get({experts, 16}, f32);
  auto function = func::FuncOp::create(
      b, loc, "layer", b.getFunctionType({rows, weight}, {rows}));
  b.setInsertionPointToEnd(function.addEntryBlock());
  auto name = FlatSymbolRefAttr::get(p.getSymNameAttr());
  auto router =
      RouterOp::create(b, loc, logits, RouterKind::Linear,
                       function.getArgument(0), function.getArgument(1));
  auto gate = GateOp::create(b, loc, Score::Softmax, router.getLogits(), name,
                             8, Norm::Selected);
  gate.setScaleAttr(b.getF64FloatAttr(2.5));
  auto apply = ApplyOp::create(b, loc, rows, name, function.getArgument(0),
                               gate.getIds(), gate.getWeights());
  func::ReturnOp::create(b, loc, apply.getResult(0));
  EXPECT_TRUE(succeeded(verify(*module)));
  EXPECT_TRUE(p.isUniformGlu(symbols));
  EXPECT_EQ(gate.getNumColumns(), experts);
  EXPECT_EQ(gate.getRounding(), Rounding::Ceil);
  auto ids = cast<RankedTensorType>(gate.getIds().getType());
  EXPECT_EQ(ids.getDimSize(1), 8);
}

TEST_F(MoEDialectTest, BuildsDenseGate) {
  OpBuilder b(&context);
  OwningOpRef<ModuleOp> module = parse(R"(
    func.func @f(%z: tensor<?x3xf32>) { return })");
  ASSERT_TRUE(module);
  auto function = *module->getOps<func::FuncOp>().begin();
  b.setInsertionPointToStart(&function.getBody().front());
  auto gate = GateOp::create(b, b.getUnknownLoc(), Score::Softmax,
                             function.getArgument(0), FlatSymbolRefAttr());
  EXPECT_TRUE(succeeded(verify(*module)));
  EXPECT_FALSE(gate.getIds());
  EXPECT_EQ(gate.getWeights().getType(), function.getArgument(0).getType());
}
} // namespace
