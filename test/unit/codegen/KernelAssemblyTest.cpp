// PTX of the kernels of a MoE layer, and what the assembler makes of it.
#include "codegen/CUDA/Kernels.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "test/unit/codegen/Assembler.h"
#include "test/unit/codegen/LayerFixture.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ELF.h"
#include <map>

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
class KernelAssembly : public testing::TestWithParam<bool> {
protected:
  test::Context context;
};

class HopperAssembly : public testing::Test {
protected:
  test::Context context;
};

/// Layers of models, in all forms of weights that there are.
std::vector<std::pair<std::string, LayerShape>> shapes() {
  using rt::CodedRows, rt::RowCoding, rt::RowScale;
  LayerShape mixtral{8, 4096, 14336, 4096, 2}, qwen{128, 2048, 768, 2048, 8};
  LayerShape oss{32,    2880, 2880, 2880, 4, true, cuda::Activation::Silu,
                 1.702, 1,    7};
  oss.hasUpBias = oss.hasDownBias = true;
  LayerShape odd{5, 37, 19, 50, 2, false, cuda::Activation::GeluTanh};
  std::vector<std::pair<std::string, LayerShape>> made = {
      {"mixtral", mixtral}, {"qwen", qwen}, {"oss", oss}, {"odd", odd}};
  auto with = [&](const char *name, LayerShape shape, Element element,
                  std::optional<CodedRows> coded = {}, bool tf32 = false) {
    shape.element = element;
    shape.tf32 = tf32;
    shape.upCoded = shape.downCoded = coded;
    made.push_back({name, shape});
  };
  odd.activation = cuda::Activation::Gelu;
  with("odd_f16", odd, Element::F16);
  with("qwen_f16", qwen, Element::F16);
  with("qwen_f32", qwen, Element::F32);
  with("qwen_tf32", qwen, Element::F32, {}, true);
  CodedRows int8{RowCoding::Int8, RowScale::F16, 128};
  CodedRows int8Zeros{RowCoding::Int8, RowScale::F16, 32, true};
  CodedRows int4{RowCoding::Int4, RowScale::F16, 128};
  CodedRows int4Zeros{RowCoding::Int4, RowScale::F16, 32, true};
  CodedRows mxfp4{RowCoding::Fp4, RowScale::E8M0, 32};
  CodedRows nf4{RowCoding::Nf4, RowScale::BF16, 64};
  with("qwen_int8", qwen, Element::BF16, int8);
  with("qwen_int8_zeros", qwen, Element::BF16, int8Zeros);
  with("qwen_int8_f16", qwen, Element::F16, int8Zeros);
  with("qwen_int4", qwen, Element::BF16, int4);
  with("qwen_int4_zeros", qwen, Element::BF16, int4Zeros);
  with("qwen_int4_f16", qwen, Element::F16, int4Zeros);
  with("oss_mxfp4", oss, Element::BF16, mxfp4);
  with("oss_mxfp4_f16", oss, Element::F16, mxfp4);
  with("qwen_nf4", qwen, Element::BF16, nf4);
  CodedRows fp8{RowCoding::F8E4M3, RowScale::F32, 128};
  CodedRows fp8Small{RowCoding::F8E4M3, RowScale::F32, 32};
  with("qwen_fp8", qwen, Element::BF16, fp8);
  with("qwen_fp8_small", qwen, Element::BF16, fp8Small);
  with("qwen_fp8_f16", qwen, Element::F16, fp8);
  CodedRows byFp8{RowCoding::F8ByF8, RowScale::F32, 128};
  CodedRows byFp8Small{RowCoding::F8ByF8, RowScale::F32, 32};
  with("qwen_by_fp8", qwen, Element::BF16, byFp8);
  with("qwen_by_fp8_small", qwen, Element::BF16, byFp8Small);
  with("oss_by_fp8", oss, Element::BF16, byFp8);
  with("odd_by_fp8", odd, Element::F16, byFp8);
  with("odd_int4", odd, Element::BF16, int4Zeros);
  LayerShape scaled = odd;
  scaled.scaleInput = scaled.hasUpBias = true;
  with("odd_scaled", scaled, Element::BF16);
  with("odd_scaled_f32", scaled, Element::F32);
  LayerShape factored = mixtral;
  factored.upRank = 512;
  factored.downRank = 37;
  factored.scaleInput = true;
  with("mixtral_factored", factored, Element::BF16);
  return made;
}

