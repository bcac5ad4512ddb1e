#include "tools/moe-opt/Driver.h"

#include "codegen/Compile.h"
#include "codegen/Report/ProfileFacts.h"
#include "codegen/Report/Report.h"
#include "dialects/MoE/MoEOps.h"
#include "frontends/ONNX/Export.h"
#include "frontends/ONNX/Importer.h"
#include "frontends/ONNX/OpRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "passes/Compress/Compress.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Profile.h"
#include "runtime/Core/File.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <csignal>

using namespace llvm;
using namespace moe;

bool moe::wantsProduct(int argc, char **argv) {
  static const char *flags[] = {"emit",          "stop-after", "target",
                                "report",        "report-run", "road",
                                "list-ops",      "no-raise",   "onnx-moe",
                                "external-data", "compress",   "instrument"};
  for (int i = 1; i < argc; ++i) {
    StringRef argument = argv[i];
    if (argument == "--bank" || argument == "-bank") {
      ++i; // its value may end like a model
      continue;
    }
    if (argument.ends_with(".onnx") && !argument.starts_with("-"))
      return true;
    if (argument == "-o" && i + 1 < argc) {
      StringRef out = argv[i + 1];
      StringRef suffix = sys::path::extension(out);
      if (out != "-" && !out.starts_with("/dev/") && suffix != ".mlir" &&
          suffix != ".mlirbc")
        return true;
    }
    if (!argument.consume_front("--") && !argument.consume_front("-"))
      continue;
    for (const char *flag : flags)
      if (argument == flag || argument.starts_with(std::string(flag) + "="))
        return true;
  }
  return false;
}

namespace {
struct Request {
  std::string input, output, emit, target, stopAfter, road, report, onnxMoE,
      compress, profile, instrument;
  std::vector<std::string> banks, runs;
  char optLevel;
  bool verbose, listOps, noRaise, externalData;
};

/// Shows where a long compilation is: on a terminal only.
class Progress {
public:
  explicit Progress(bool verbose)
      : verbose(verbose), terminal(sys::Process::StandardErrIsDisplayed()),
        start(Clock::now()), last(start) {}
  ~Progress() { finish(); }

  void step(StringRef name) {
    finish();
    if (name.empty())
      return;
    current = name.str();
    last = Clock::now();
    if (terminal && !verbose)
      errs() << "\r\033[K" << name << "...";
  }
  void within(uint64_t done, uint64_t all) {
    if (terminal && !verbose && all > 0)
      errs() << "\r\033[K" << current << "... " << done * 100 / all << " %";
  }
  void finish() {
    if (current.empty())
      return;
    if (verbose)
      errs() << "moe-opt: " << current << ": " << format("%.3f", seconds(last))
             << " s\n";
    else if (terminal)
      errs() << "\r\033[K";
    current.clear();
  }
  double total() const { return seconds(start); }

private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  }
  bool verbose, terminal;
  Clock::time_point start, last;
  std::string current;
};
} // namespace

static int fail(const Twine &why, int code = 1) {
  errs() << "moe-opt: error: " << why << "\n";
  return code;
}

