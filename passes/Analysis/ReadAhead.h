#ifndef MOE_PASSES_ANALYSIS_READAHEAD_H
#define MOE_PASSES_ANALYSIS_READAHEAD_H

#include "dialects/MoE/MoEOps.h"
#include <vector>

namespace moe {
class WeightSource;

/// What will be read, in order: the system fetches it from the disk while
/// earlier items are worked on, and matrices that are to be factored are found
/// so that several can be at once.
class ReadAhead {
public:
  explicit ReadAhead(WeightSource &source) : source(source) {}

  /// A slice, a recipe, or (null) the bytes of the bank `at`.
  void add(mlir::Operation *at, mlir::Attribute recipe) {
    items.push_back({at, recipe});
  }
  size_t size() const { return items.size(); }

  /// Work is about to begin on item `i`.
  void reach(size_t i);

  /// Matrices that item `i` and later ones factor (`wholeOf`), and where; at
  /// most `count`, each once.
  using Factors = std::pair<mlir::Operation *, LowRankAttr>;
  std::vector<Factors> factorsFrom(size_t i, size_t count);

private:
  struct Item {
    mlir::Operation *at;
    mlir::Attribute recipe;
  };
  uint64_t request(const Item &item);

  WeightSource &source;
  std::vector<Item> items;
  std::vector<uint64_t> sizes; ///< of what has been requested
  uint64_t pending = 0;        ///< of it, not reached yet
  size_t at = 0;
};

/// The recipe for both factors: that of the left one.
LowRankAttr wholeOf(LowRankAttr recipe);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_READAHEAD_H
