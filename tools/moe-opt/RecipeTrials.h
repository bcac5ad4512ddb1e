#ifndef MOE_TOOLS_MOEOPT_RECIPETRIALS_H
#define MOE_TOOLS_MOEOPT_RECIPETRIALS_H

#include "mlir/IR/BuiltinOps.h"
#include "passes/Compress/AutoSearch.h"
#include "passes/Compress/Ledger.h"
#include "passes/Compress/Matrices.h"

namespace moe {
class OutputError;
class Profile;
class WeightSource;

/// Runs recipes on copies of a model. What goes wrong is an error with the
/// reason, not a diagnostic: nobody has asked for just this recipe.
///
/// Holds one compressed copy at a time, of the last shape, and what its
/// storages share.
class RecipeTrials {
public:
  RecipeTrials(mlir::ModuleOp module, WeightSource &weights,
               const Profile &profile, const OutputError &reference)
      : module(module), weights(weights), profile(profile),
        reference(reference) {}

  /// Bytes and output error of the model by steps that change numbers, then by
  /// those that store them; one may be empty. A shape comes first without a
  /// storage.
  llvm::Expected<Candidate> tryRecipe(llvm::StringRef shape,
                                      llvm::StringRef storage);

  /// A copy of the model after the steps.
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> make(llvm::StringRef steps);

private:
  llvm::Error compress(mlir::ModuleOp copy, llvm::StringRef steps,
                       Ledger &ledger);

  mlir::ModuleOp module;
  WeightSource &weights;
  const Profile &profile;
  const OutputError &reference;
  mlir::OwningOpRef<mlir::ModuleOp> shaped;
  MomentsMemo moments; ///< of `shaped`, or of the model where that is empty
};

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_RECIPETRIALS_H
