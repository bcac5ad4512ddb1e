#include "passes/Compress/Compress.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/OutputError.h"
#include "llvm/ADT/StringExtras.h"
#include <charconv>
#include <cmath>

using namespace mlir;
using namespace moe;

namespace {
/// A step: its pass, and the option that a word alone sets.
struct KnownStep {
  StringLiteral name, option;
};
constexpr KnownStep kSteps[] = {
    {"prune-experts", "score"},    {"skip-experts", "beta"},
    {"reduce-top-k", "k"},         {"align-experts", ""},
    {"merge-experts", "method"},   {"factorize-experts", "rank"},
    {"sparsify-experts", "score"}, {"narrow-experts", "ratio"},
    {"quantize", "type"},          {"drop-layers", "count"},
    {"drop-blocks", "count"},      {"add-null-experts", "count"},
    {"dedupe-experts", ""},        {"fold-lora", ""},
    {"fold-batch-norm", ""},       {"strip-outputs", "names"},
    {"quantize-dense", "type"},
};
} // namespace

static llvm::Error wrong(const Twine &why) {
  return llvm::createStringError("--compress: " + why);
}

using StepOptions = std::vector<std::pair<std::string, std::string>>;

/// The share that a percentage is, with as many digits as it takes, and a
/// point, so that it is no whole number.
static std::string shareOf(double percent) {
  char digits[32];
  char *end = std::to_chars(digits, std::end(digits), percent / 100).ptr;
  std::string text(digits, end);
  return text +
         (StringRef(text).find_first_of(".e") == StringRef::npos ? ".0" : "");
}

/// The options in braces, by name.
static llvm::Expected<StepOptions> optionsOf(const KnownStep &step,
                                             StringRef text) {
  SmallVector<StringRef> words;
  llvm::SplitString(text, words, ", \t");
  StepOptions options;
  auto isGiven = [&](StringRef key) {
    return llvm::any_of(options,
                        [&](auto &option) { return option.first == key; });
  };
  for (StringRef word : words) {
    StringRef key, value;
    if (word.contains('='))
      std::tie(key, value) = word.split('=');
    else
      key = value = word;
    if (key.empty() || key.find_first_of("{}'\"") != StringRef::npos)
      return wrong("'" + word + "' is no option of " + step.name);
    if (value.empty())
      return wrong(step.name + ": option '" + key + "' has no value");
    // A share may be written as a percentage.
    std::string text = value.str();
    if (value.ends_with("%")) {
      double percent = 0;
      if (value.drop_back().getAsDouble(percent) || !std::isfinite(percent))
        return wrong(step.name + ": '" + word + "' is no percentage");
      text = shareOf(percent);
    }
    if (word.contains('=')) {
      if (isGiven(key))
        return wrong(step.name + ": option '" + key + "' is given twice");
      options.push_back({key.str(), text});
      continue;
    }
    // More of a list, or the value of the step's own option.
    if (!options.empty() && (options.back().first == "names" ||
                             (options.back().first == "layers" &&
                              llvm::all_of(word, llvm::isDigit)))) {
      options.back().second += "," + word.str();
      continue;
    }
    if (step.option.empty() || isGiven(step.option))
      return wrong("'" + word + "' is no option of " + step.name +
                   " (name=value)");
    options.push_back({step.option.str(), text});
  }
  return options;
}

llvm::Expected<std::vector<CompressStep>> moe::parseSteps(StringRef text) {
  std::vector<CompressStep> steps;
  StringRef left = text.trim();
  while (!left.empty()) {
    size_t end = left.find_first_of(",{");
    StringRef name = left.take_front(end).trim(), options;
    left = left.drop_front(name.size()).ltrim();
    StringRef whole = name;
    if (left.consume_front("{")) {
      size_t close = left.find('}');
      if (close == StringRef::npos)
        return wrong("'" + name + "{' has no '}'");
      options = left.take_front(close);
      left = left.drop_front(close + 1).ltrim();
      whole = StringRef(name.data(), left.data() - name.data()).rtrim();
    }
    if (!left.empty() && !left.consume_front(","))
      return wrong("expected ',' before '" + left + "'");
    left = left.ltrim();
    const KnownStep *known = llvm::find_if(
        kSteps, [&](const KnownStep &step) { return step.name == name; });
    if (name == "auto")
      return wrong("auto{...} goes alone, without other steps");
    if (known == std::end(kSteps)) {
      std::string all;
      for (const KnownStep &step : kSteps)
        all += (all.empty() ? "" : ", ") + step.name.str();
      return wrong("unknown step '" + name + "': known are " + all);
    }
    auto made = optionsOf(*known, options);
    if (!made)
      return made.takeError();
    std::string pipeline = "moe-" + name.str() + "{";
    for (auto &[key, value] : *made)
      pipeline += " " + key + "=" + value;
    steps.push_back({whole.str(), pipeline + "}", std::move(*made)});
  }
  if (steps.empty())
    return wrong("names no step");
  return steps;
}

LogicalResult moe::compressModule(ModuleOp module, ArrayRef<CompressStep> steps,
                                  WeightSource &weights, const Profile *profile,
                                  Ledger &ledger,
                                  llvm::function_ref<void(StringRef)> begin,
                                  const OutputError *reference) {
  CompressInputs &inputs = CompressInputs::of(module.getContext());
  inputs.weights = &weights;
  inputs.profile = profile;
  // Parsed before anything runs, so that a slip in the last step costs
  // nothing.
  std::vector<std::unique_ptr<PassManager>> managers;
  for (const CompressStep &step : steps) {
    managers.push_back(std::make_unique<PassManager>(module.getContext()));
    if (failed(
            parsePassPipeline(step.pipeline, *managers.back(), llvm::nulls())))
      return emitError(module.getLoc())
             << "--compress: " << step.text << ": its options cannot be read";
  }
  // Banks of another module may have the same names.
  weights.forget();
  std::optional<OutputError> own;
  if (profile && !reference) {
    auto made = OutputError::of(module, *profile, weights);
    if (failed(made))
      return failure();
    own = std::move(*made);
    reference = &*own;
  }
  llvm::StringMap<double> slots;
  if (own)
    slots = own->getSlots();
  ledger.steps.push_back(
      {"", measureCost(module, slots), std::nullopt, std::nullopt});
  for (auto [step, manager] : llvm::zip(steps, managers)) {
    begin(step.text);
    if (failed(manager->run(module)))
      return failure();
    weights.forget(); // what has been replaced
    LedgerStep entry{step.text, {}, std::nullopt, std::nullopt};
    slots.clear();
    if (reference) {
      auto now = reference->measure(module, *profile, weights);
      if (failed(now))
        return failure();
      entry.outputError = now->error;
      slots = std::move(now->slots);
    }
    entry.cost = measureCost(module, slots);
    ledger.steps.push_back(std::move(entry));
  }
  return success();
}
