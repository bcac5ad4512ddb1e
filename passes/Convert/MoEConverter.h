#ifndef MOE_PASSES_CONVERT_MOECONVERTER_H
#define MOE_PASSES_CONVERT_MOECONVERTER_H

#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "passes/Analysis/CodedMatrix.h"

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
  /// The same of quantised values.
  Value packCoded(Operation *at, llvm::StringRef name, const Runs &runs,
                  int64_t depth, int64_t interleave, int64_t bits,
                  const CodedMatrix::Values &model);
  /// Packed weights; the rest is there where they are coded.
  struct Packed {
    Value values, scales, zeros;
    moert::CodingAttr coding;
    mlir::IntegerAttr block;
  };
  /// One matrix (gate and up are one) of each of `experts`.
  FailureOr<Packed>
  packMatrices(Operation *at, llvm::StringRef name,
               llvm::ArrayRef<llvm::SmallVector<mlir::Attribute>> matrices,
               llvm::ArrayRef<ExpertOp> experts, int64_t depth,
               int64_t interleave);
  /// What experts of one kind say about `tokens`, added to `sum` where there
  /// is one. `entries` are the experts that serve the router's columns.
  FailureOr<Value> runExperts(ApplyOp apply, llvm::StringRef name,
                              llvm::ArrayRef<ExpertOp> experts,
                              const ExpertShape &shape,
                              llvm::ArrayRef<int64_t> entries, Value tokens,
                              Value sum, mlir::Type element);
  /// An entry without matrices, and the columns that it serves.
  struct NullEntry {
    NullExpertOp entry;
    llvm::SmallVector<int64_t> columns;
  };
  /// The sum of what such entries add (MoENullExperts.cpp).
  Value nullExperts(ApplyOp apply, llvm::ArrayRef<NullEntry> nulls,
                    int64_t outputs);
  /// A derived bank as a value before `at`.
  Value derive(Operation *at, llvm::StringRef name, mlir::Attribute recipe,
               mlir::RankedTensorType type);
  /// The bank of a slice as a value.
  Value weightOf(Operation *at, SliceAttr slice);
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
