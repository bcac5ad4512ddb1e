#include "tools/moe-opt/AutoCompress.h"

#include "runtime/Bank/LedgerTable.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace llvm;
using namespace moe;

/// How many of the recipes that fit are run on the texts, at least; output
/// errors rank what one kind of step does well, but not kinds against each
/// other, so the best of each kind is among them.
static constexpr size_t kMeasured = 6;

/// What is tried: each line of numbers with each way to store them. Trims and
/// narrower experts before fewer bits (see `passes/Compress/Order.h`).
static const char *const kShapes[] = {
    "",
    "factorize-experts{ratio=50%,multiple=32,weighted=true,power=0.5}",
    "factorize-experts{ratio=38%,multiple=4,weighted=true,power=0.5}",
    "narrow-experts{12.5%,budget=layer,multiple=32}",
    "narrow-experts{25%,budget=layer,multiple=32}",
    "narrow-experts{50%,budget=layer,multiple=32}",
    "prune-experts{ratio=12.5%,reconstruction,search=greedy,rows=512}",
    "prune-experts{ratio=25%,reconstruction,search=greedy,rows=512}",
    "prune-experts{ratio=50%,reconstruction,search=greedy,rows=512}",
    "merge-experts{ratio=25%}",
};
static const char *const kStorages[] = {
    "",
    "quantize{int8}",
    "quantize{int8,mixed=int4,mode=aware,bytes=20%}",
    "quantize{int4,mode=aware}",
    "quantize{nf4,mode=aware}",
    "quantize{nf4,mode=aware,block=0}",
    "quantize{mxfp4,mode=aware}",
};

Expected<std::optional<AutoRequest>> moe::parseAuto(StringRef text) {
  text = text.trim();
  if (!text.consume_front("auto"))
    return std::nullopt;
  auto wrong = [](const Twine &why) {
    return createStringError("--compress=auto: " + why +
                             "; auto{bytes=50%,max-loss=0.02} asks for half of "
                             "the bytes at a loss of 0.02 at most");
  };
  text = text.trim();
  if (!text.consume_front("{") || !text.consume_back("}"))
    return wrong("needs {bytes=SHARE,max-loss=NUMBER}");
  AutoRequest request;
  bool hasBytes = false, hasLoss = false;
  SmallVector<StringRef> words;
  SplitString(text, words, ", ");
  for (StringRef word : words) {
    auto [key, value] = word.split('=');
    bool percent = value.consume_back("%");
    double number = 0;
    if (value.getAsDouble(number) || !(number >= 0))
      return wrong("'" + word + "' has no number");
    if (percent)
      number /= 100;
    if (key == "bytes")
      request.bytes = number, hasBytes = true;
    else if (key == "max-loss")
      request.maxLoss = number, hasLoss = true;
    else
      return wrong("'" + key + "' is neither bytes nor max-loss");
  }
  if (!hasBytes || !hasLoss)
    return wrong("needs both bytes and max-loss");
  if (!(request.bytes > 0 && request.bytes <= 1))
    return wrong("bytes is a share of the model's bytes, above 0 and at most "
                 "100%");
  return request;
}

static double share(const ModelCost &original, const Candidate &candidate) {
  return static_cast<double>(candidate.cost.bytes) /
         static_cast<double>(std::max<int64_t>(original.bytes, 1));
}

std::string moe::joinSteps(StringRef shape, StringRef storage) {
  bool both = !shape.empty() && !storage.empty();
  return (shape + (both ? "," : "") + storage).str();
}

/// The step that changes numbers before they are stored.
static StringRef kindOf(StringRef steps) {
  return steps.take_until([](char c) { return c == '{' || c == ','; });
}