/// Fills `request`; false after a message about wrong usage.
static bool parseArguments(int argc, char **argv, Request &request) {
  // LLVM's libraries register hundreds of options of their own, one of them
  // under a name that is ours here.
  if (cl::Option *theirs = cl::getRegisteredOptions().lookup("stop-after"))
    theirs->removeArgument();
  cl::OptionCategory category("moe-opt options");
  cl::opt<std::string> input(cl::Positional,
                             cl::desc("<model.onnx | module.mlir | ->"),
                             cl::cat(category));
  cl::opt<std::string> output(
      "o", cl::value_desc("file"), cl::cat(category),
      cl::desc("What to write; its name says the kind: NAME executable, "
               "NAME.so library and header, NAME.o object, NAME.ll LLVM IR, "
               "NAME.onnx ONNX model, NAME.mlir text"));
  cl::opt<std::string> emit(
      "emit", cl::value_desc("kind"), cl::cat(category),
      cl::desc("Kind of output: exe, lib, obj, llvm, onnx, mlir"));
  cl::opt<std::string> onnxMoE(
      "onnx-moe", cl::value_desc("contrib|standard"), cl::init("contrib"),
      cl::cat(category),
      cl::desc("MoE layers in ONNX output: operators MoE and QMoE of "
               "com.microsoft where they mean the same, or standard operators "
               "only"));
  cl::opt<bool> externalData(
      "external-data", cl::cat(category),
      cl::desc("Write the weights of ONNX output to NAME.onnx.data (default: "
               "above 1 GiB)"));
  cl::opt<std::string> target(
      "target", cl::value_desc("target"), cl::init("cpu"), cl::cat(category),
      cl::desc("cpu[:native|x86-64-v3|x86-64-v4|znver4|...] (default: this "
               "machine's processor)"));
  cl::opt<char> optLevel("O", cl::Prefix, cl::init('2'), cl::value_desc("0..3"),
                         cl::cat(category), cl::desc("Optimisation level (2)"));
  cl::opt<std::string> stopAfter(
      "stop-after", cl::value_desc("phase"), cl::cat(category),
      cl::desc("Print the module after imported, raised, optimized, bufferized "
               "or llvm"));
  cl::list<std::string> banks(
      "bank", cl::value_desc("name=path"), cl::cat(category),
      cl::desc("File of a weight archive that the module names"));
  cl::opt<std::string> road(
      "road", cl::value_desc("fast|oracle|oracle-f64"), cl::init("fast"),
      cl::cat(category),
      cl::desc("fast: generated kernels, plain loops where there is none; "
               "oracle: plain loops; oracle-f64: plain loops, all floats "
               "computed in f64"));
  cl::opt<bool> noRaise(
      "no-raise", cl::cat(category),
      cl::desc("Leave the ONNX graph as it is (slow; for comparison)"));
  cl::opt<std::string> compress(
      "compress", cl::value_desc("step{option=value,...},..."),
      cl::cat(category),
      cl::desc("Make the model smaller, step by step: prune-experts, "
               "merge-experts, narrow-experts, quantize, ... Prints what each "
               "step costs and saves"));
  cl::opt<std::string> profile(
      "profile", cl::value_desc("file.moeprof"), cl::cat(category),
      cl::desc("What runs of the model with --profile have measured, for "
               "--compress"));
  cl::opt<std::string> instrument(
      "instrument", cl::ValueOptional, cl::value_desc("gram"),
      cl::cat(category),
      cl::desc("Let runs with --profile measure layers: probabilities, ratios, "
               "inputs, outputs, similarities; gram: also H x H sums of the "
               "inputs. Results stay the same to the bit"));
  cl::opt<std::string> report("report", cl::value_desc("file.html"),
                              cl::cat(category),
                              cl::desc("Write a page about the model"));
  cl::list<std::string> runs(
      "report-run", cl::value_desc("name=file"), cl::cat(category),
      cl::desc("Show this run in the report: its expert profile (.moeprof) or "
               "JSON about it; both with one name are one run"));
  cl::opt<bool> listOps(
      "list-ops", cl::cat(category),
      cl::desc("List the ONNX operators that can be imported"));
  cl::opt<bool> verbose("v", cl::cat(category),
                        cl::desc("Say what takes how long"));
  cl::HideUnrelatedOptions(category);
  bool parsed = cl::ParseCommandLineOptions(
      argc, argv,
      "moe-opt: compile Mixture-of-Experts models\n\n"
      "  moe-opt model.onnx -o model     a native executable, weights "
      "inside\n"
      "  moe-opt layer.mlir --some-pass  run passes (moe-opt --help-list "
      "for all)\n",
      &errs());
  // The parser keeps pointers to options, and the linker walks them later.
  cl::Option *ours[] = {&input,        &output,    &emit,    &target,
                        &optLevel,     &stopAfter, &road,    &noRaise,
                        &report,       &listOps,   &verbose, &onnxMoE,
                        &externalData, &compress,  &profile, &instrument};
  banks.removeArgument();
  runs.removeArgument();
  for (cl::Option *option : ours)
    option->removeArgument();
  if (!parsed)
    return false;
  request = {input,    output,  emit,     target,  stopAfter,
             road,     report,  onnxMoE,  compress, profile,
             instrument.getNumOccurrences() && instrument.empty()
                 ? std::string("on")
                 : instrument.getValue(),
             banks,    runs,    optLevel, verbose, listOps,
             noRaise,  externalData};
  return true;
}

