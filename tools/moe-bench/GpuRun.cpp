#include "tools/moe-bench/GpuRun.h"

#include "runtime/Core/Text.h"
#include "runtime/Device/DeviceChoice.h"
#include "runtime/Device/KernelChoice.h"
#include "tools/moe-bench/GpuKernels.h"
#include "tools/moe-bench/GpuLayer.h"
#include "tools/moe-bench/GpuModels.h"
#include "tools/moe-bench/Peer.h"
#include "tools/moe-bench/Timing.h"

#include <cmath>
#include <cstdio>

using namespace moe;
using namespace moe::bench;
using rt::Code, rt::Result, rt::Status;

namespace {
/// About how long a number of tokens is measured, for each round asked for.
constexpr double kSecondsPerRound = 0.1;
/// What bf16 hidden values cost is about 1.7e-3.
constexpr double kLargestError = 4e-3;

int fail(const std::string &why, int code = 1) {
  fflush(stdout);
  fprintf(stderr, "moe-bench: error: %s\n", why.c_str());
  return code;
}

/// Also where the emulator stands in place of the machine's driver.
bool isEmulated(const Options &options, const rt::Device &device) {
  return options.device == "emu" || device.info().name == "emulated GPU";
}

/// Of several numbers of tokens of one layer.
class GpuBench {
public:
  GpuBench(const Options &options, rt::Device &device, Peer *peer)
      : options(options), device(device), peer(peer) {}

  /// Prints a table; an exit code.
  int run(const GpuModel &model);
  bool isWrong() const { return wrong; }

private:
  Result<std::unique_ptr<GpuLayer>> make(const LayerShape &shape);
  Status measure(const GpuModel &model, GpuLayer &layer, int64_t tokens);
  /// The relative error of some tokens; not finite where one is no number.
  Result<double> errorOf(GpuLayer &layer, const GpuLayer::Set &set);
  /// Median seconds of launches, all or of one kernel, over sets in turn.
  Result<double> time(GpuLayer &layer, const std::vector<GpuLayer::Set> &sets,
                      int only);
  /// Of the peer's two layers: "12.3 | - |".
  std::string peerColumns(int64_t tokens, const LayerShape &shape);
  bool isEmulated() const { return ::isEmulated(options, device); }
  std::string architecture() const;

  const Options &options;
  rt::Device &device;
  Peer *peer;
  bool wrong = false;
  std::vector<std::string> kernelRows; ///< of -v
};
} // namespace

std::string GpuBench::architecture() const {
  if (!options.arch.empty())
    return options.arch;
  const rt::DeviceInfo &info = device.info();
  return info.major == 9 && info.minor == 0 ? "sm_90a" : "sm_80";
}

Result<double> GpuBench::errorOf(GpuLayer &layer, const GpuLayer::Set &set) {
  Status status = layer.launch(set);
  if (!status.ok())
    return status;
  auto out = layer.result(set);
  if (!out)
    return out.error();
  size_t width = out->size() / static_cast<size_t>(set.tokens);
  double difference = 0, size = 0;
  for (int64_t t : {int64_t(0), set.tokens / 2, set.tokens - 1}) {
    std::vector<double> want = layer.reference(set, t);
    for (size_t i = 0; i < width; ++i) {
      double off = (*out)[t * width + i] - want[i];
      difference += off * off;
      size += want[i] * want[i];
    }
  }
  return std::sqrt(difference / size);
}

