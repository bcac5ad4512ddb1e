#ifndef MOE_CODEGEN_CUDA_CUDABUILDER_H
#define MOE_CODEGEN_CUDA_CUDABUILDER_H

#include "codegen/CPU/KernelBuilder.h"
#include "dialects/MoEGPU/MoEGPUOps.h"

namespace moe {
/// Writes CUDA kernels. Loops, arithmetic and control are those of
/// KernelBuilder; memory and threads are `moegpu`'s. Indices are i64.
class CudaBuilder : public KernelBuilder {
public:
  /// Adds the kernel `name` to `module`, written by `body`.
  static void kernel(mlir::ModuleOp module, llvm::StringRef name,
                     llvm::ArrayRef<mlir::Type> arguments, int32_t threads,
                     int64_t shared,
                     Fn<void(CudaBuilder &, llvm::ArrayRef<Num>)> body);

  /// A pointer to global memory.
  static mlir::Type global(mlir::MLIRContext *context);
  mlir::Type bf16() { return b.getBF16Type(); }
  mlir::VectorType vector(int64_t count, mlir::Type element) {
    return mlir::VectorType::get({count}, element);
  }

  // --- who runs
  Num thread();
  Num block();
  Num grid();
  Num lane() { return thread() % 32; }
  /// The same for all lanes, as the assembler can see.
  Num warp();

  // --- memory: `index` counts elements of the scalar type of `type`
  Num shared(int64_t offset);
  Num at(mlir::Type type, Num base, Num index);
  Num load(mlir::Type type, Num base, Num index,
           moegpu::Caching caching = moegpu::Caching::All);
  void store(Num value, Num base, Num index);
  /// Adds to an i32 or f32; gives what was there.
  Num atomicAdd(Num value, Num base, Num index);

  // --- together
  void barrier();
  Num shuffle(Num value, Num lane, moegpu::ShuffleKind kind);
  /// Lanes whose `condition` holds, as bits.
  Num ballot(Num condition);
  Num countBits(Num bits);
  /// The bits of the lanes before `lane`.
  Num lanesBelow(Num lane);
  /// The sum of what the lanes give each other, in one order.
  Num warpSum(Num value);
  Num mma(Num a, Num b, Num c, moegpu::MmaKind kind = moegpu::MmaKind::BF16);

  // --- vectors in registers
  Num extract(Num vector, int64_t i);
  Num pack(llvm::ArrayRef<Num> parts);
  Num bitcast(Num value, mlir::Type type);
  /// 32 bits.
  Num word(uint32_t bits);
  /// Bits moved up by `by`, or down where it is negative; zeros come in.
  Num shift(Num bits, int64_t by);
  Num exclusiveOr(Num a, Num b);
  Num packedFma(Num a, Num b, Num c, moegpu::MmaKind kind);
  Num permuteBytes(Num low, Num high, Num selector);
  /// The bits of an f32 as `mma` wants tf32 numbers.
  Num roundTF32(Num x);
  /// Four numbers as E4M3 codes, in the bytes of 32 bits.
  Num roundE4M3(llvm::ArrayRef<Num> four);

  // --- functions, as exact as the hardware's
  Num exp2(Num x);
  Num reciprocal(Num x);

private:
  CudaBuilder(mlir::OpBuilder &b, mlir::Location loc, mlir::ModuleOp module)
      : KernelBuilder(b, loc, module, Isa::avx2()) {}
  template <typename Op>
  Num index();
};
} // namespace moe

#endif // MOE_CODEGEN_CUDA_CUDABUILDER_H