/// The kind of output that `--emit` or the output's name asks for.
static Expected<Emit> kindOf(const Request &request) {
  StringRef kind = request.emit;
  if (kind.empty())
    kind = StringSwitch<StringRef>(sys::path::extension(request.output))
               .Case(".so", "lib")
               .Case(".moe", "bundle")
               .Case(".o", "obj")
               .Case(".ll", "llvm")
               .Case(".onnx", "onnx")
               .Case(".mlir", "mlir")
               .Default("exe");
  if (kind == "exe")
    return Emit::Executable;
  if (kind == "lib")
    return Emit::Library;
  if (kind == "bundle")
    return Emit::Bundle;
  if (kind == "obj")
    return Emit::Object;
  if (kind == "llvm")
    return Emit::LLVMIR;
  if (kind == "onnx")
    return Emit::ONNX;
  if (kind == "mlir")
    return Emit::MLIR;
  return createStringError(
      "unknown kind of output '" + kind +
      "': known are exe, lib, bundle, obj, llvm, onnx, mlir");
}

static Expected<Phase> phaseOf(StringRef name) {
  if (name == "imported")
    return Phase::Imported;
  if (name == "raised")
    return Phase::Raised;
  if (name == "optimized")
    return Phase::Optimized;
  if (name == "bufferized")
    return Phase::Bufferized;
  if (name == "llvm")
    return Phase::LLVM;
  return createStringError("unknown phase '" + name +
                           "': known are imported, raised, optimized, "
                           "bufferized, llvm");
}

static Expected<Road> roadOf(StringRef name) {
  if (name == "fast")
    return Road::Fast;
  if (name == "oracle")
    return Road::Oracle;
  if (name == "oracle-f64")
    return Road::OracleF64;
  return createStringError("unknown road '" + name +
                           "': known are fast, oracle, oracle-f64");
}

/// The runs of `--report-run`, one for each name: of profiles (`.moeprof`, also
/// put into `profiles`) and of JSON objects.
static Expected<json::Array>
readRuns(const Request &request,
         std::vector<std::pair<std::string, rt::Profile>> &profiles) {
  std::vector<std::pair<std::string, json::Object>> runs;
  for (StringRef entry : request.runs) {
    auto [name, path] = entry.split('=');
    if (path.empty())
      return createStringError("--report-run takes name=file, not '" + entry +
                               "'");
    json::Object run;
    if (path.ends_with(".moeprof")) {
      rt::Result<rt::Profile> profile = rt::readProfile(path.str());
      if (!profile)
        return createStringError(profile.error().message);
      run = profileFacts(*profile);
      profiles.emplace_back(path.str(), std::move(*profile));
    } else {
      auto buffer = MemoryBuffer::getFile(path);
      if (!buffer)
        return createStringError(buffer.getError(),
                                 "cannot read '" + path +
                                     "': " + buffer.getError().message());
      Expected<json::Value> value = json::parse((*buffer)->getBuffer());
      if (!value) {
        consumeError(value.takeError());
        return createStringError("'" + path +
                                 "' is neither an expert profile (.moeprof) "
                                 "nor JSON about a run");
      }
      if (!value->getAsObject())
        return createStringError("'" + path +
                                 "' is not about a run: no JSON object");
      run = std::move(*value->getAsObject());
    }
    auto known = llvm::find_if(
        runs, [&](const auto &other) { return other.first == name; });
    if (known == runs.end())
      known = runs.insert(known, {name.str(), json::Object{{"name", name}}});
    for (auto &fact : run)
      if (fact.first != "name")
        known->second[fact.first] = std::move(fact.second);
  }
  json::Array out;
  for (auto &run : runs)
    out.push_back(std::move(run.second));
  return out;
}