#ifdef MOE_PTXAS
/// Kernels that multiply.
std::vector<std::string> productsOf(const std::string &layer,
                                    const LayerShape &shape) {
  std::vector<std::string> names = {layer + "_up", layer + "_down"};
  if (shape.upRank)
    names.push_back(layer + "_up_low");
  if (shape.downRank)
    names.push_back(layer + "_down_low");
  return names;
}

/// Instructions of a kernel by operation, the low 9 bits of 128.
std::map<unsigned, int> operations(const std::string &cubin, StringRef kernel) {
  std::map<unsigned, int> found;
  auto object = llvm::object::ELF64LEFile::create(cubin);
  if (!object)
    return llvm::consumeError(object.takeError()), found;
  for (const auto &section : llvm::cantFail(object->sections())) {
    if (llvm::cantFail(object->getSectionName(section)) !=
        (".text." + kernel).str())
      continue;
    auto bytes = llvm::cantFail(object->getSectionContents(section));
    for (size_t i = 0; i + 16 <= bytes.size(); i += 16)
      ++found[bytes[i] | (bytes[i + 1] & 1) << 8];
  }
  return found;
}

/// Kernels of many layers in one module, so that the assembler starts once; of
/// those with the same text, as most that prepare and combine, one.
class Kernels {
public:
  explicit Kernels(MLIRContext *context)
      : module(ModuleOp::create(UnknownLoc::get(context))) {}

  void add(ModuleOp kernels, const std::string &layer,
           bool onlyProducts = false) {
    for (auto kernel : kernels.getOps<moegpu::KernelOp>()) {
      bool isProduct =
          kernel.getSymName() != "prepare" && kernel.getSymName() != "combine";
      if (onlyProducts && !isProduct)
        continue;
      std::string text, name = layer + "_" + kernel.getSymName().str();
      llvm::raw_string_ostream(text) << kernel;
      auto [known, isNew] = names.try_emplace(text, name);
      called[name] = known->second;
      if (!isNew)
        continue;
      auto copy = kernel.clone();
      copy.setSymName(name);
      module->push_back(copy);
    }
  }

  /// Nothing is amiss with them in the assembler's eyes.
  void assemble(ArrayRef<StringRef> archs) {
    auto texts = emitPtx(*module, archs);
    ASSERT_TRUE(static_cast<bool>(texts)) << llvm::toString(texts.takeError());
    for (auto [arch, text] : llvm::zip(archs, *texts)) {
      Assembled &made = assembled[arch.str()];
      made.said = test::assemble(text, arch.str(), made.cubin);
      test::expectClean(made.said);
    }
  }
  std::map<unsigned, int> operations(const std::string &arch,
                                     const std::string &name) const {
    return ::operations(assembled.at(arch).cubin, called.at(name));
  }
  std::string registers(const std::string &arch,
                        const std::string &name) const {
    return test::registersOf(assembled.at(arch).said, called.at(name));
  }

private:
  OwningOpRef<ModuleOp> module;
  std::map<std::string, std::string> names;  // by text
  std::map<std::string, std::string> called; // names in the module
  struct Assembled {
    std::string cubin, said;
  };
  std::map<std::string, Assembled> assembled; // by architecture
};

/// Of fp8 by fp8 where hardware has it without warpgroups: sm_89 and sm_120.
constexpr unsigned kMma = 0x03c, kMmaOfBytes = 0x07a, kWgmma = 0x1f0,
                   kWgmmaOfBytes = 0x1f3;

