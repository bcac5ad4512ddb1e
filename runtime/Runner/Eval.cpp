// --eval: how well a byte-level language model predicts texts.
#include "runtime/Core/Recorder.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/LanguageModel.h"
#include "runtime/Runner/TokenBits.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace moe::rt {
namespace {

// The rule: windows of 256 bytes from the file's start, do not overlap, each
// fed alone; a last incomplete one is dropped. The first byte of a window is
// given, the others are scored. All windows weigh the same.
constexpr int64_t window = 256;

struct Score {
  double bits = 0;
  int64_t scored = 0;
  int64_t windows = 0;
  int64_t runNs = 0;

  double bitsPerByte() const { return bits / static_cast<double>(scored); }
};

Status evalBatch(LanguageModel &model, const uint8_t *bytes, int64_t batch,
                 int64_t real, Score &score) {
  Status status = model.begin(batch);
  if (!status.ok())
    return status;
  int64_t start = monotonicNs();
  status = model.step(bytes, window);
  if (!status.ok())
    return status;
  Result<moe_tensor> logits = model.logits();
  score.runNs += monotonicNs() - start;
  if (!logits)
    return logits.error();
  if (logits->shape[1] != window)
    return {Code::Unsupported,
            text("--eval needs logits for every position, the model gives ",
                 logits->shape[1], " of ", window)};
  double row[LanguageModel::vocabulary];
  for (int64_t w = 0; w < real; ++w)
    for (int64_t t = 1; t < window; ++t) {
      int64_t base = (w * window + t - 1) * LanguageModel::vocabulary;
      for (int64_t v = 0; v < LanguageModel::vocabulary; ++v)
        row[v] = elementAsDouble(logits->data, logits->dtype, base + v);
      score.bits +=
          bitsOfToken(row, LanguageModel::vocabulary, bytes[w * window + t]);
      ++score.scored;
    }
  score.windows += real;
  return {};
}

Result<Score> evalFile(LanguageModel &model, const std::string &path,
                       int64_t batch) {
  Result<Buffer> text = readFile(path);
  if (!text)
    return text.error();
  int64_t windows = static_cast<int64_t>(text->size()) / window;
  if (!windows)
    return {Code::InvalidFile,
            rt::text(quote(path), " has ", text->size(), " bytes, at least ",
                     window, " are needed")};
  const auto *bytes = reinterpret_cast<const uint8_t *>(text->data());
  Score score;
  std::vector<uint8_t> padded;
  for (int64_t first = 0; first < windows; first += batch) {
    int64_t real = std::min(batch, windows - first);
    const uint8_t *begin = bytes + first * window;
    // A model of fixed batch gets the last windows padded with zeros.
    int64_t fed = model.fixedBatch() >= 0 ? batch : real;
    if (fed != real) {
      padded.assign(static_cast<size_t>(fed * window), 0);
      std::copy(begin, begin + real * window, padded.begin());
      begin = padded.data();
    }
    Status status = evalBatch(model, begin, fed, real, score);
    if (!status.ok())
      return status;
  }
  if (std::isnan(score.bits))
    return {Code::ModelFailed, "the model's logits hold NaN"};
  return score;
}

} // namespace

Result<double> evalTexts(Program &program, void (*each)(const TextScore &)) {
  auto model = LanguageModel::create(program);
  if (!model)
    return model.error();
  LanguageModel &lm = **model;
  if (lm.fixedSequence() >= 0 && lm.fixedSequence() != window)
    return {Code::Unsupported,
            text("--eval feeds windows of ", window, " bytes, the model takes ",
                 lm.fixedSequence())};
  int64_t batch = program.options.evalBatch ? program.options.evalBatch : 8;
  if (lm.fixedBatch() >= 0)
    batch = lm.fixedBatch();
  if (batch < 1)
    return {Code::Unsupported, "the model takes empty batches only"};
  double sum = 0;
  for (const std::string &path : program.options.evalFiles) {
    Result<Score> score = evalFile(lm, path, batch);
    if (!score)
      return score.error();
    sum += score->bitsPerByte();
    if (each)
      each({path, score->bitsPerByte(), score->windows,
            static_cast<double>(score->windows * window) /
                static_cast<double>(std::max<int64_t>(score->runNs, 1)) * 1e9});
  }
  return sum / static_cast<double>(program.options.evalFiles.size());
}

Result<int> runEval(Program &program) {
  Result<double> mean = evalTexts(program, [](const TextScore &score) {
    std::printf("%-32s %8.4f bits per byte %8lld windows %10.0f tokens/s\n",
                printable(score.path).c_str(), score.bitsPerByte,
                static_cast<long long>(score.windows), score.tokensPerSecond);
    std::fflush(stdout);
  });
  if (!mean)
    return mean.error();
  if (program.options.evalFiles.size() > 1)
    std::printf("%-32s %8.4f bits per byte\n", "mean", *mean);
  return ExitDone;
}

} // namespace moe::rt
