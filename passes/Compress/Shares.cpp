#include "passes/Compress/Shares.h"
#include <cmath>

using namespace mlir;
using namespace moe;

FailureOr<std::vector<int64_t>> moe::keptCounts(StringRef pass,
                                                ArrayRef<MoELayer> layers,
                                                int64_t keep, double ratio) {
  Location loc = layers.front().apply->getParentOfType<ModuleOp>().getLoc();
  auto wrong = [&] { return emitError(loc) << pass << ": "; };
  if ((keep == -1) == (ratio == -1.0))
    return wrong() << "give keep (experts per layer) or ratio (share that "
                      "goes), not both";
  if (keep != -1 && keep < 1)
    return wrong() << "keep is 1 or more, not " << keep;
  if (keep == -1 && !(ratio >= 0 && ratio < 1))
    return wrong() << "ratio is at least 0 and less than 1, not " << ratio;
  std::vector<int64_t> counts;
  for (const MoELayer &layer : layers) {
    PoolOp pool = layer.pool;
    int64_t experts = pool.getNumEntries();
    if (keep > experts)
      return wrong() << "layer '" << layer.name << "' has " << experts
                     << " experts, it cannot keep " << keep;
    counts.push_back(
        keep != -1
            ? keep
            : std::max<int64_t>(
                  1, std::llround(static_cast<double>(experts) * (1 - ratio))));
  }
  return counts;
}
