// PTX of the kernels of ops, and what the assembler makes of it.
#include "codegen/CUDA/Kernels.h"
#include "codegen/CUDA/SampleKernels.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "test/unit/codegen/Assembler.h"
#include "test/unit/codegen/OpFixture.h"

using namespace mlir;
using namespace moe;
using namespace moe::test;

namespace {
/// Ops of models, a function for each: Qwen3-30B, and forms that others have.
const char *const kOps = R"(
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @functions(%x: memref<?x?xbf16>, %y: memref<?x?xf32>) {
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x : memref<?x?xbf16>) outs(%y : memref<?x?xf32>) {
  ^bb0(%n: bf16, %o: f32):
    %v = arith.extf %n : bf16 to f32
    %0 = math.exp %v : f32
    %1 = math.tanh %0 : f32
    %2 = math.erf %1 : f32
    %3 = math.log %2 : f32
    %4 = math.sin %3 : f32
    %5 = math.cos %4 : f32
    %6 = math.sqrt %5 : f32
    %7 = math.roundeven %6 : f32
    %8 = math.floor %7 : f32
    %9 = math.absf %8 : f32
    %10 = arith.maximumf %9, %v : f32
    %11 = arith.remf %10, %0 : f32
    linalg.yield %11 : f32
  }
  return
}
func.func @copy(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  memref.copy %x, %y : memref<?x?xf32> to memref<?x?xf32>
  return
}
func.func @rms(%x: memref<?x?x2048xf32>, %s: memref<2048xf32>, %y: memref<?x?x2048xf32>) {
  moert.rms_norm ins(%x, %s : memref<?x?x2048xf32>, memref<2048xf32>)
      outs(%y : memref<?x?x2048xf32>) epsilon 1.0e-6
  return
}
func.func @head(%x: memref<?x?x32x128xf32>, %s: memref<128xf32>, %y: memref<?x?x32x128xf32>) {
  moert.rms_norm ins(%x, %s : memref<?x?x32x128xf32>, memref<128xf32>)
      outs(%y : memref<?x?x32x128xf32>) epsilon 1.0e-6
  return
}
func.func @layer(%x: memref<?x768xf32>, %s: memref<768xbf16>, %y: memref<?x768xf16>) {
  moert.layer_norm ins(%x, %s : memref<?x768xf32>, memref<768xbf16>)
      outs(%y : memref<?x768xf16>) epsilon 1.0e-5
  return
}
func.func @table(%p: memref<?x?xi64>, %f: memref<64xf32>, %c: memref<?x?x64xf32>, %s: memref<?x?x64xf32>) {
  moert.rope_table ins(%p, %f : memref<?x?xi64>, memref<64xf32>)
      outs(%c, %s : memref<?x?x64xf32>, memref<?x?x64xf32>)
  return
}
func.func @rope(%x: memref<?x?x32x128xf32>, %c: memref<?x?x64xf32>, %s: memref<?x?x64xf32>) {
  moert.rope ins(%x, %c, %s : memref<?x?x32x128xf32>, memref<?x?x64xf32>, memref<?x?x64xf32>)
      outs(%x : memref<?x?x32x128xf32>)
  return
}
func.func @embed(%ids: memref<?x?xi64>, %t: memref<151936x2048xbf16>, %y: memref<?x?x2048xf32>) {
  moert.embed ins(%ids, %t : memref<?x?xi64>, memref<151936x2048xbf16>) outs(%y : memref<?x?x2048xf32>)
  return
}
func.func @append(%p: memref<?x4x?x128xf32>, %x: memref<?x?x4x128xf32>, %y: memref<?x4x?x128xf32>) {
  moert.kv_append past(%p : memref<?x4x?x128xf32>) ins(%x : memref<?x?x4x128xf32>)
      outs(%y : memref<?x4x?x128xf32>)
  return
}
func.func @route(%l: memref<?x128xf32>, %i: memref<?x8xi32>, %w: memref<?x8xf32>) {
  moert.route softmax ins(%l : memref<?x128xf32>) outs(%i, %w : memref<?x8xi32>, memref<?x8xf32>)
      {normalize}
  return
}
func.func @groups(%l: memref<?x256xf32>, %b: memref<256xf32>, %i: memref<?x8xi32>, %w: memref<?x8xf32>) {
  moert.route sigmoid ins(%l : memref<?x256xf32>) choice_bias(%b : memref<256xf32>)
      outs(%i, %w : memref<?x8xi32>, memref<?x8xf32>)
      {normalize, groups = 8 : i64, top_groups = 4 : i64, group_top2, scale = 2.5}
  return
}
func.func @many(%l: memref<?x1024xf32>, %i: memref<?x40xi32>, %w: memref<?x40xf32>) {
  moert.route softmax ins(%l : memref<?x1024xf32>) outs(%i, %w : memref<?x40xi32>, memref<?x40xf32>)
      {select_first, skip_ratio = 0.1}
  return
}
func.func @attention(%q: memref<?x?x32x128xf32>, %k: memref<?x4x?x128xf32>, %y: memref<?x?x32x128xf32>) {
  moert.attention ins(%q, %k, %k : memref<?x?x32x128xf32>, memref<?x4x?x128xf32>, memref<?x4x?x128xf32>)
      outs(%y : memref<?x?x32x128xf32>) scale 0.0883883 causal
  return
}
func.func @masked(%q: memref<?x?x8x256xbf16>, %k: memref<?x4x?x256xbf16>, %m: memref<?x?xi64>, %b: memref<?x?x?x?xf32>, %y: memref<?x?x8x256xbf16>) {
  moert.attention ins(%q, %k, %k : memref<?x?x8x256xbf16>, memref<?x4x?x256xbf16>, memref<?x4x?x256xbf16>)
      key_mask(%m : memref<?x?xi64>) bias(%b : memref<?x?x?x?xf32>)
      outs(%y : memref<?x?x8x256xbf16>) scale 0.0625 causal {window = 4096 : i64, softcap = 50.0, masked_row = 1 : i32}
  return
}
func.func @wide(%q: memref<?x?x2x512xf32>, %k: memref<?x2x?x512xf32>, %y: memref<?x?x2x512xf32>) {
  moert.attention ins(%q, %k, %k : memref<?x?x2x512xf32>, memref<?x2x?x512xf32>, memref<?x2x?x512xf32>)
      outs(%y : memref<?x?x2x512xf32>) scale 0.05 causal
  return
})";
/// Those of attention are up to three: without tiles where these are too large.
constexpr int kCount = 15 + 4, kRoundedCount = kCount + 1;