Result<double> GpuBench::time(GpuLayer &layer,
                              const std::vector<GpuLayer::Set> &sets,
                              int only) {
  // Launches are put into the stream without waiting, as many as fill the time
  // of a round: what is measured is how often layers can follow each other.
  size_t next = 0;
  auto runs = [&](int64_t count) -> Result<double> {
    double start = seconds();
    for (int64_t i = 0; i < count; ++i) {
      Status status = layer.launch(sets[next++ % sets.size()], only);
      if (!status.ok())
        return status;
    }
    Status status = layer.wait();
    if (!status.ok())
      return status;
    return seconds() - start;
  };
  int64_t count = static_cast<int64_t>(sets.size());
  auto took = runs(count);
  double round = isEmulated() ? 0 : kSecondsPerRound;
  while (took && *took < round / 4 && count < 1 << 16) {
    count *= 2;
    took = runs(count);
  }
  if (!took)
    return took.error();
  count = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(count) *
                                                    kSecondsPerRound / *took));
  std::vector<double> times;
  for (int i = 0; i < options.rounds; ++i) {
    took = runs(count);
    if (!took)
      return took.error();
    times.push_back(*took / static_cast<double>(count));
  }
  return median(times);
}

/// "1.23 | 4.56 | 7.8 | 910 |".
static std::string rates(double took, const FloorColumns &columns) {
  char text[128];
  snprintf(text, sizeof text, "%s | %.0f | %.0f | %.0f |",
           microseconds(took).c_str(), 100 * columns.floor / took,
           columns.operations / took * 1e-12,
           columns.bytes * cuda::Gpu().memory / took * 1e-9);
  return text;
}

std::string GpuBench::peerColumns(int64_t tokens, const LayerShape &shape) {
  std::vector<double> times = peer->request(
      rt::text("{\"hidden\": ", shape.hidden, ", \"width\": ", shape.width,
               ", \"experts\": ", shape.experts, ", \"chosen\": ", shape.topK,
               ", \"tokens\": ", tokens, "}"));
  std::string columns;
  for (size_t i = 0; i < 2; ++i)
    columns += " " +
               (isEmulated() || i >= times.size() || !std::isfinite(times[i])
                    ? std::string("-")
                    : microseconds(times[i] * 1e-3)) +
               " |";
  return columns;
}

Status GpuBench::measure(const GpuModel &model, GpuLayer &layer,
                         int64_t tokens) {
  // Weights come from memory, as in real decoding, if each run meets others.
  std::vector<GpuLayer::Set> sets;
  for (int i = 0; i < (isEmulated() || tokens > 64 ? 1 : 8); ++i) {
    auto set = layer.makeSet(tokens, uint64_t(tokens) * 100 + i);
    if (!set)
      return set.error();
    sets.push_back(std::move(*set));
  }
  auto error = errorOf(layer, sets[0]);
  if (!error)
    return error.error();
  // NaN is not below.
  bool right = *error < kLargestError;
  wrong |= !right;
  // Of the routings that run.
  std::vector<cuda::Routing> routings;
  for (const GpuLayer::Set &set : sets)
    routings.push_back(set.routing);
  cuda::LayerCost cost = averageCost(model, routings, familyOf(architecture()));
  FloorColumns columns = FloorColumns::of(model, routings);
  auto took = time(layer, sets, -1);
  if (!took)
    return took.error();
  printf("%s %s", columns.text(model, tokens).c_str(),
         isEmulated() ? "emulated | - | - | - |"
                      : rates(*took, columns).c_str());
  auto target = model.targets.find(tokens);
  bool has = target != model.targets.end();
  bool above = has && *took * 1e6 > target->second && !isEmulated();
  printf(" %s | %s%s | %.1e%s |", microseconds(cost.seconds()).c_str(),
         has ? microseconds(target->second * 1e-6).c_str() : "-",
         above ? " **above**" : "", *error, right ? "" : " **wrong**");
  if (peer)
    printf("%s", peerColumns(tokens, model.shape).c_str());
  printf("\n");
  fflush(stdout);
  for (int i = 0; options.verbose && i < GpuLayer::kLaunches; ++i) {
    auto alone = time(layer, sets, i);
    if (!alone)
      return alone.error();
    kernelRows.push_back(
        rt::text("| ", tokens, " | ", GpuLayer::launchName(i), " | ",
                 isEmulated() ? "emulated" : microseconds(*alone), " | ",
                 microseconds(cost.kernels[i].seconds()), " | ",
                 cost.kernels[i].bound(), " |"));
  }
  return {};
}