Expected<std::string> moe::searchRecipe(const AutoRequest &request,
                                        const ModelCost &original,
                                        const AutoTools &tools,
                                        std::vector<Candidate> &tried) {
  for (StringRef shape : kShapes)
    for (StringRef storage : kStorages) {
      if (shape.empty() && storage.empty())
        continue;
      std::string steps = joinSteps(shape, storage);
      tools.progress("try " + steps);
      auto candidate = tools.apply(shape, storage);
      if (candidate) {
        candidate->steps = std::move(steps);
        tried.push_back(std::move(*candidate));
        continue;
      }
      // A recipe that this model cannot have is no failure of the search.
      consumeError(candidate.takeError());
    }
  if (tried.empty())
    return createStringError("--compress=auto: no recipe fits this model");
  llvm::sort(tried, [](const Candidate &a, const Candidate &b) {
    return std::tie(a.predicted, a.cost.bytes, a.steps) <
           std::tie(b.predicted, b.cost.bytes, b.steps);
  });
  std::vector<Candidate *> fitting;
  for (Candidate &candidate : tried)
    if (share(original, candidate) <= request.bytes)
      fitting.push_back(&candidate);
  if (fitting.empty()) {
    double least = 1;
    for (const Candidate &candidate : tried)
      least = std::min(least, share(original, candidate));
    return createStringError(
        formatv("--compress=auto: no recipe makes the model as small as "
                "{0:P1} of its bytes; the smallest is {1:P1}",
                request.bytes, least)
            .str());
  }
  const Candidate *best = fitting[0];
  StringSet<> kinds;
  std::vector<Candidate *> measured, others;
  for (Candidate *candidate : fitting)
    (kinds.insert(kindOf(candidate->steps)).second ? measured : others)
        .push_back(candidate);
  for (Candidate *candidate : others)
    if (measured.size() < kMeasured)
      measured.push_back(candidate);
  if (!tools.measure)
    measured.clear();
  for (Candidate *candidate : measured) {
    tools.progress("measure " + candidate->steps);
    auto loss = tools.measure(candidate->steps);
    if (!loss)
      return loss.takeError();
    candidate->loss = *loss;
    if (*candidate->loss < *best->loss)
      best = candidate;
  }
  double loss = best->loss ? *best->loss : best->predicted;
  if (loss > request.maxLoss)
    return createStringError(
        formatv("--compress=auto: the best recipe within {0:P1} of the bytes, "
                "{1}, loses {2:f4} ({3}), more than max-loss={4}",
                request.bytes, best->steps, loss,
                best->loss ? "bits per byte" : "relative output error",
                request.maxLoss)
            .str());
  return best->steps;
}

/// Is no other both smaller and better?
static bool isOnFront(const Candidate &candidate, ArrayRef<Candidate> all) {
  return llvm::none_of(all, [&](const Candidate &other) {
    return other.cost.bytes <= candidate.cost.bytes &&
           other.predicted <= candidate.predicted &&
           (other.cost.bytes < candidate.cost.bytes ||
            other.predicted < candidate.predicted);
  });
}

void moe::printCandidates(raw_ostream &os, const ModelCost &original,
                          ArrayRef<Candidate> tried, StringRef chosen) {
  std::vector<rt::FrontLine> lines;
  for (const Candidate &candidate : tried)
    lines.push_back({candidate.steps, share(original, candidate),
                     candidate.predicted, candidate.loss,
                     isOnFront(candidate, tried), candidate.steps == chosen});
  os << rt::frontTable(lines);
}

json::Array moe::candidatesJSON(const ModelCost &original,
                                ArrayRef<Candidate> tried, StringRef chosen) {
  json::Array list;
  for (const Candidate &candidate : tried) {
    // JSON has no word for what is not finite.
    if (!std::isfinite(candidate.predicted))
      continue;
    json::Object entry{{"steps", candidate.steps},
                       {"bytes", candidate.cost.bytes},
                       {"share", share(original, candidate)},
                       {"output_error", candidate.predicted},
                       {"front", isOnFront(candidate, tried)},
                       {"chosen", candidate.steps == chosen}};
    if (candidate.loss && std::isfinite(*candidate.loss))
      entry["loss"] = *candidate.loss;
    list.push_back(std::move(entry));
  }
  return list;
}
