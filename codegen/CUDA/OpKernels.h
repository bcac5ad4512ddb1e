#ifndef MOE_CODEGEN_CUDA_OPKERNELS_H
#define MOE_CODEGEN_CUDA_OPKERNELS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include <optional>
#include <string>
#include <vector>

namespace moe::cuda {
/// A kernel that computes one op on memory: of kLayerThreads threads, and
/// blocks as many as one likes. The result depends on neither their number nor
/// their order.
struct OpKernel {
  std::string name; ///< in the module of kernels
  /// Memrefs whose addresses it takes, first; null: of `scratch`.
  llvm::SmallVector<mlir::Value> memories;
  /// Scalars it takes after them: index values as i64, others (i32, i64, f32)
  /// as they are.
  llvm::SmallVector<mlir::Value> numbers;
  /// It takes one address more, between these: of an i32 that it sets to 1 + n
  /// where number n of its input is none that it can work with, and leaves as
  /// it is otherwise. Of several such n it is one.
  bool takesFaults = false;
  /// What the run then ends with: as of `moert.check`, with n as the value.
  std::string faultMessage, faultWhere;
  /// Memory for it and those that follow, of so many f32 (an index), if any;
  /// what it holds at first does not matter.
  mlir::Value scratch = {};
  /// An i1 of the host; where there is one, it is launched only if that holds.
  mlir::Value onlyIf = {};
  /// Kernels that follow, which may go on with what it left.
  std::vector<OpKernel> followers;
};

/// The kernel for `op`, added to `kernels` where it is not yet there (its name
/// says everything that it depends on), or nothing, with the reason in `why`.
/// What the host has to compute for it, such as sizes that are not constant, is
/// made before `op`, with `host`. Where it `mayRound`, attention of many
/// queries multiplies numbers that are rounded to f16.
///
/// Memory is dense, but that of loops, and of keys and values, may
/// have strides. Rows of f32 begin at multiples of 16 bytes where they have
/// multiples of four numbers. There are kernels for parallel loops (`linalg`)
/// and copies, and for all ops of `moert` that write memory but `gemm` and
/// `expert_ffn`.
std::optional<OpKernel> kernelOf(mlir::Operation *op, mlir::OpBuilder &host,
                                 mlir::ModuleOp kernels, bool mayRound,
                                 llvm::StringRef &why);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_OPKERNELS_H
