#include "passes/Compress/StepOptions.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

using namespace mlir;
using namespace moe;

using Defaults = llvm::MapVector<StringRef, StringRef>;

static bool isParsed(const std::string &pipeline, PassManager &manager) {
  return succeeded(parsePassPipeline(pipeline, manager, llvm::nulls()));
}

/// The options of a pass as it prints them, `beam=8 budget=layer keep=-1`;
/// empty lists are not among them.
static Defaults defaultsOf(StringRef printed) {
  Defaults defaults;
  size_t open = printed.find('{');
  SmallVector<StringRef> words;
  if (open != StringRef::npos)
    llvm::SplitString(
        printed.substr(open + 1).take_until([](char c) { return c == '}'; }),
        words);
  for (StringRef word : words)
    defaults.insert(word.split('='));
  return defaults;
}

static bool isWhole(StringRef text) {
  int64_t number;
  return !text.getAsInteger(0, number);
}

/// What is wrong with `value`, where the usual one is `usual`; empty where
/// nothing is.
static StringRef slip(StringRef usual, StringRef value) {
  double number;
  if (usual == "true" || usual == "false")
    return value == "true" || value == "false" ? "" : "is true or false";
  if (isWhole(usual))
    return isWhole(value) ? "" : "is a whole number";
  if (!usual.getAsDouble(number))
    return value.getAsDouble(number) || !std::isfinite(number) ? "is a number"
                                                               : "";
  return "";
}

llvm::Error moe::checkOptions(const CompressStep &step) {
  auto wrong = [&](const Twine &why) {
    return llvm::createStringError("--compress: " + step.text + ": " + why);
  };
  MLIRContext context(MLIRContext::Threading::DISABLED);
  PassManager manager(&context);
  std::string pass = StringRef(step.pipeline).split('{').first.str();
  if (!isParsed(pass, manager))
    return wrong("there is no pass '" + pass + "'");
  std::string printed;
  llvm::raw_string_ostream os(printed);
  manager.printAsTextualPipeline(os);
  // Past what it is nested in.
  Defaults defaults = defaultsOf(StringRef(printed).substr(printed.find(pass)));
  PassManager listed(&context);
  if (isParsed(pass + "{layers=0}", listed))
    defaults.insert({"layers", ""});
  PassManager named(&context);
  if (isParsed(pass + "{names=x}", named))
    defaults.insert({"names", ""});
  for (auto &[key, value] : step.options) {
    auto found = defaults.find(key);
    if (found == defaults.end()) {
      std::string all;
      for (auto &[name, usual] : defaults)
        all += (all.empty() ? "" : ", ") + name.str();
      return wrong("there is no option '" + key + "'" +
                   (all.empty() ? "" : "; there are " + all));
    }
    SmallVector<StringRef> parts;
    StringRef(value).split(parts, ',');
    if (key == "layers" && !llvm::all_of(parts, isWhole))
      return wrong("layers is a list of whole numbers, not '" + value + "'");
    if (StringRef why = slip(found->second, value); !why.empty())
      return wrong(key + " " + why + ", not '" + value + "'");
  }
  PassManager whole(&context);
  if (!isParsed(step.pipeline, whole))
    return wrong("its options cannot be read");
  return llvm::Error::success();
}
