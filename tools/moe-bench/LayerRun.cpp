#include "tools/moe-bench/LayerRun.h"

#include "runtime/Runner/Load.h"
#include "tools/moe-bench/LayerFiles.h"
#include "tools/moe-bench/Limits.h"
#include "tools/moe-bench/Mapping.h"
#include "tools/moe-bench/Timing.h"
#include "tools/moe-bench/Tokens.h"

#include <cmath>
#include <cstdio>
#include <memory>

using namespace moe;
using namespace moe::bench;

namespace {
/// About how long one number of tokens is measured, for each round asked for.
constexpr double kSecondsPerRound = 0.5;

int fail(const std::string &why, int code = 1) {
  fprintf(stderr, "moe-bench: error: %s\n", why.c_str());
  return code;
}

/// Times and rates of the runs of one number of tokens.
struct Samples {
  std::vector<double> seconds;   // of a run
  std::vector<double> bandwidth; // weight bytes it touched over that, GB/s
  std::vector<double> read, fma; // of the machine, in between
  std::vector<double> experts;   // distinct ones
};

class LayerBench {
public:
  LayerBench(const Options &options, const std::string &type)
      : options(options), shape(options.shape), weights(shape, type) {}
  ~LayerBench() {
    if (session)
      moe->session_destroy(session);
  }
  /// Makes and loads the layer; an exit code.
  int open();
  /// Checks and measures runs of `tokens` tokens, `first` of several times.
  int measure(int64_t tokens, bool first, double limit);
  double medianSeconds() const { return median(samples.seconds); }
  void print(int64_t tokens);
  bool isWrong() const { return wrong; }
  const char *peakName() const {
    return bf16 ? "bf16 dot product" : "f32 multiply-add";
  }

private:
  bool runOnce(const TokenSet &set);
  /// Largest error of the first and last token, as a share of the largest
  /// value; negative when a run fails.
  double error(const TokenSet &set);
  bool sample(bool first, double limit);

  const Options &options;
  const LayerShape &shape;
  LayerWeights weights;
  const moe_api *moe = nullptr;
  moe_session *session = nullptr;
  Mapping mapping;
  size_t readAt = 0;
  bool bf16 = false; // is the peak that of bf16 products?
  bool wrong = false;
  // Of the number of tokens that is measured.
  std::vector<TokenSet> sets;
  size_t next = 0;
  Samples samples;
  double worst = 0;
};
} // namespace

bool LayerBench::runOnce(const TokenSet &set) {
  moe_tensor x = {const_cast<float *>(set.x.data()), MOE_F32, 2, {}};
  x.shape[0] = set.tokens;
  x.shape[1] = shape.hidden;
  return moe->set_input(session, "x", &x) == MOE_OK &&
         moe->run(session) == MOE_OK;
}

double LayerBench::error(const TokenSet &set) {
  moe_tensor y = {};
  if (!runOnce(set) || moe->get_output(session, "y", &y) != MOE_OK)
    return -1;
  double largest = 0, worst = 0;
  for (int64_t t : {int64_t(0), set.tokens - 1}) {
    std::vector<double> want = reference(weights, shape, set, t);
    const float *got = static_cast<float *>(y.data) + t * shape.hidden;
    for (int64_t i = 0; i < shape.hidden; ++i) {
      largest = std::max(largest, std::fabs(want[i]));
      // NaN is the worst error.
      double difference = std::fabs(got[i] - want[i]);
      worst = difference <= worst ? worst : difference;
    }
  }
  return std::isnan(worst) ? INFINITY : worst / largest;
}

bool LayerBench::sample(bool first, double limit) {
  // Every expert's pages once, then as many blocks as there is time for.
  double start = seconds();
  for (const TokenSet &set : sets) {
    if (!first || seconds() - start > options.rounds * kSecondsPerRound)
      break;
    if (!runOnce(set))
      return false;
  }
  start = seconds();
  for (size_t i = 0;
       i < 5 || (seconds() - start < limit && samples.seconds.size() < 2000);
       ++i) {
    const TokenSet &set = sets[next++ % sets.size()];
    double begin = seconds();
    if (!runOnce(set))
      return false;
    double took = seconds() - begin;
    double bytes =
        static_cast<double>(set.distinctExperts) * weights.expertBytes() +
        4.0 * static_cast<double>(shape.experts * shape.hidden);
    samples.seconds.push_back(took);
    samples.bandwidth.push_back(bytes / took * 1e-9);
    samples.experts.push_back(static_cast<double>(set.distinctExperts));
    // The machine, about as long; not each time when runs are short.
    if (took < 1e-3 && i % 8)
      continue;
    samples.fma.push_back(bf16 ? sampleBf16(options.threads)
                               : sampleFma(options.threads));
    size_t piece = std::min<size_t>(static_cast<size_t>(bytes), mapping.size);
    piece = std::min(piece, size_t(256) << 20);
    if (mapping.size - readAt < piece)
      readAt = 0;
    samples.read.push_back(
        sampleRead(mapping.data + readAt, piece, options.threads));
    readAt += piece;
  }
  return true;
}

