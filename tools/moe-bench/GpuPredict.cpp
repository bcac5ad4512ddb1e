#include "tools/moe-bench/GpuPredict.h"

#include "tools/moe-bench/GpuModels.h"

#include <cstdio>

using namespace moe;
using namespace moe::bench;

static void printKernels(int64_t tokens, const cuda::LayerCost &cost) {
  for (const cuda::KernelCost &kernel : cost.kernels)
    printf("| %lld | %s | %s | %s | %s | %s | %s | %s | %s | %.1f | %.1f |\n",
           static_cast<long long>(tokens), kernel.name.c_str(),
           microseconds(kernel.seconds()).c_str(), kernel.bound(),
           microseconds(kernel.memory).c_str(), microseconds(kernel.l2).c_str(),
           microseconds(kernel.processors).c_str(),
           microseconds(kernel.ends).c_str(), microseconds(kernel.gap).c_str(),
           kernel.memoryBytes * 1e-6, kernel.l2Bytes * 1e-6);
}

namespace {
/// A row of a model's table.
struct Prediction {
  int64_t tokens;
  cuda::LayerCost cost;
  double target = 0; ///< microseconds; 0: none

  bool isAbove() const { return target > 0 && cost.seconds() * 1e6 > target; }
};
} // namespace

static std::vector<Prediction> printModel(const GpuModel &model,
                                          const Options &options) {
  printf("\n%s\n\n%s kernels | predicted us | x floor | TFLOP/s | target us | "
         "|\n|",
         titleOf(model).c_str(), FloorColumns::header());
  for (int column = 0; column < 12; ++column)
    printf(" --- |");
  printf("\n");
  std::vector<Prediction> rows;
  for (int64_t tokens : options.tokens) {
    FloorColumns columns =
        FloorColumns::of(model, routingsOf(model.shape, tokens));
    Prediction row = {tokens,
                      predictedCost(model, tokens, familyOf(options.arch))};
    auto target = model.targets.find(tokens);
    if (target != model.targets.end())
      row.target = target->second;
    double seconds = row.cost.seconds();
    printf("%s %s%s | %s | %.2f | %.0f | %s | %s |\n",
           columns.text(model, tokens).c_str(), row.cost.variant.c_str(),
           row.cost.isThere ? "" : " (planned)", microseconds(seconds).c_str(),
           seconds / columns.floor, columns.operations / seconds * 1e-12,
           row.target > 0 ? microseconds(row.target * 1e-6).c_str() : "-",
           row.isAbove() ? "**above**" : "");
    rows.push_back(std::move(row));
  }
  if (!options.verbose)
    return rows;
  printf("\n| T | kernel | us | bound by | memory us | L2 us | processors us "
         "| ends us | gap us | memory MB | L2 MB |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- "
         "|\n");
  for (const Prediction &row : rows)
    printKernels(row.tokens, row.cost);
  return rows;
}

static void printSummary(const std::vector<GpuModel> &models,
                         const std::vector<std::vector<Prediction>> &rows) {
  printf("\n| predicted us (target) |");
  for (const Prediction &row : rows[0])
    printf(" T = %lld |", static_cast<long long>(row.tokens));
  printf("\n|");
  for (size_t column = 0; column <= rows[0].size(); ++column)
    printf(" --- |");
  printf("\n");
  for (size_t m = 0; m < models.size(); ++m) {
    printf("| %s |", models[m].title);
    for (const Prediction &row : rows[m]) {
      const char *bold = row.isAbove() ? "**" : "";
      printf(" %s%s%s (%s) |", bold, microseconds(row.cost.seconds()).c_str(),
             bold,
             row.target > 0 ? microseconds(row.target * 1e-6).c_str() : "-");
    }
    printf("\n");
  }
}

int moe::bench::runPredict(const Options &options) {
  printf("Predicted, not measured: a layer of experts on an %s, bf16, kernels "
         "of %s.\n",
         cuda::Gpu().name, options.arch.c_str());
  int total = 0, above = 0, planned = 0;
  std::vector<GpuModel> models = gpuModels(options);
  std::vector<std::vector<Prediction>> rows;
  for (const GpuModel &model : models) {
    rows.push_back(printModel(model, options));
    for (const Prediction &row : rows.back()) {
      total += row.target > 0;
      above += row.isAbove();
      planned += !row.cost.isThere;
    }
  }
  if (models.size() > 1)
    printSummary(models, rows);
  printf("\n");
  if (planned)
    printf("planned: these kernels are not generated yet; %s runs those of "
           "sm_80 there, see --arch sm_80\n",
           options.arch.c_str());
  printf("%d of %d predictions are above their target\n", above, total);
  return above ? 3 : 0;
}
