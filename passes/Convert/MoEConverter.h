#ifndef MOE_PASSES_CONVERT_MOECONVERTER_H
#define MOE_PASSES_CONVERT_MOECONVERTER_H

#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"

namespace moe {
using mlir::FailureOr;
using mlir::LogicalResult;
using mlir::Operation;
using mlir::Value;

/// Converts moe ops, one by one, to moert ops on packed weights.
class MoEConverter {
public:
  MoEConverter(mlir::ModuleOp module, int64_t width)
      : module(module), symbols(module), builder(module.getContext()),
        width(width) {}

  LogicalResult convert(RouterOp router);
  LogicalResult convert(GateOp gate);
  LogicalResult convert(ApplyOp apply);
  LogicalResult convert(ObserveOp observe);
  /// Packs the weight of a gemm, where it is a plain bank.
  LogicalResult pack(moert::GemmOp gemm);

private:
  /// One matrix per entry, as runs of columns.
  using Runs = llvm::SmallVector<llvm::SmallVector<ColumnsAttr>>;

  /// A derived bank of `runs`, packed, as a value before `at`.
  FailureOr<Value> pack(Operation *at, llvm::StringRef name, const Runs &runs,
                        int64_t depth, int64_t width, int64_t interleave);
  /// Biases `[E, N]`: one panel of depth one per entry.
  FailureOr<Value> packBias(Operation *at, llvm::StringRef name,
                            const Runs &runs);

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  mlir::SymbolTableCollection collection;
  mlir::OpBuilder builder;
  int64_t width; // columns of a panel
};

/// A destination with the sizes of `like`'s leading dimensions and `last`.
Value destination(mlir::OpBuilder &builder, mlir::Location loc, Value like,
                  int64_t last, mlir::Type element);
/// `value` under `type`: another static shape, or rounded elements.
Value convertTo(mlir::OpBuilder &builder, mlir::Location loc, Value value,
                mlir::RankedTensorType type);

} // namespace moe

#endif // MOE_PASSES_CONVERT_MOECONVERTER_H
