#ifndef MOE_PASSES_COMPRESS_LAYERS_H
#define MOE_PASSES_COMPRESS_LAYERS_H

#include "dialects/MoE/MoEOps.h"

namespace moe {

/// An MoE layer as compression sees it: one router, one gate, one run over a
/// pool that no other layer uses.
struct MoELayer {
  int64_t index = 0; ///< in the order of execution
  std::string name;
  RouterOp router; ///< null where the logits come from elsewhere
  GateOp gate;
  ApplyOp apply;
  PoolOp pool;
};

/// The layers of a module that have this form; the others get a remark.
std::vector<MoELayer> findLayers(mlir::ModuleOp module);

/// The same, at least one; with `only` not empty, those with these numbers.
/// Fails with an error where there is none such.
mlir::FailureOr<std::vector<MoELayer>>
collectLayers(mlir::ModuleOp module, llvm::ArrayRef<int64_t> only = {});

/// The router columns that entry `e` serves: its own, and those of aliases of
/// it. Of an alias, those of the entry that it names.
llvm::SmallVector<int64_t> columnsOf(PoolOp pool, int64_t e);

/// An error about the layer, which it names.
mlir::InFlightDiagnostic emitLayerError(const MoELayer &layer);

/// Fails with an error that names the expert, where `numbers`, made of weights
/// of entry `e`, are not finite.
mlir::LogicalResult checkFinite(const MoELayer &layer, int64_t e,
                                llvm::ArrayRef<double> numbers);

/// A bank that `recipe` makes, before the pool of the layer.
BankOp addBank(const MoELayer &layer, mlir::SymbolTable &symbols,
               const llvm::Twine &name, mlir::Attribute recipe,
               mlir::RankedTensorType type);
/// The same, before the symbol `next`.
BankOp addBank(mlir::Operation *next, mlir::SymbolTable &symbols,
               const llvm::Twine &name, mlir::Attribute recipe,
               mlir::RankedTensorType type);

/// The slice that is all of a bank.
SliceAttr wholeOf(BankOp bank);

/// Fails with an error where an entry of the pool is an alias, so that dropping
/// the expert it names would be about several columns.
mlir::LogicalResult checkNoAlias(const MoELayer &layer);

/// Keeps the entries and router columns `kept`, in this order; the layer's ops
/// change. At most as many experts as are left are chosen then. Fails where
/// the columns mean something that would be lost (`checkKept` tells before).
mlir::LogicalResult checkKept(const MoELayer &layer,
                              llvm::ArrayRef<int64_t> kept,
                              const mlir::SymbolTable &symbols);
mlir::LogicalResult keepColumns(MoELayer &layer, llvm::ArrayRef<int64_t> kept,
                                mlir::SymbolTable &symbols);

/// Lets the router have one column per row of `rows`: each the mean, with
/// weights that add up to 1, of columns that it had. Entries of the pool are
/// not touched. `checkColumns` tells before where that fails.
using MixedColumn = llvm::SmallVector<std::pair<int64_t, double>>;
mlir::LogicalResult checkColumns(const MoELayer &layer,
                                 llvm::ArrayRef<MixedColumn> columns,
                                 const mlir::SymbolTable &symbols);
mlir::LogicalResult mixColumns(MoELayer &layer,
                               llvm::ArrayRef<MixedColumn> columns,
                               mlir::SymbolTable &symbols);

/// Fails with an error where others than the run over the pool read what the
/// gate chooses.
mlir::LogicalResult checkChoiceUnread(const MoELayer &layer);

/// Lets the gate choose `topK` experts.
void setTopK(MoELayer &layer, int64_t topK);

/// Erases banks that nothing names.
void eraseUnusedBanks(mlir::ModuleOp module);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_LAYERS_H
