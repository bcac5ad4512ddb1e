#include "tools/moe-opt/Compression.h"

#include "passes/Analysis/ModelFingerprint.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/OutputError.h"
#include "passes/Compress/ProfileColumns.h"
#include "passes/Compress/StepOptions.h"
#include "tools/moe-opt/Measure.h"
#include "tools/moe-opt/RecipeTrials.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace moe;

Error Compression::parse(StringRef text) {
  auto automatic = parseAuto(text);
  if (!automatic)
    return automatic.takeError();
  request = *automatic;
  if (request)
    return Error::success();
  auto parsed = parseSteps(text);
  if (!parsed)
    return parsed.takeError();
  // All before the model is read, so that a slip in the last one costs nothing.
  for (const CompressStep &step : *parsed)
    if (Error error = checkOptions(step))
      return error;
  steps = std::move(*parsed);
  return Error::success();
}

Error Compression::search(mlir::ModuleOp module, WeightSource &weights,
                          const CompileOptions &options, json::Object &facts) {
  auto reference = OutputError::of(module, *profile, weights);
  if (failed(reference))
    return createStringError("");
  if (!reference->measuresAny())
    return createStringError(
        "--compress=auto: profile '" + profile->getPath() +
        "' has no sample of a layer that can be evaluated, so there is nothing "
        "to rank recipes by; make one with a binary that was compiled with "
        "--instrument");
  RecipeTrials recipes(module, weights, *profile, *reference);
  AutoTools tools;
  tools.progress = options.progress;
  tools.apply = [&](StringRef shape, StringRef storage) {
    return recipes.tryRecipe(shape, storage);
  };
  StringMap<double> measured;
  if (!texts.empty())
    tools.measure = [&](StringRef text) -> Expected<double> {
      auto made = recipes.make(text);
      if (!made)
        return made.takeError();
      auto bits = measureBits(std::move(*made), weights, options, texts,
                              /*isQuiet=*/true);
      if (!bits)
        return bits.takeError();
      measured[text] = *bits;
      return *bits - *originalBits;
    };
  AutoTrials trials;
  trials.originalBytes = measureCost(module).bytes;
  Error error = searchRecipe(*request, tools, trials);
  options.progress("");
  trials.print(errs());
  if (error)
    return error;
  facts["front"] = trials.toJSON();
  facts["front_refused"] = trials.refusedJSON();
  facts["front_limits"] =
      json::Object{{"share", request->bytes}, {"loss", request->maxLoss}};
  errs() << "chosen: " << trials.chosen << "\n";
  if (auto known = measured.find(trials.chosen); known != measured.end())
    resultBits = known->second;
  return parse(trials.chosen);
}

Error Compression::run(mlir::ModuleOp module, WeightSource &weights,
                       const CompileOptions &options, json::Object &facts) {
  // What goes wrong in the passes is a diagnostic that has been printed.
  auto said = [] { return createStringError(""); };
  if (failed(raiseExperts(module, options)))
    return said();
  if (base)
    CompressInputs::of(module.getContext()).base = &*base;
  if (profile && isCheckpoint) {
    // It was measured on a graph around these weights, so routers must do.
    auto routers = routerHashes(module, weights);
    if (failed(routers))
      return said();
    if (Error error = profile->nameByRouters(*routers))
      return error;
  } else if (profile || !options.profiles.empty()) {
    auto made = modelFingerprint(module, weights);
    if (failed(made))
      return said();
    fingerprint = std::move(*made);
  }
  if (profile && !isCheckpoint) {
    rt::Status status = rt::checkModel(
        profile->getStored(), profile->getPath().str(), modelName, fingerprint);
    if (!status.ok())
      return createStringError(status.message);
    // It is of these columns, whatever was measured of them before.
    ProfileColumns::forget(module);
  }
  if (!texts.empty()) {
    options.progress("measure the original");
    auto bits = measureBits(module.clone(), weights, options, texts);
    if (!bits)
      return bits.takeError();
    originalBits = *bits;
  }
  if (request)
    if (Error error = search(module, weights, options, facts))
      return error;
  Ledger ledger;
  if (failed(compressModule(module, steps, weights, profile.get(), ledger,
                            options.progress)))
    return said();
  if (!texts.empty()) {
    if (!resultBits) {
      options.progress("measure the result");
      auto bits = measureBits(module.clone(), weights, options, texts);
      if (!bits)
        return bits.takeError();
      resultBits = *bits;
    }
    ledger.steps.front().bitsPerByte = originalBits;
    ledger.steps.back().bitsPerByte = resultBits;
  }
  facts["compression"] = ledger.toJSON();
  options.progress("");
  ledger.print(errs());
  return Error::success();
}
