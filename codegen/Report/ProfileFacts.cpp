#include "codegen/Report/ProfileFacts.h"

#include "runtime/Bank/Profile.h"

namespace json = llvm::json;

json::Object moe::profileFacts(const rt::Profile &profile) {
  json::Array layers;
  for (const rt::ProfileLayer &layer : profile.layers) {
    json::Object out{{"name", layer.name},
                     {"counts", json::Array(layer.numbers("counts"))}};
    std::vector<double> tokens = layer.numbers("tokens");
    double rows = tokens.empty() ? 0 : tokens[0];
    out["tokens"] = rows;
    auto mean = [&](const char *name, llvm::ArrayRef<double> sums) {
      if (sums.size() == 2 && sums[1] > 0)
        out[name] = sums[0] / sums[1];
    };
    mean("layer_cosine", layer.numbers("sublayer_cosine"));
    mean("block_cosine", layer.numbers("block_cosine"));
    if (std::vector<double> norms = layer.numbers("output_norm_sum");
        !norms.empty())
      mean("output_norm", {norms[0], rows});
    if (std::optional<double> ratio = layer.medianRatio())
      out["median_ratio"] = *ratio;
    if (std::vector<double> scores = layer.numbers("score_sum");
        !scores.empty() && rows > 0) {
      json::Array means;
      for (double score : scores)
        means.push_back(score / rows);
      out["mean_scores"] = std::move(means);
    }
    layers.push_back(std::move(out));
  }
  return json::Object{{"layers", std::move(layers)}};
}