/// The PTX of a kernel.
StringRef bodyOf(StringRef text, const std::string &name) {
  const std::string entry = ".visible .entry ";
  size_t at = text.find(entry + name + "(");
  if (at == StringRef::npos) {
    ADD_FAILURE() << "no kernel " << name;
    return {};
  }
  return text.slice(at, text.find(entry, at + entry.size()));
}

/// What cases of ops allow a GPU (OpFixture, CaseRecorder) rests on this: an
/// emulated `ex2` is all that is not rounded as on a GPU, beside the sums of
/// tensor cores. No assembler joins what is written with `.rn`.
void expectOnlyExp2Approximates(StringRef text) {
  for (auto [line, rest] = text.split('\n'); !line.empty() || !rest.empty();
       std::tie(line, rest) = rest.split('\n')) {
    StringRef op = line.ltrim("\t {").split(' ').first.split('\t').first;
    if (op.starts_with("ex2.") || op.starts_with("//"))
      continue;
    SmallVector<StringRef> parts;
    op.split(parts, '.');
    bool isReal =
        llvm::is_contained(parts, "f32") || llvm::is_contained(parts, "f64");
    static constexpr StringRef rounding[] = {"add", "sub",  "mul", "fma",
                                             "div", "sqrt", "rcp"};
    bool isRounded = llvm::is_contained(rounding, parts[0]) && isReal;
    EXPECT_TRUE(!isRounded || llvm::is_contained(parts, "rn")) << line.str();
    EXPECT_FALSE(llvm::is_contained(parts, "approx") ||
                 llvm::is_contained(parts, "ftz") ||
                 parts[0] == "mad" && isReal)
        << line.str();
  }
}

/// Exact ones, and those that may round and are others for it.
TEST_F(OpKernels, Assemble) {
  OwningOpRef<ModuleOp> module = kernels(kOps);
  mayRound = true;
  OwningOpRef<ModuleOp> rounding = kernels(kOps);
  std::vector<std::string> exact, rounded;
  for (auto kernel : module->getOps<moegpu::KernelOp>())
    exact.push_back(kernel.getSymName().str());
  EXPECT_EQ(exact.size(), size_t(kCount));
  EXPECT_EQ(llvm::range_size(rounding->getOps<moegpu::KernelOp>()),
            kRoundedCount);
  for (auto kernel : rounding->getOps<moegpu::KernelOp>()) {
    // Names end with a hash of the text.
    if (llvm::is_contained(exact, kernel.getSymName()))
      continue;
    rounded.push_back(kernel.getSymName().str());
    module->push_back(kernel->clone());
  }
  cuda::emitSample(*module, Float32Type::get(&context));
  auto sampling = cuda::sampleKernelNames(Float32Type::get(&context));
  exact.insert(exact.end(), {sampling.first, sampling.second});
  StringRef archs[] = {"sm_80", "sm_90a"};
  auto texts = cuda::emitPtx(*module, archs);
  ASSERT_TRUE(static_cast<bool>(texts)) << llvm::toString(texts.takeError());
  for (auto [arch, text] : llvm::zip(archs, *texts)) {
    auto have = [&](const std::vector<std::string> &names, const char *what) {
      return llvm::any_of(names, [&](const std::string &name) {
        return bodyOf(text, name).contains(what);
      });
    };
    EXPECT_FALSE(have(exact, "mma.sync"));
    EXPECT_TRUE(have(rounded, "mma.sync"));
    // Tiles of attention.
    EXPECT_TRUE(have(exact, "cp.async.cg.shared.global"));
    EXPECT_TRUE(have(rounded, "cp.async.cg.shared.global"));
    expectOnlyExp2Approximates(text);
    // Nothing is left to a library.
    EXPECT_EQ(text.find(".extern .func"), std::string::npos);
#ifdef MOE_PTXAS
    std::string cubin, said = assemble(text, arch.str(), cubin);
    expectClean(said);
    for (const auto &names : {exact, rounded})
      for (const std::string &name : names)
        RecordProperty((arch + "." + name).str(), registersOf(said, name));
#endif
  }
}
} // namespace
