#ifndef MOE_PASSES_KERNELS_KERNELS_H
#define MOE_PASSES_KERNELS_KERNELS_H

#include "codegen/CPU/KernelBuilder.h"
#include "dialects/MoERT/MoERTOps.h"

namespace moe {

/// Whether a kernel exists for this `moert` op, on tensors or on memrefs. What
/// has none takes plain loops (`--convert-moert-to-linalg`).
bool hasKernel(mlir::Operation *op, const Isa &isa);

/// Calls the kernel of `op`, a `moert` op on dense memrefs that `hasKernel`,
/// where the builder stands; writes the kernel when it is needed first.
void callKernel(KernelBuilder &k, mlir::Operation *op);

namespace kernels {
// One file per family. The first says whether there is a kernel.
bool has(moert::GemmOp op, const Isa &isa);
void call(KernelBuilder &k, moert::GemmOp op);
bool has(moert::ExpertFfnOp op, const Isa &isa);
void call(KernelBuilder &k, moert::ExpertFfnOp op);
bool has(moert::AttentionOp op, const Isa &isa);
void call(KernelBuilder &k, moert::AttentionOp op);
bool has(moert::RouteOp op, const Isa &isa);
void call(KernelBuilder &k, moert::RouteOp op);
bool has(moert::EmbedOp op, const Isa &isa);
void call(KernelBuilder &k, moert::EmbedOp op);
bool has(moert::RmsNormOp op, const Isa &isa);
void call(KernelBuilder &k, moert::RmsNormOp op);
bool has(moert::LayerNormOp op, const Isa &isa);
void call(KernelBuilder &k, moert::LayerNormOp op);
bool has(moert::RopeTableOp op, const Isa &isa);
void call(KernelBuilder &k, moert::RopeTableOp op);
bool has(moert::RopeOp op, const Isa &isa);
void call(KernelBuilder &k, moert::RopeOp op);
bool has(moert::KvAppendOp op, const Isa &isa);
void call(KernelBuilder &k, moert::KvAppendOp op);

// What the families share.
mlir::ShapedType shaped(mlir::Value value);
mlir::Type element(mlir::Value value);
int64_t dim(mlir::Value value, int64_t d);
bool isF32(mlir::Value value);
/// A number that kernels widen as they load it: f32, bf16 or f16.
bool isNarrow(mlir::Value value);
/// The bits of a number, for names of kernels.
std::string bits(const llvm::APFloat &number);

/// The address of a dense memref.
Num pointer(KernelBuilder &k, mlir::Value memref);
Num size(KernelBuilder &k, mlir::Value memref, int64_t d);
/// Numbers from one index of dimension `d` to the next.
Num stride(KernelBuilder &k, mlir::Value memref, int64_t d);
/// Whether the kernel reads operand `operand` of `op` where it lies, although
/// it is not dense.
bool takesStrides(mlir::OpOperand &operand);
/// The product of all sizes but the last `trailing` ones.
Num rows(KernelBuilder &k, mlir::Value memref, int64_t trailing = 1);
/// What moert_parallel_for should not split: all items where their work (in
/// multiply-adds) is too little to share, else one.
Num grain(KernelBuilder &k, Num items, Num work);
} // namespace kernels
} // namespace moe

#endif // MOE_PASSES_KERNELS_KERNELS_H