/// Writes the module, MoE layers raised, as an ONNX model.
static mlir::LogicalResult exportTo(mlir::ModuleOp module,
                                    const Request &request,
                                    WeightSource &weights,
                                    const CompileOptions &compile) {
  if (failed(raiseExperts(module, compile)))
    return mlir::failure();
  onnx::ExportOptions options;
  options.form = request.onnxMoE == "standard" ? onnx::MoEForm::Standard
                                               : onnx::MoEForm::Contrib;
  options.externalData = request.externalData;
  options.bytes = [&](BankOp bank) { return weights.bytes(bank); };
  options.release = [&](StringRef bytes) { weights.release(bytes); };
  options.progress = compile.progressWithin;
  compile.progress("write ONNX");
  return onnx::exportModel(module, request.output, options);
}

/// Runs the steps of `--compress` and prints the ledger. Fails after a
/// message.
static bool compressIt(mlir::ModuleOp module, const Request &request,
                       ArrayRef<CompressStep> steps, const Profile *profile,
                       WeightSource &weights, const CompileOptions &compile,
                       json::Object &facts) {
  if (failed(raiseExperts(module, compile)))
    return false;
  Ledger ledger;
  if (failed(compressModule(module, steps, weights, profile, ledger,
                            compile.progress)))
    return false;
  facts["compression"] = ledger.toJSON();
  compile.progress("");
  ledger.print(errs());
  return true;
}