void LayerBench::print(int64_t tokens) {
  double flops =
      2.0 *
      static_cast<double>(tokens * shape.topK * 3 * shape.hidden * shape.width +
                          tokens * shape.experts * shape.hidden);
  double time = median(samples.seconds);
  double peak = quantile(samples.fma, 0.75),
         read = quantile(samples.read, 0.75);
  double rate = flops / time * 1e-9, bandwidth = median(samples.bandwidth);
  printf("%6lld %7.1f %10.3f (%.3f .. %.3f) %9.1f %7.1f %8.2f %7.1f %10.1e\n",
         static_cast<long long>(tokens), median(samples.experts), time * 1e3,
         quantile(samples.seconds, 0.25) * 1e3,
         quantile(samples.seconds, 0.75) * 1e3, rate,
         peak > 0 ? 100 * rate / peak : 0, bandwidth,
         read > 0 ? 100 * bandwidth / read : 0, worst);
  printf("%35s peak %.1f GFLOP/s, plain read %.1f GB/s, %zu runs\n", "", peak,
         read, samples.seconds.size());
  fflush(stdout);
}

int LayerBench::open() {
  std::string why;
  double start = seconds();
  std::string library = makeLayer(weights, options, why);
  if (library.empty())
    return fail(why);
  printf(
      "%s, %s: hidden %lld, width %lld, %lld experts of which %lld; "
      "%.2f GB; made in %.1f s\n",
      shape.name.c_str(), weights.typeName().c_str(),
      static_cast<long long>(shape.hidden), static_cast<long long>(shape.width),
      static_cast<long long>(shape.experts), static_cast<long long>(shape.topK),
      weights.expertBytes() * static_cast<double>(shape.experts) * 1e-9,
      seconds() - start);
  auto api = rt::loadModel(library);
  if (!api)
    return fail(api.error().message);
  moe = *api;
  moe_session_options sessionOptions = {};
  sessionOptions.size = sizeof sessionOptions;
  sessionOptions.threads = options.threads;
  if (moe->session_create(&sessionOptions, &session) != MOE_OK)
    return fail(moe->error());
  mapping = largestMapping(library);
  if (!mapping.data)
    return fail("cannot find the mapping of '" + library + "'", 70);
  // Some processors are slower with pairs of bf16 than with f32.
  bf16 = weights.typeName() == "bf16" && sampleBf16(1) > sampleFma(1);
  return 0;
}

int LayerBench::measure(int64_t tokens, bool first, double limit) {
  if (first) {
    // Enough sets to meet every expert before one comes back.
    int64_t count = std::max<int64_t>(shape.experts / (tokens * shape.topK), 4);
    sets = dealTokens(weights, shape, tokens, count);
    next = 0;
    samples = {};
    worst = error(sets[0]);
    // A tenth of it is no rounding.
    wrong |= !(worst < 0.1);
  }
  return worst < 0 || !sample(first, limit) ? fail(moe->error()) : 0;
}

int moe::bench::runLayer(const Options &options) {
  std::vector<std::unique_ptr<LayerBench>> layers;
  layers.push_back(std::make_unique<LayerBench>(options, options.type));
  if (!options.weights.empty())
    layers.push_back(std::make_unique<LayerBench>(options, options.weights));
  for (auto &layer : layers)
    if (int code = layer->open())
      return code;
  printf("%d thread%s; peak: %s; plain read: the same mapping\n",
         options.threads, options.threads > 1 ? "s" : "",
         layers[0]->peakName());
  printf(
      "tokens experts         ms (quartiles)        GFLOP/s  %%peak     GB/s "
      " %%read  max error\n");
  for (int64_t tokens : options.tokens) {
    // One layer alone is measured in one go, two in turn.
    bool alone = layers.size() == 1;
    double limit = kSecondsPerRound * (alone ? options.rounds : 1);
    for (int round = 0; round < (alone ? 1 : options.rounds); ++round)
      for (auto &layer : layers)
        if (int code = layer->measure(tokens, round == 0, limit))
          return code;
    for (auto &layer : layers)
      layer->print(tokens);
    if (!alone)
      printf("%35s %s is %.2f times as fast as %s\n", "",
             options.weights.c_str(),
             layers[0]->medianSeconds() / layers[1]->medianSeconds(),
             options.type.c_str());
  }
  for (auto &layer : layers)
    if (layer->isWrong())
      return fail("the layer's results are wrong", 3);
  return 0;
}
