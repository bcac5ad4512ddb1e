#ifndef MOE_PASSES_COMPRESS_PROFILECOLUMNS_H
#define MOE_PASSES_COMPRESS_PROFILECOLUMNS_H

#include "passes/Analysis/Numbers.h"
#include "passes/Compress/Layers.h"

namespace moe {
class Profile;

/// Profiles are about the router columns of the model as it was. Steps that
/// erase, add or merge columns note on the pool (`moe.profile_columns`) which
/// of those stand behind each column that is left, so that later steps find
/// what was measured of it.
class ProfileColumns {
public:
  /// What the pool of the layer says; each column is its own where it says
  /// nothing. Fails with an error where it says what cannot be.
  static mlir::FailureOr<ProfileColumns> of(const MoELayer &layer);

  /// The number of columns of the model as it was.
  int64_t getCount() const { return count; }
  /// Those behind `column`: one, several that were merged, or none.
  llvm::ArrayRef<int64_t> of(int64_t column) const { return columns[column]; }
  /// The only one behind `column`, or nothing.
  std::optional<int64_t> oneOf(int64_t column) const {
    if (columns[column].size() != 1)
      return std::nullopt;
    return columns[column].front();
  }

  /// Lets the layer have columns that are made of these, and notes it.
  void change(MoELayer &layer, llvm::ArrayRef<MixedColumn> made);
  /// Lets the last `added` columns of the layer have nothing behind them, and
  /// notes it.
  void add(MoELayer &layer, int64_t added);

  /// The profile is of the module as it is.
  static void forget(mlir::ModuleOp module);

private:
  void note(MoELayer &layer);

  int64_t count = 0;
  std::vector<std::vector<int64_t>> columns;
};

/// A measure with a row per column (`counts`...), by entries of the pool: rows
/// of the columns that the entry serves, added up. Nothing where the profile
/// has none. Fails with an error where it is about other columns.
mlir::FailureOr<std::optional<Numbers>> measureOfEntries(const MoELayer &layer,
                                                         const Profile &profile,
                                                         llvm::StringRef name);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_PROFILECOLUMNS_H