/// wgmma runs unserialised, with the registers that three warpgroups can have.
TEST_F(HopperAssembly, Assembles) {
  auto all = shapes();
  // Loops over its few stages are written out.
  all.push_back({"small", {16, 192, 192, 192, 2}});
  // The longest activation beside the most sums.
  for (bool isGlu : {false, true}) {
    LayerShape wide{8, 2052, 2048, 2048, 2, isGlu, cuda::Activation::Gelu};
    wide.hasUpBias = wide.hasDownBias = wide.scaleInput = true;
    all.push_back({isGlu ? "wide_gelu_glu" : "wide_gelu", wide});
    std::string glu = isGlu ? "_glu" : "";
    for (int64_t block : {64, 0, 32}) {
      wide.upCoded = wide.downCoded =
          rt::CodedRows{rt::RowCoding::F8ByF8, rt::RowScale::E8M0, block};
      all.push_back({"wide_bytes_" + std::to_string(block) + glu, wide});
    }
    // Bytes on one side alone.
    LayerShape mixed = wide;
    mixed.downCoded = rt::CodedRows{rt::RowCoding::Int8, rt::RowScale::F16, 32};
    all.push_back({"bytes_int8" + glu, mixed});
    std::swap(mixed.upCoded, mixed.downCoded);
    all.push_back({"int8_bytes" + glu, mixed});
  }
  llvm::erase_if(all, [](const auto &layer) {
    return !hasHopperUp(layer.second) || !hasHopperDown(layer.second);
  });
  Kernels kernels(&context.context);
  for (const auto &[name, shape] : all)
    kernels.add(
        *context.kernels(shape, shape.experts, true, test::OnHopper::ByCount),
        name, /*onlyProducts=*/true); // the others are below
  ASSERT_NO_FATAL_FAILURE(kernels.assemble({"sm_90a"}));
  for (const auto &[name, shape] : all)
    for (const std::string &kernel : productsOf(name, shape)) {
      SCOPED_TRACE(kernel);
      auto found = kernels.operations("sm_90a", kernel);
      bool hasBytes = kernel == name + "_down" ? shape.hiddenBytes().has_value()
                                               : shape.inputBytes().has_value();
      EXPECT_EQ(found[kWgmma] > 0, !hasBytes);
      EXPECT_EQ(found[kWgmmaOfBytes] > 0, hasBytes);
      EXPECT_EQ(found[kMma], 0);
      EXPECT_EQ(kernels.registers("sm_90a", kernel), "168");
    }
}

/// Of layers whose inputs are bytes, or of the others.
void assembleLayers(bool areByF8) {
  test::Context context;
  Kernels kernels(&context.context);
  struct Product {
    std::string name;
    bool hasTensor, mayBytes;
  };
  std::vector<Product> products;
  for (bool grouped : {false, true})
    for (const auto &[name, shape] : shapes()) {
      if (shape.inputBytes().has_value() != areByF8)
        continue;
      std::string layer = (grouped ? "many_" : "few_") + name;
      kernels.add(*context.kernels(shape, shape.experts, grouped), layer);
      // The tensor core rounds f32 numbers; only who asks for it gets it.
      bool hasTensor = shape.element != Element::F32 || (shape.tf32 && grouped);
      // Of few tokens, hidden values are no bytes.
      for (const std::string &kernel : productsOf(layer, shape))
        products.push_back({kernel, hasTensor,
                            areByF8 && (grouped || kernel == layer + "_up")});
    }
  const char *first = areByF8 ? "sm_89" : "sm_80";
  ASSERT_NO_FATAL_FAILURE(kernels.assemble({first, "sm_90a"}));
  for (const char *arch : {first, "sm_90a"})
    for (const auto &[name, hasTensor, mayBytes] : products) {
      SCOPED_TRACE(name + (" on " + std::string(arch)));
      auto found = kernels.operations(arch, name);
      // For sm_90a ptxas makes f16 of the numbers.
      bool hasBytes = mayBytes && arch == first;
      EXPECT_EQ(found[kMmaOfBytes] > 0, hasBytes);
      EXPECT_EQ(found[kMma] > 0, hasTensor && !hasBytes);
      testing::Test::RecordProperty(arch + ("." + name),
                                    kernels.registers(arch, name));
    }
}

TEST(LayerAssembly, Assembles) { assembleLayers(false); }
TEST(LayerAssembly, AssemblesBytes) { assembleLayers(true); }
#else
TEST(LayerAssembly, Assembles) { GTEST_SKIP() << "ptxas is not installed"; }
TEST_F(HopperAssembly, Assembles) { GTEST_SKIP() << "ptxas is not installed"; }
#endif

