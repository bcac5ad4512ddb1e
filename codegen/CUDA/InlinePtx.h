#ifndef MOE_CODEGEN_CUDA_INLINEPTX_H
#define MOE_CODEGEN_CUDA_INLINEPTX_H

// Every piece of PTX that is written by hand, with LLVM's constraints.

namespace moe::ptx {
struct Inline {
  const char *text, *constraints;
};

/// 16 bytes of weights: past the first cache, 128 bytes into the second.
constexpr Inline kLoadStreaming = {
    "ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {$0, $1, $2, $3}, [$4];",
    "=r,=r,=r,=r,l"};

constexpr Inline kRoundTF32 = {"cvt.rna.tf32.f32 $0, $1;", "=r,f"};
constexpr Inline kPackedFmaBF16 = {"fma.rn.bf16x2 $0, $1, $2, $3;", "=r,r,r,r"};
constexpr Inline kPackedFmaF16 = {"fma.rn.f16x2 $0, $1, $2, $3;", "=r,r,r,r"};
constexpr Inline kPermuteBytes = {"prmt.b32 $0, $1, $2, $3;", "=r,r,r,r"};

/// The beginning: columns and types follow, then sums, four registers of rows,
/// the descriptor of the columns, and that all are added as they are.
constexpr const char *kWgmmaRegisters = "wgmma.mma_async.sync.aligned.m64n";

/// Its constraints tie as many sums as there are.
constexpr const char *kWgmmaWait = "wgmma.wait_group.sync.aligned 0;";

constexpr Inline kExp2 = {"ex2.approx.ftz.f32 $0, $1;", "=f,f"};
constexpr Inline kReciprocal = {"rcp.approx.ftz.f32 $0, $1;", "=f,f"};
} // namespace moe::ptx

#endif // MOE_CODEGEN_CUDA_INLINEPTX_H
