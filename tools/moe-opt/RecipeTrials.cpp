#include "tools/moe-opt/RecipeTrials.h"

#include "passes/Compress/Compress.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/OutputError.h"
#include "passes/Compress/Profile.h"
#include "tools/moe-opt/FirstError.h"

using namespace llvm;
using namespace moe;

Error RecipeTrials::compress(mlir::ModuleOp copy, StringRef steps,
                             Ledger &ledger) {
  auto parsed = parseSteps(steps);
  if (!parsed)
    return parsed.takeError();
  FirstError first(copy.getContext());
  if (failed(compressModule(
          copy, *parsed, weights, &profile, ledger, [](StringRef) {},
          &reference)))
    return first.take("it fails without a reason");
  return Error::success();
}

Expected<Candidate> RecipeTrials::tryRecipe(StringRef shape,
                                            StringRef storage) {
  using Copy = mlir::OwningOpRef<mlir::ModuleOp>;
  Ledger ledger;
  if (storage.empty()) {
    shaped = Copy();
    moments.clear();
    Copy copy = module.clone();
    if (Error error = compress(*copy, shape, ledger))
      return error;
    shaped = std::move(copy);
  } else {
    Copy copy = shape.empty() ? module.clone() : shaped->clone();
    CompressInputs &inputs = CompressInputs::of(module.getContext());
    inputs.moments = &moments;
    Error error = compress(*copy, storage, ledger);
    inputs.moments = nullptr;
    if (error)
      return error;
  }
  const LedgerStep &last = ledger.steps.back();
  if (!last.outputError)
    return createStringError("no layer of the result can be evaluated on the "
                             "profile's sample, so that it has no rank");
  Candidate candidate;
  candidate.bytes = last.cost.bytes;
  candidate.predicted = *last.outputError;
  return candidate;
}

Expected<mlir::OwningOpRef<mlir::ModuleOp>>
RecipeTrials::make(StringRef steps) {
  mlir::OwningOpRef<mlir::ModuleOp> copy = module.clone();
  Ledger ledger;
  if (Error error = compress(*copy, steps, ledger))
    return error;
  return copy;
}
