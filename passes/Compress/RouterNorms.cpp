#include "passes/Compress/RouterNorms.h"

#include "passes/Compress/ProfileColumns.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static std::vector<double> rowNorms(const Numbers &rows) {
  std::vector<double> norms(rows.rows);
  for (int64_t r = 0; r < rows.rows; ++r) {
    double square = 0;
    for (int64_t c = 0; c < rows.columns; ++c)
      square += rows.at(r, c) * rows.at(r, c);
    norms[r] = std::sqrt(square);
  }
  return norms;
}

static int64_t countLayers(ModuleOp module) {
  int64_t count = 0;
  module.walk([&](ApplyOp) { ++count; });
  return count;
}

FailureOr<RouterNorms> RouterNorms::of(ModuleOp module, WeightSource &weights,
                                       StringRef path) {
  auto layers = collectLayers(module);
  if (failed(layers))
    return failure();
  RouterNorms result;
  result.path = path.str();
  result.routers.resize(countLayers(module));
  for (const MoELayer &layer : *layers) {
    if (!hasLinearRouter(layer))
      continue;
    auto rows = routerWeight(layer, weights);
    if (failed(rows))
      return failure();
    result.routers[layer.index] = Router{rows->columns, rowNorms(*rows)};
  }
  return result;
}

FailureOr<std::vector<double>>
RouterNorms::growth(const MoELayer &layer, WeightSource &weights) const {
  ApplyOp apply = layer.apply;
  int64_t count = countLayers(apply->getParentOfType<ModuleOp>());
  if (count != static_cast<int64_t>(routers.size()))
    return emitLayerError(layer)
           << "is one of " << count << " MoE layers, but the base model '"
           << path << "' has " << routers.size();
  if (!hasLinearRouter(layer) || !routers[layer.index])
    return emitLayerError(layer)
           << (hasLinearRouter(layer)
                   ? "its counterpart in the base model '" + path + "'"
                   : std::string("it"))
           << " has no linear router with stored weights";
  auto rows = routerWeight(layer, weights);
  if (failed(rows))
    return failure();
  auto columns = ProfileColumns::of(layer);
  if (failed(columns))
    return failure();
  const Router &base = *routers[layer.index];
  if (rows->columns != base.features ||
      columns->getCount() != static_cast<int64_t>(base.norms.size()))
    return emitLayerError(layer)
           << "its router chooses among " << columns->getCount()
           << " experts by " << rows->columns
           << " features, that of the base model '" << path << "' among "
           << base.norms.size() << " by " << base.features;
  std::vector<double> growth = rowNorms(*rows);
  for (size_t e = 0; e < growth.size(); ++e) {
    auto column = columns->oneOf(static_cast<int64_t>(e));
    if (!column)
      return emitLayerError(layer)
             << "its column " << e
             << " has been merged or added, so the base model '" << path
             << "' has no such one";
    growth[e] -= base.norms[*column];
    if (!std::isfinite(growth[e]))
      return emitLayerError(layer)
             << "the router's column of expert " << e
             << " is not finite, here or in the base model '" << path << "'";
  }
  return growth;
}
