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
/// Of one fragment each; LLVM knows no such product of E4M3 numbers.
constexpr Inline kMmaE4M3 = {
    "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {$0, $1, $2, $3}, "
    "{$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
    "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f"};
/// `cvt` has its second number in the low byte.
constexpr Inline kRoundE4M3 = {
    "{ .reg .b16 low, high; cvt.rn.satfinite.e4m3x2.f32 low, $2, $1; "
    "cvt.rn.satfinite.e4m3x2.f32 high, $4, $3; mov.b32 $0, {low, high}; }",
    "=r,f,f,f,f"};
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
