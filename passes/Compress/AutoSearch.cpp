#include "passes/Compress/AutoSearch.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <tuple>

using namespace llvm;
using namespace moe;

/// How many of the recipes that fit are run on the texts, at least; output
/// errors rank what one kind of step does well, but not kinds against each
/// other, so the best of each kind is among them.
static constexpr size_t kMeasured = 6;

/// After how many that cannot be run, and none that can, the rest is left: what
/// stops so many is not the recipes.
static constexpr size_t kFailed = 12;

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

static Error failed(const Twine &why) {
  return createStringError("--compress=auto: " + why);
}

std::string moe::joinSteps(StringRef shape, StringRef storage) {
  bool both = !shape.empty() && !storage.empty();
  return (shape + (both ? "," : "") + storage).str();
}

/// The step that changes numbers before they are stored.
static StringRef kindOf(StringRef steps) {
  return steps.take_until([](char c) { return c == '{' || c == ','; });
}

/// Each reason once, with the recipe that had it first.
static std::string reasons(ArrayRef<rt::RefusedLine> refused) {
  std::string all;
  StringSet<> seen;
  for (const rt::RefusedLine &recipe : refused)
    if (seen.insert(recipe.why).second)
      all += (all.empty() ? "" : "; ") + recipe.why + " (" + recipe.steps + ")";
  return all;
}

/// Fills `tried` and `refused`.
static void tryAll(const AutoTools &tools, AutoTrials &trials) {
  for (StringRef shape : kShapes)
    for (StringRef storage : kStorages) {
      if (shape.empty() && storage.empty())
        continue;
      std::string steps = joinSteps(shape, storage);
      tools.progress("try " + steps);
      auto candidate = tools.apply(shape, storage);
      if (candidate && std::isfinite(candidate->predicted)) {
        candidate->steps = std::move(steps);
        trials.tried.push_back(std::move(*candidate));
        continue;
      }
      trials.refused.push_back(
          {std::move(steps), candidate ? "its output error is no finite number"
                                       : toString(candidate.takeError())});
      if (storage.empty())
        break; // what is no shape cannot be stored either
    }
  llvm::sort(trials.tried, [](const Candidate &a, const Candidate &b) {
    if (a.predicted != b.predicted)
      return a.predicted < b.predicted;
    return a.bytes != b.bytes ? a.bytes < b.bytes : isSimpler(a, b);
  });
}

static bool fits(const AutoRequest &request, const AutoTrials &trials,
                 const Candidate &candidate) {
  return trials.shareOf(candidate) <= request.bytes;
}

/// What is run next of the recipes that fit: the best one of a kind of which
/// none has been measured, then the best ones until there are enough.
static Candidate *nextToMeasure(const AutoRequest &request,
                                AutoTrials &trials) {
  StringSet<> kinds;
  size_t measured = 0;
  for (const Candidate &candidate : trials.tried)
    if (candidate.loss) {
      kinds.insert(kindOf(candidate.steps));
      ++measured;
    }
  Candidate *next = nullptr;
  for (Candidate &candidate : trials.tried) {
    if (candidate.loss || !fits(request, trials, candidate))
      continue;
    if (!kinds.contains(kindOf(candidate.steps)))
      return &candidate;
    if (!next && measured < kMeasured)
      next = &candidate;
  }
  return next;
}

/// Runs recipes on the texts. One that cannot be run is none.
static Error measure(const AutoRequest &request, const AutoTools &tools,
                     AutoTrials &trials) {
  std::vector<rt::RefusedLine> refused;
  bool any = false;
  while (Candidate *next = nextToMeasure(request, trials)) {
    if (!any && refused.size() == kFailed)
      break;
    tools.progress("measure " + next->steps);
    auto loss = tools.measure(next->steps);
    if (loss && std::isfinite(*loss)) {
      next->loss = *loss;
      any = true;
      continue;
    }
    refused.push_back({next->steps, loss ? "its loss is no finite number"
                                         : toString(loss.takeError())});
    trials.tried.erase(trials.tried.begin() + (next - trials.tried.data()));
  }
  llvm::append_range(trials.refused, refused);
  if (any)
    return Error::success();
  return failed("no recipe within " + request.bytesText +
                " of the bytes can be measured: " + reasons(refused));
}

Error moe::searchRecipe(const AutoRequest &request, const AutoTools &tools,
                        AutoTrials &trials) {
  tryAll(tools, trials);
  if (trials.tried.empty())
    return failed("no recipe fits this model: " + reasons(trials.refused));
  const Candidate *least = nullptr;
  for (const Candidate &candidate : trials.tried)
    if (!least || candidate.bytes < least->bytes)
      least = &candidate;
  if (!fits(request, trials, *least))
    return failed("no recipe makes the model as small as " + request.bytesText +
                  " of its bytes; the smallest, " + least->steps + ", takes " +
                  rt::shareText(trials.shareOf(*least)));
  if (tools.measure)
    if (Error error = measure(request, tools, trials))
      return error;
  auto lossOf = [](const Candidate &candidate) {
    return candidate.loss.value_or(candidate.predicted);
  };
  const Candidate *best = nullptr;
  for (const Candidate &candidate : trials.tried) {
    if (!fits(request, trials, candidate) ||
        candidate.loss.has_value() != static_cast<bool>(tools.measure))
      continue;
    auto rank = [&](const Candidate &c) {
      return std::make_tuple(lossOf(c), c.bytes, c.predicted);
    };
    if (!best || rank(candidate) < rank(*best))
      best = &candidate;
  }
  if (lossOf(*best) > request.maxLoss)
    return failed("the best recipe within " + request.bytesText +
                  " of the bytes, " + best->steps + ", loses " +
                  rt::lossText(lossOf(*best)) +
                  (best->loss ? " bits per byte" : " of the output") +
                  ", more than max-loss=" + request.maxLossText);
  trials.chosen = best->steps;
  return Error::success();
}