/// Products of bytes, and what the driver must know of them.
TEST_P(KernelAssembly, PtxOfBytes) {
  LayerShape shape{8, 2048, 768, 2048, 8};
  shape.upCoded = shape.downCoded =
      rt::CodedRows{rt::RowCoding::F8ByF8, rt::RowScale::F32, 128};
  OwningOpRef<ModuleOp> module = context.kernels(shape, 8, GetParam());
  for (auto [arch, version] : {std::pair("sm_89", ".version 8.4"),
                               std::pair("sm_90a", ".version 8.4")}) {
    auto text = emitPtx(*module, arch);
    ASSERT_TRUE(static_cast<bool>(text)) << llvm::toString(text.takeError());
    for (const char *part :
         {version, "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32",
          "cvt.rn.satfinite.e4m3x2.f32"})
      EXPECT_NE(text->find(part), std::string::npos) << part;
    size_t down = text->find(".entry down(");
    EXPECT_EQ(text->find("m16n8k32", down) != std::string::npos, GetParam());
  }
  for (auto [arch, is] : {std::pair("sm_80", false), std::pair("sm_86", false),
                          std::pair("", false), std::pair("sm_89", true),
                          std::pair("sm_90a", true)})
    EXPECT_EQ(multipliesE4M3(arch), is) << arch;
}

TEST_P(KernelAssembly, Ptx) {
  LayerShape shape{8, 2048, 768, 2048, 8};
  OwningOpRef<ModuleOp> module = context.kernels(shape, 8, GetParam());
  StringRef archs[] = {"sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120"};
  auto texts = emitPtx(*module, archs);
  ASSERT_TRUE(static_cast<bool>(texts)) << llvm::toString(texts.takeError());
  for (auto [arch, text] : llvm::zip(archs, *texts)) {
    EXPECT_NE(text.find((".target " + arch).str()), std::string::npos);
    EXPECT_NE(text.find(".visible .entry up("), std::string::npos);
    EXPECT_NE(text.find("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"),
              std::string::npos);
    EXPECT_NE(text.find(GetParam()
                            ? "cp.async.cg.shared.global"
                            : "ld.global.nc.L1::no_allocate.L2::128B.v4.b32"),
              std::string::npos);
  }
  auto old = emitPtx(*module, "sm_75");
  ASSERT_FALSE(static_cast<bool>(old));
  llvm::consumeError(old.takeError());
  auto unknown = emitPtx(*module, "sm_1");
  ASSERT_FALSE(static_cast<bool>(unknown));
  EXPECT_NE(llvm::toString(unknown.takeError())
                .find("unknown GPU architecture 'sm_1'"),
            std::string::npos);
}

TEST_F(HopperAssembly, Ptx) {
  LayerShape shape{8, 2048, 768, 2048, 8};
  auto module = context.kernels(shape, 8, true, test::OnHopper::ByCount);
  auto text = emitPtx(*module, "sm_90a");
  ASSERT_TRUE(static_cast<bool>(text)) << llvm::toString(text.takeError());
  for (const char *part :
       {".target sm_90a",
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16",
        "wgmma.fence.sync.aligned",
        "wgmma.commit_group.sync.aligned",
        "wgmma.wait_group.sync.aligned \t1",
        "wgmma.wait_group.sync.aligned 0",
        "cp.async.bulk.tensor.3d.shared::cluster.global",
        "cp.async.cg.shared.global",
        "cp.async.mbarrier.arrive.noinc",
        "mbarrier.init.shared",
        "mbarrier.arrive.expect_tx",
        "mbarrier.try_wait.parity",
        "fence.proxy.async.shared::cta",
        "setmaxnreg.dec.sync.aligned.u32 \t56",
        "setmaxnreg.inc.sync.aligned.u32 \t224",
        "setmaxnreg.dec.sync.aligned.u32 \t72",
        "setmaxnreg.inc.sync.aligned.u32 \t216",
        ".maxntid 384",
        ".param .align 128 .b8 up_param_1[128]"})
    EXPECT_NE(text->find(part), std::string::npos) << part;
}

TEST_F(HopperAssembly, PtxOfBytes) {
  LayerShape shape{8, 2048, 768, 2048, 8};
  shape.upCoded = shape.downCoded =
      rt::CodedRows{rt::RowCoding::F8ByF8, rt::RowScale::F32, 128};
  auto module = context.kernels(shape, 8, true, test::OnHopper::ByCount);
  auto text = emitPtx(*module, "sm_90a");
  ASSERT_TRUE(static_cast<bool>(text)) << llvm::toString(text.takeError());
  for (const char *part :
       {"wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3",
        "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3",
        "cvt.rn.satfinite.e4m3x2.f32", "cp.async.ca.shared.global"})
    EXPECT_NE(text->find(part), std::string::npos) << part;
  EXPECT_EQ(text->find("mma.sync"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(, KernelAssembly, testing::Bool(),
                         [](const testing::TestParamInfo<bool> &info) {
                           return info.param ? "Grouped" : "Decode";
                         });
} // namespace