Result<std::unique_ptr<GpuLayer>> GpuBench::make(const LayerShape &shape) {
  Status fits = GpuLayer::check(device, shape);
  if (!fits.ok())
    return fits;
  auto ptx = layerPtx(options, shape, architecture());
  if (!ptx)
    return ptx.error();
  return GpuLayer::create(device, shape, *ptx);
}

int GpuBench::run(const GpuModel &model) {
  printf("\n%s\n\n", titleOf(model).c_str());
  fflush(stdout);
  Result<std::unique_ptr<GpuLayer>> layer = make(model.shape);
  // Of several models those that do not fit are left out.
  bool isAll = options.shape.name.empty();
  if (!layer && isAll && layer.error().code == Code::OutOfMemory) {
    printf("left out: %s\n", layer.error().message.c_str());
    return 0;
  }
  if (!layer)
    return fail(layer.error().message);
  printf("%s measured us | %% of floor | TFLOP/s | GB/s | predicted us | "
         "target us | error |%s\n|",
         FloorColumns::header(), peer ? " grouped_mm us | Triton us |" : "");
  for (int column = 0; column < (peer ? 15 : 13); ++column)
    printf(" --- |");
  printf("\n");
  kernelRows.clear();
  for (int64_t tokens : options.tokens) {
    if (tokens * model.shape.topK > rt::kMostSlots)
      return fail(rt::text(
          "layer ", rt::quote(model.shape.name), ": ", tokens,
          " tokens are more than the runtime puts into one piece (",
          rt::kMostSlots / model.shape.topK, "); measure one of those"));
    Status status = measure(model, **layer, tokens);
    if (status.code == Code::OutOfMemory && isAll)
      printf("| %lld | left out: %s |\n", static_cast<long long>(tokens),
             status.message.c_str());
    else if (!status.ok())
      return fail(status.message);
  }
  if (!kernelRows.empty())
    printf("\n| T | kernel | measured us | predicted us | predicted to be "
           "bound by |\n| --- | --- | --- | --- | --- |\n");
  for (const std::string &row : kernelRows)
    printf("%s\n", row.c_str());
  return 0;
}

static Result<rt::DeviceChoice> openDevice(const Options &options) {
  rt::DeviceRequest request;
  request.kind = rt::DeviceRequest::Cuda;
  return rt::chooseDevice(request, {}, [&] {
    return options.driver.empty() ? rt::loadDriver()
                                  : rt::loadDriverOf(options.driver);
  });
}

int moe::bench::runGpu(const Options &options) {
  auto choice = openDevice(options);
  if (!choice)
    return fail(choice.error().message +
                (options.device == "emu"
                     ? ""
                     : "; --predict prints what the kernels should take, "
                       "without a GPU"));
  rt::Device &device = *choice->device;
  bool emulated = isEmulated(options, device);
  std::unique_ptr<Peer> peer;
  if (!options.peer.empty()) {
    std::string why;
    peer = std::make_unique<Peer>();
    if (!peer->start({options.python, options.peer}, why)) {
      fprintf(stderr, "moe-bench: warning: '%s' %s; there are no peers\n",
              options.peer.c_str(), why.c_str());
      peer.reset();
    }
  }
  if (emulated)
    printf("Emulated by this processor: right or wrong, no speeds. bf16\n");
  else
    printf("Measured on %s, bf16; CUDA %d.%d. Layers follow each other in a "
           "stream; medians of %d rounds%s%s\n",
           rt::describeDevice(device.info()).c_str(),
           device.driver().version / 1000, device.driver().version % 1000 / 10,
           options.rounds, peer ? "; peers: " : "",
           peer ? peer->name().c_str() : "");
  fflush(stdout);
  GpuBench bench(options, device, peer.get());
  for (const GpuModel &model : gpuModels(options))
    if (int code = bench.run(model))
      return code;
  if (bench.isWrong())
    return fail("results are wrong", 3);
  return 0;
}