int moe::runProductDriver(int argc, char **argv,
                          mlir::DialectRegistry &registry) {
  Request request;
  if (!parseArguments(argc, argv, request))
    return 2;
  // LLVM has removed its temporary files then; those of bundles are not its.
  sys::SetInterruptFunction([] { rt::removePendingAndExit(); });
  // A file beyond the limit of sizes is an error of write, not our end.
  std::signal(SIGXFSZ, SIG_IGN);
  if (request.listOps) {
    onnx::printOpRegistry(outs());
    return 0;
  }
  if (request.input.empty())
    return fail("no input: moe-opt model.onnx -o model", 2);
  auto kind = kindOf(request);
  if (!kind)
    return fail(toString(kind.takeError()), 2);
  std::optional<Phase> stop;
  if (!request.stopAfter.empty()) {
    auto phase = phaseOf(request.stopAfter);
    if (!phase)
      return fail(toString(phase.takeError()), 2);
    stop = *phase;
  }
  auto road = roadOf(request.road);
  if (!road)
    return fail(toString(road.takeError()), 2);
  if (request.onnxMoE != "contrib" && request.onnxMoE != "standard")
    return fail("unknown form of MoE layers '" + request.onnxMoE +
                    "': known are contrib, standard",
                2);
  if (request.optLevel < '0' || request.optLevel > '3')
    return fail("unknown optimisation level: -O0 to -O3", 2);
  auto target = parseTarget(request.target);
  if (!target)
    return fail(toString(target.takeError()), 2);
  if (request.output.empty() && !stop && request.report.empty() &&
      *kind != Emit::MLIR)
    return fail("no output: give -o FILE, --stop-after=PHASE or --report=FILE",
                2);
  std::vector<CompressStep> steps;
  if (!request.compress.empty()) {
    auto parsed = parseSteps(request.compress);
    if (!parsed)
      return fail(toString(parsed.takeError()), 2);
    steps = std::move(*parsed);
    registerCompressPasses();
  }
  std::unique_ptr<Profile> profile;
  if (!request.profile.empty()) {
    auto loaded = Profile::load(request.profile);
    if (!loaded)
      return fail(toString(loaded.takeError()));
    profile = std::move(*loaded);
  }
  if (!request.instrument.empty() && request.instrument != "on" &&
      request.instrument != "gram")
    return fail("--instrument takes nothing or gram, not '" +
                    request.instrument + "'",
                2);
  CompileOptions options;
  auto runs = readRuns(request, options.profiles);
  if (!runs)
    return fail(toString(runs.takeError()));

  options.target = *target;
  options.optLevel = request.optLevel - '0';
  options.road = *road;
  options.raise = !request.noRaise;
  options.instrument = !request.instrument.empty();
  options.gram = request.instrument == "gram";
  options.name = request.output.empty() || request.output == "-"
                     ? sys::path::stem(request.input).str()
                     : request.output;
  Progress progress(request.verbose);
  options.progress = [&](StringRef step) { progress.step(step); };
  options.progressWithin = [&](uint64_t done, uint64_t all) {
    progress.within(done, all);
  };

  mlir::MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  SourceMgr sources;
  mlir::SourceMgrDiagnosticHandler handler(sources, &context);
  WeightSource weights;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  progress.step("import");
  StringRef suffix = sys::path::extension(request.input);
  if (suffix == ".mlir" || suffix == ".mlirbc" || request.input == "-") {
    auto buffer = MemoryBuffer::getFileOrSTDIN(request.input);
    if (!buffer)
      return fail("cannot read '" + request.input +
                  "': " + buffer.getError().message());
    sources.AddNewSourceBuffer(std::move(*buffer), SMLoc());
    module = mlir::parseSourceFile<mlir::ModuleOp>(sources, &context);
    if (!module)
      return 1;
  } else {
    auto model = onnx::importModel(request.input, context);
    if (failed(model))
      return 1;
    module = std::move(model->module);
    for (auto &archive : model->archives)
      weights.bind(archive.first(), archive.second);
  }
  for (StringRef bank : request.banks) {
    auto [name, path] = bank.split('=');
    if (path.empty())
      return fail("--bank takes name=path, not '" + bank + "'", 2);
    weights.bind(name, path);
  }

  json::Object facts;
  facts["model"] = sys::path::filename(request.input);
  if (!steps.empty() && !compressIt(*module, request, steps, profile.get(),
                                    weights, options, facts))
    return 1;
  if (stop || *kind == Emit::MLIR || request.output.empty()) {
    Phase last = stop                  ? *stop
                 : *kind == Emit::MLIR ? Phase::Imported
                                       : Phase::Optimized;
    json::Object found;
    if (failed(lowerTo(*module, last, weights, options, found)))
      return 1;
    for (auto &fact : found)
      facts[fact.first] = std::move(fact.second);
    progress.finish();
    if (stop || *kind == Emit::MLIR) {
      std::string text;
      raw_string_ostream os(text);
      module->print(os);
      if (Error error =
              writeFile(request.output.empty() ? "-" : request.output, text))
        return fail(toString(std::move(error)));
    }
  } else if (*kind == Emit::ONNX) {
    if (failed(exportTo(*module, request, weights, options)))
      return 1;
    progress.finish();
  } else {
    json::Object found;
    if (failed(
            compileTo(*module, request.output, *kind, weights, options, found)))
      return 1;
    for (auto &fact : found)
      facts[fact.first] = std::move(fact.second);
    progress.finish();
    facts["compile_seconds"] = progress.total();
  }
  if (!request.report.empty()) {
    if (!facts.get("target"))
      facts["target"] = "cpu:" + options.target.cpu;
    if (Error error = writeFile(request.report, renderReport(facts, *runs)))
      return fail(toString(std::move(error)));
  }
  return 0;
}
