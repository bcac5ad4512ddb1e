#include "tools/moe-opt/Compression.h"

#include "mlir/IR/Diagnostics.h"
#include "passes/Analysis/ModelFingerprint.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/OutputError.h"
#include "passes/Compress/ProfileColumns.h"
#include "passes/Compress/StepOptions.h"
#include "tools/moe-opt/Measure.h"
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
  if (!profile)
    return createStringError(
        "--compress=auto needs a profile (--profile=FILE)");
  ModelCost original = measureCost(module);
  auto reference = OutputError::of(module, *profile, weights);
  if (failed(reference))
    return createStringError("");
  if (!reference->measuresAny())
    return createStringError(
        "--compress=auto: profile '" + profile->getPath() +
        "' has no sample of a layer that can be evaluated, so there is nothing "
        "to rank recipes by; make one with a binary that was compiled with "
        "--instrument");
  using Copy = mlir::OwningOpRef<mlir::ModuleOp>;
  auto apply = [&](mlir::ModuleOp from, StringRef text,
                   Ledger &ledger) -> Expected<Copy> {
    auto parsed = parseSteps(text);
    if (!parsed)
      return parsed.takeError();
    Copy copy = from.clone();
    // A recipe that does not suit the model says so; the user has not asked
    // for it.
    std::string why;
    mlir::ScopedDiagnosticHandler quiet(module.getContext(),
                                        [&](mlir::Diagnostic &diagnostic) {
                                          why = diagnostic.str();
                                          return mlir::success();
                                        });
    if (failed(compressModule(
            *copy, *parsed, weights, profile.get(), ledger, [](StringRef) {},
            &*reference)))
      return createStringError(why);
    return copy;
  };
  // Many ways to store follow one way to shape, whose moments they share.
  std::string lastShape;
  Copy shaped;
  MomentsMemo moments;
  auto store = [&](mlir::ModuleOp from, StringRef text, Ledger &ledger) {
    CompressInputs &inputs = CompressInputs::of(module.getContext());
    inputs.moments = &moments;
    auto copy = apply(from, text, ledger);
    inputs.moments = nullptr;
    return copy;
  };
  // What was made is measured; it is small, since it holds recipes.
  StringMap<Copy> made;
  AutoTools tools;
  tools.progress = options.progress;
  tools.apply = [&](StringRef shape, StringRef storage) -> Expected<Candidate> {
    Ledger ledger;
    if (!shape.empty() && (shape != lastShape || storage.empty())) {
      auto copy = apply(module, shape, ledger);
      lastShape = shape.str();
      shaped = Copy();
      moments.clear();
      if (!copy)
        return copy.takeError();
      shaped = std::move(*copy);
    }
    if (!shape.empty() && !shaped)
      return createStringError("the model has no such shape");
    auto copy = storage.empty()
                    ? Expected<Copy>(shaped->clone())
                    : store(shape.empty() ? module : *shaped, storage, ledger);
    if (!copy)
      return copy.takeError();
    made[joinSteps(shape, storage)] = std::move(*copy);
    Candidate candidate;
    candidate.cost = ledger.steps.back().cost;
    candidate.predicted = ledger.steps.back().outputError.value_or(0);
    return candidate;
  };
  StringMap<double> measured;
  if (!texts.empty())
    tools.measure = [&](StringRef text) -> Expected<double> {
      weights.forget(); // candidates use the same names
      auto bits = measureBits(*made[text], weights, options, texts);
      if (!bits)
        return bits.takeError();
      measured[text] = *bits;
      return *bits - *originalBits;
    };
  std::vector<Candidate> tried;
  auto found = searchRecipe(*request, original, tools, tried);
  options.progress("");
  StringRef chosen = found ? StringRef(*found) : StringRef();
  printCandidates(errs(), original, tried, chosen);
  if (!found)
    return found.takeError();
  facts["front"] = candidatesJSON(original, tried, chosen);
  facts["front_limits"] =
      json::Object{{"share", request->bytes}, {"loss", request->maxLoss}};
  errs() << "chosen: " << *found << "\n";
  if (auto known = measured.find(*found); known != measured.end())
    resultBits = known->second;
  return parse(*found);
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
    auto bits = measureBits(module, weights, options, texts);
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
      auto bits = measureBits(module, weights, options, texts);
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
