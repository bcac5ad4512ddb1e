#ifndef MOE_CODEGEN_CUDA_OPWRITER_H
#define MOE_CODEGEN_CUDA_OPWRITER_H

#include "codegen/CUDA/CudaBuilder.h"
#include "codegen/CUDA/OpKernels.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace moe::cuda {
/// Writes the kernel of an op. First it is told what the kernel takes, then
/// what the kernel does. What an op has that kernels cannot serve is noted on
/// the way, and then there is none.
class OpWriter {
public:
  /// A number that the compiler knows, or the kernel is given.
  struct Size {
    std::optional<int64_t> constant;
    unsigned number = 0;
  };
  struct Memory {
    unsigned index = 0;
    mlir::Type element;
    llvm::SmallVector<Size> sizes;
    llvm::SmallVector<Size> strides; ///< none where it is dense
  };
  enum class Elements { Real, Integer, Any, Bits };

  OpWriter(mlir::Operation *op, mlir::OpBuilder &host, mlir::ModuleOp kernels,
           bool mayRound)
      : op(op), host(host), mayRound(mayRound), kernels(kernels) {}

  // --- what the kernel takes
  /// Dense memory of numbers: f32, bf16 or f16 (`Real`), i32 or i64
  /// (`Integer`), these and narrower integers (`Any`), or whatever, to be
  /// copied (`Bits`).
  Memory memory(mlir::Value memref, Elements elements, llvm::StringRef what);
  /// The same of memory that may lie at any strides; the address is that of
  /// its first number.
  Memory strided(mlir::Value memref, Elements elements, llvm::StringRef what);
  /// Memory of its own, of `count` f32 (an index of the host); and that of the
  /// kernel before this one.
  Memory scratch(mlir::Value count);
  Memory scratch();
  /// Launches the kernel only where `condition` (an i1 of the host) holds.
  void onlyIf(mlir::Value condition) { made.onlyIf = condition; }
  /// A scalar of the host.
  Size number(mlir::Value scalar);
  /// An address more, for what is wrong with the input.
  void takeFaults(llvm::StringRef message, llvm::StringRef where = "");
  /// Has the host see that `count` choices are some, and at most `most`.
  void checkCount(mlir::Value count, int64_t most, llvm::StringRef layer);
  /// There is no kernel; the first reason is kept.
  std::nullopt_t refuse(const llvm::Twine &why);
  bool isRefused() const { return !reason.empty(); }
  llvm::StringRef why() const { return reason; }

  /// The kernel, unless something was refused; its name begins with `family`.
  std::optional<OpKernel> write(llvm::StringRef family, int64_t shared,
                                llvm::function_ref<void(CudaBuilder &)> body);

  /// Writes another kernel of the op.
  OpWriter another() { return {op, host, kernels, mayRound}; }

  // --- what the kernel does: within `write`
  Num base(const Memory &memory) { return arguments[memory.index]; }
  Num size(Size size);
  Num size(const Memory &memory, unsigned d) { return size(memory.sizes[d]); }
  /// How far apart numbers are that differ by 1 in dimension `d`.
  Num stride(const Memory &memory, unsigned d);
  /// Where the number with these indices is.
  Num place(const Memory &memory, llvm::ArrayRef<Num> indices);
  /// The product of all sizes but the last `trailing` ones.
  Num count(const Memory &memory, unsigned trailing = 0);
  /// A scalar of the host, of the type that it has there.
  Num scalar(Size size, mlir::Type type);
  /// A number as it is, of an i1 and an index too.
  Num read(const Memory &memory, Num index);
  void write(Num value, const Memory &memory, Num index);
  Num readReal(const Memory &memory, Num index); ///< as f32
  void writeReal(Num value, const Memory &memory, Num index);
  /// Says that number `n` of the input is wrong.
  void fault(Num n);

  mlir::Operation *op;
  mlir::OpBuilder &host;
  const bool mayRound; ///< to 16 bits what is multiplied

private:
  mlir::ModuleOp kernels;
  llvm::StringRef reason;
  OpKernel made;
  /// Numbers: a scalar, or a size or stride of a memref.
  struct Given {
    mlir::Value value;
    enum { Scalar, SizeOf, StrideOf } kind = Scalar;
    unsigned d = 0;
  };
  mlir::Value onHost(const Given &given);

  llvm::SmallVector<Given> numbers;
  CudaBuilder *k = nullptr;
  llvm::ArrayRef<Num> arguments;
};

// One for each family of ops.
using MadeKernel = std::optional<OpKernel>;
MadeKernel loopKernel(OpWriter &w, mlir::linalg::LinalgOp op);
MadeKernel copyKernel(OpWriter &w, mlir::memref::CopyOp op);
MadeKernel normKernel(OpWriter &w, moert::RmsNormOp op);
MadeKernel normKernel(OpWriter &w, moert::LayerNormOp op);
MadeKernel ropeKernel(OpWriter &w, moert::RopeOp op);
MadeKernel ropeKernel(OpWriter &w, moert::RopeTableOp op);
MadeKernel embedKernel(OpWriter &w, moert::EmbedOp op);
MadeKernel appendKernel(OpWriter &w, moert::KvAppendOp op);
MadeKernel routeKernel(OpWriter &w, moert::RouteOp op);
MadeKernel attentionKernel(OpWriter &w, moert::AttentionOp op);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_OPWRITER_H
