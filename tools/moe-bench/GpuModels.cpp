#include "tools/moe-bench/GpuModels.h"

#include "runtime/Device/KernelChoice.h"

#include <cstdarg>
#include <cstdio>

using namespace moe;
using namespace moe::bench;

static std::string format(const char *pattern, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, pattern);
  vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

std::vector<GpuModel> moe::bench::gpuModels(const Options &options) {
  auto shape = [](const char *name) {
    LayerShape found;
    parseShape(name, found);
    return found;
  };
  const std::vector<GpuModel> known = {
      {"Mixtral-8x7B",
       shape("mixtral-8x7b"),
       {{1, 190},
        {16, 750},
        {64, 750},
        {512, 775},
        {4096, 4750},
        {16384, 18200}}},
      {"Qwen3-30B-A3B",
       shape("qwen3-30b-a3b"),
       {{1, 30}, {16, 210}, {64, 320}, {512, 340}, {4096, 680}, {16384, 2550}}},
      {"DeepSeek-V3",
       shape("deepseek-v3"),
       {{1, 190},
        {16, 2360},
        {64, 5150},
        {512, 6000},
        {4096, 6400},
        {16384, 21000}}},
      {"gpt-oss-20b",
       shape("gpt-oss-20b"),
       {{1, 62},
        {16, 380},
        {64, 430},
        {512, 440},
        {4096, 1650},
        {16384, 6000}}},
  };
  if (options.shape.name.empty())
    return known;
  for (const GpuModel &model : known)
    if (model.shape.name == options.shape.name)
      return {model};
  return {{options.shape.name.c_str(), options.shape, {}}};
}

cuda::LayerShape moe::bench::kernelShape(const LayerShape &shape) {
  return {shape.experts, shape.hidden, shape.width, shape.hidden, shape.topK};
}

std::vector<cuda::Routing> moe::bench::routingsOf(const LayerShape &shape,
                                                  int64_t tokens) {
  std::vector<cuda::Routing> routings;
  for (int seed = 1; seed <= (tokens <= 64 ? 32 : 2); ++seed)
    routings.push_back(
        cuda::uniformRouting(shape.experts, shape.topK, tokens, seed));
  return routings;
}

const char *FloorColumns::header() {
  return "| T | active | T/expert | bytes us | flops us | floor us |";
}

FloorColumns FloorColumns::of(const GpuModel &model,
                              const std::vector<cuda::Routing> &routings) {
  FloorColumns sum;
  double share = 1 / static_cast<double>(routings.size());
  cuda::LayerShape shape = kernelShape(model.shape);
  for (const cuda::Routing &routing : routings) {
    cuda::Floor floor = cuda::floorOf(cuda::Gpu(), shape, routing);
    sum.active += share * static_cast<double>(routing.active());
    sum.bytes += share * floor.bytes;
    sum.flops += share * floor.flops;
    sum.floor += share * floor.seconds();
    sum.operations += share * cuda::layerFlops(shape, routing);
  }
  return sum;
}

std::string FloorColumns::text(const GpuModel &model, int64_t tokens) const {
  return format("| %lld | %.1f | %.4g | %s | %s | %s |",
                static_cast<long long>(tokens), active,
                static_cast<double>(tokens * model.shape.topK) /
                    static_cast<double>(model.shape.experts),
                microseconds(bytes).c_str(), microseconds(flops).c_str(),
                microseconds(floor).c_str());
}

cuda::LayerCost
moe::bench::averageCost(const GpuModel &model,
                        const std::vector<cuda::Routing> &routings,
                        cuda::Family family) {
  cuda::LayerCost sum;
  double share = 1 / static_cast<double>(routings.size());
  for (const cuda::Routing &routing : routings) {
    cuda::LayerCost cost = cuda::predictLayer(
        cuda::Gpu(), kernelShape(model.shape), family, routing);
    sum.variant = cost.variant, sum.isThere = cost.isThere;
    sum.kernels.resize(cost.kernels.size());
    for (size_t i = 0; i < cost.kernels.size(); ++i) {
      sum.kernels[i].name = cost.kernels[i].name;
      sum.kernels[i].add(cost.kernels[i], share);
    }
  }
  return sum;
}

cuda::LayerCost moe::bench::predictedCost(const GpuModel &model, int64_t tokens,
                                          cuda::Family family) {
  int64_t most = std::max<int64_t>(1, rt::kMostSlots / model.shape.topK);
  int64_t pieces = (tokens + most - 1) / most;
  cuda::LayerCost piece = averageCost(
      model, routingsOf(model.shape, (tokens + pieces - 1) / pieces), family);
  cuda::LayerCost all = piece;
  for (int64_t i = 1; i < pieces; ++i)
    for (size_t k = 0; k < all.kernels.size(); ++k)
      all.kernels[k].add(piece.kernels[k], 1);
  return all;
}

cuda::Family moe::bench::familyOf(const std::string &arch) {
  return arch == "sm_90a" ? cuda::Family::Wgmma : cuda::Family::MmaSync;
}

std::string moe::bench::microseconds(double seconds) {
  double us = seconds * 1e6;
  return format(us < 100 ? "%.1f" : "%.0f", us);
}

std::string moe::bench::titleOf(const GpuModel &model) {
  const LayerShape &shape = model.shape;
  return format("**%s** (hidden %lld, width %lld, %lld experts of which %lld)",
                model.title, static_cast<long long>(shape.hidden),
                static_cast<long long>(shape.width),
                static_cast<long long>(shape.experts),
                static_cast<long long>(shape.topK));
}
