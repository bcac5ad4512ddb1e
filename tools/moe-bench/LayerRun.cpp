#include "tools/moe-bench/LayerRun.h"

#include "runtime/Runner/Load.h"
#include "tools/moe-bench/LayerFiles.h"
#include "tools/moe-bench/Limits.h"
#include "tools/moe-bench/Mapping.h"
#include "tools/moe-bench/Timing.h"
#include "tools/moe-bench/Tokens.h"

#include <cmath>
#include <cstdio>

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
  double experts = 0;            // distinct ones, on average
};

class LayerBench {
public:
  LayerBench(const Options &options)
      : options(options), shape(options.shape), weights(shape, options.type) {}
  ~LayerBench() {
    if (session)
      moe->session_destroy(session);
  }
  int run();

private:
  bool runOnce(const TokenSet &set);
  /// Largest error of the first and last token, as a share of the largest
  /// value; negative when a run fails.
  double error(const TokenSet &set);
  bool measure(std::vector<TokenSet> &sets, Samples &samples);
  void print(int64_t tokens, const Samples &samples, double error);

  const Options &options;
  const LayerShape &shape;
  LayerWeights weights;
  const moe_api *moe = nullptr;
  moe_session *session = nullptr;
  Mapping mapping;
  size_t readAt = 0;
  bool bf16 = false; // is the peak that of bf16 products?
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

bool LayerBench::measure(std::vector<TokenSet> &sets, Samples &samples) {
  // Every expert's pages once, then as many blocks as there is time for.
  double limit = options.rounds * kSecondsPerRound, start = seconds();
  for (const TokenSet &set : sets) {
    if (!runOnce(set))
      return false;
    if (seconds() - start > limit)
      break;
  }
  start = seconds();
  for (size_t i = 0;
       i < 5 || (seconds() - start < limit && samples.seconds.size() < 2000);
       ++i) {
    const TokenSet &set = sets[i % sets.size()];
    double begin = seconds();
    if (!runOnce(set))
      return false;
    double took = seconds() - begin;
    double bytes =
        static_cast<double>(set.distinctExperts) * weights.expertBytes() +
        4.0 * static_cast<double>(shape.experts * shape.hidden);
    samples.seconds.push_back(took);
    samples.bandwidth.push_back(bytes / took * 1e-9);
    samples.experts += static_cast<double>(set.distinctExperts);
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
  samples.experts /= static_cast<double>(samples.seconds.size());
  return true;
}

void LayerBench::print(int64_t tokens, const Samples &samples, double error) {
  double flops =
      2.0 *
      static_cast<double>(tokens * shape.topK * 3 * shape.hidden * shape.width +
                          tokens * shape.experts * shape.hidden);
  double time = median(samples.seconds);
  double peak = quantile(samples.fma, 0.75),
         read = quantile(samples.read, 0.75);
  double rate = flops / time * 1e-9, bandwidth = median(samples.bandwidth);
  printf("%6lld %7.1f %10.3f (%.3f .. %.3f) %9.1f %7.1f %8.2f %7.1f %10.1e\n",
         static_cast<long long>(tokens), samples.experts, time * 1e3,
         quantile(samples.seconds, 0.25) * 1e3,
         quantile(samples.seconds, 0.75) * 1e3, rate,
         peak > 0 ? 100 * rate / peak : 0, bandwidth,
         read > 0 ? 100 * bandwidth / read : 0, error);
  printf("%35s peak %.1f GFLOP/s, plain read %.1f GB/s, %zu runs\n", "", peak,
         read, samples.seconds.size());
  fflush(stdout);
}

int LayerBench::run() {
  std::string why;
  double start = seconds();
  std::string library = makeLayer(weights, options, why);
  if (library.empty())
    return fail(why);
  printf(
      "%s, %s: hidden %lld, width %lld, %lld experts of which %lld; "
      "%.2f GB; made in %.1f s\n",
      shape.name.c_str(), options.type.c_str(),
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
  bf16 = options.type == "bf16" && sampleBf16(1) > sampleFma(1);
  printf("%d thread%s; peak: %s; plain read: the same mapping\n",
         options.threads, options.threads > 1 ? "s" : "",
         bf16 ? "bf16 dot product" : "f32 multiply-add");
  printf(
      "tokens experts         ms (quartiles)        GFLOP/s  %%peak     GB/s "
      " %%read  max error\n");
  bool wrong = false;
  for (int64_t tokens : options.tokens) {
    // Enough sets to meet every expert before one comes back.
    int64_t count = std::max<int64_t>(shape.experts / (tokens * shape.topK), 4);
    auto sets = dealTokens(weights, shape, tokens, count);
    double worst = error(sets[0]);
    Samples samples;
    if (worst < 0 || !measure(sets, samples))
      return fail(moe->error());
    print(tokens, samples, worst);
    // A tenth of it is no rounding.
    wrong |= !(worst < 0.1);
  }
  return wrong ? fail("the layer's results are wrong", 3) : 0;
}

int moe::bench::runLayer(const Options &options) {
  return LayerBench(options).run();
}
