#include "tools/moe-opt/Driver.h"

#include "codegen/CUDA/Kernels.h"
#include "codegen/PendingFile.h"
#include "codegen/Report/Report.h"
#include "dialects/MoE/MoEOps.h"
#include "frontends/HuggingFace/Export.h"
#include "frontends/HuggingFace/Importer.h"
#include "frontends/ONNX/Export.h"
#include "frontends/ONNX/OpRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "passes/Compress/Passes.h"
#include "runtime/Core/File.h"
#include "tools/moe-opt/BaseModel.h"
#include "tools/moe-opt/Compression.h"
#include "tools/moe-opt/Options.h"
#include "tools/moe-opt/Outputs.h"
#include "tools/moe-opt/ReadModel.h"
#include "tools/moe-opt/Runs.h"
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

namespace {
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

/// An empty reason has been told already.
static int fail(const Twine &why, int code = 1) {
  if (why.isTriviallyEmpty() || why.str().empty())
    return code;
  errs() << "moe-opt: error: " << why << "\n";
  return code;
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
  std::optional<mlir::SymbolTable> symbols;
  options.expect = [&](ArrayRef<BankOp> banks) {
    weights.useSymbols(&symbols.emplace(module));
    weights.expect(banks);
  };
  options.progress = compile.progressWithin;
  compile.progress("write ONNX");
  mlir::LogicalResult done = onnx::exportModel(module, request.output, options);
  weights.expect({});
  weights.useSymbols(nullptr);
  return done;
}

/// Writes the module as a checkpoint like the one it came from.
static mlir::LogicalResult exportTo(mlir::ModuleOp module,
                                    const Request &request,
                                    const rt::Checkpoint &source,
                                    uint64_t shardBytes, WeightSource &weights,
                                    const CompileOptions &compile) {
  hf::ExportOptions options;
  options.shardBytes = shardBytes;
  std::string facts;
  raw_string_ostream(facts) << json::Value(json::Object(compile.extraFacts));
  options.facts = rt::parseJson(facts).value_or(rt::Json());
  options.bytes = [&](BankOp bank) { return weights.bytes(bank); };
  options.release = [&](StringRef bytes) { weights.release(bytes); };
  options.progress = compile.progressWithin;
  std::vector<std::string> notes;
  options.note = [&](const Twine &note) { notes.push_back(note.str()); };
  compile.progress("write checkpoint");
  // Banks are many, and each recipe looks some up.
  mlir::SymbolTable symbols(module);
  weights.useSymbols(&symbols);
  auto result = hf::exportCheckpoint(module, source, request.output, options);
  weights.useSymbols(nullptr);
  compile.progress("");
  for (const std::string &note : notes)
    errs() << "moe-opt: note: " << note << "\n";
  return result;
}

/// Gives the layers of a profile the names that the module has for those with
/// the same routers; an empty reason has been told already.
static Error renameLayers(mlir::ModuleOp module, WeightSource &weights,
                          StringRef path, rt::Profile &profile) {
  auto routers = routerHashes(module, weights);
  if (failed(routers))
    return createStringError("");
  auto loaded = Profile::load(path);
  if (!loaded)
    return loaded.takeError();
  if (Error error = (*loaded)->nameByRouters(*routers))
    return error;
  profile = (*loaded)->getStored();
  return Error::success();
}

/// Whether code for GPUs goes into what is written.
static bool holdsCode(Emit kind) {
  switch (kind) {
  case Emit::Executable:
  case Emit::Library:
  case Emit::Bundle:
  case Emit::Object:
  case Emit::LLVMIR:
    return true;
  default:
    return false;
  }
}

/// What only runs of a model can give.
static const char *needsGraph(const Request &request) {
  return !request.texts.empty()        ? "--eval"
         : !request.instrument.empty() ? "--instrument"
                                       : nullptr;
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
  if (request.hasShardSize && *kind != Emit::HuggingFace)
    return fail("--max-shard-size is for checkpoints that are written (-o "
                "FOLDER)",
                2);
  auto shardBytes = sizeOf(request.shardSize);
  if (!shardBytes)
    return fail("--max-shard-size: " + toString(shardBytes.takeError()), 2);
  bool isCheckpoint = readsCheckpoint(request);
  if (const char *flag = isCheckpoint ? needsGraph(request) : nullptr)
    return fail(Twine(flag) + " needs a model that runs, but '" +
                    request.input +
                    "' holds weights without the graph around them; use the "
                    "model exported to ONNX",
                2);
  if (request.optLevel < '0' || request.optLevel > '3')
    return fail("unknown optimisation level: -O0 to -O3", 2);
  auto targets = parseTargets(request.target);
  if (!targets)
    return fail(toString(targets.takeError()), 2);
  if (!targets->cuda.empty())
    if (Error error = cuda::checkArchitecture(targets->cuda))
      return fail(toString(std::move(error)), 2);
  if (request.tf32 && targets->cuda.empty())
    return fail("--tf32 is for GPUs: --target=cpu,cuda:sm_80", 2);
  if (request.fp8Inputs && !cuda::multipliesE4M3(targets->cuda))
    return fail("--fp8-inputs is for GPUs that multiply fp8: "
                "--target=cpu,cuda:sm_89",
                2);
  auto cubin = cubinOf(request.cubin);
  if (!cubin)
    return fail(toString(cubin.takeError()), 2);
  if (request.hasCubin && targets->cuda.empty())
    return fail("--cubin is for GPUs: --target=cpu,cuda:sm_80", 2);
  if (*cubin != Cubin::Never && !holdsCode(*kind))
    return fail("--cubin: cubins are for executables, libraries, bundles, "
                "objects and LLVM IR",
                2);
  if (*kind == Emit::PTX && targets->cuda.empty())
    return fail("--emit=ptx needs a GPU: --target=cuda:sm_80", 2);
  if (request.output.empty() && !stop && request.report.empty() &&
      *kind != Emit::MLIR)
    return fail("no output: give -o FILE, --stop-after=PHASE or --report=FILE",
                2);
  Compression compression;
  if (!request.compress.empty()) {
    registerCompressPasses();
    if (Error error = compression.parse(request.compress))
      return fail(toString(std::move(error)), 2);
    if (compression.isSearch() && request.profile.empty())
      return fail("--compress=auto needs a profile (--profile=FILE)", 2);
  } else if (request.hasCompress) {
    return fail("--compress needs steps, as in --compress='quantize{int4}'", 2);
  } else if (!request.texts.empty()) {
    return fail("--eval goes with --compress; to evaluate a model, run it with "
                "--eval",
                2);
  } else if (!request.profile.empty()) {
    return fail("--profile goes with --compress; to see a profile, give "
                "--report and --report-run",
                2);
  } else if (!request.base.empty()) {
    return fail("--base goes with --compress", 2);
  }
  CompileOptions options;
  for (StringRef entry : request.roles) {
    auto [port, role] = entry.split('=');
    if (port.empty() || role.empty())
      return fail("--role takes PORT=ROLE, not '" + entry + "'", 2);
    options.roles.emplace_back(port, role);
  }
  if (!request.roles.empty() && request.texts.empty())
    return fail("--role goes with --eval", 2);
  WeightSource named;
  if (Error error = bindBanks(request.banks, named))
    return fail(toString(std::move(error)), 2);
  if (Error error = checkOutputs(request, *kind))
    return fail(toString(std::move(error)));
  if (!request.profile.empty()) {
    auto loaded = Profile::load(request.profile);
    if (!loaded)
      return fail(toString(loaded.takeError()));
    compression.profile = std::move(*loaded);
  }
  if (!request.instrument.empty() && request.instrument != "on" &&
      request.instrument != "gram")
    return fail("--instrument takes nothing or gram, not '" +
                    request.instrument + "'",
                2);
  if (!request.base.empty()) {
    auto base = readBase(request.base, request.banks, registry);
    if (!base)
      return fail(toString(base.takeError()));
    compression.base = std::move(*base);
  }
  options.target = targets->cpu;
  options.cuda = targets->cuda;
  options.tf32 = request.tf32;
  options.fp8Inputs = request.fp8Inputs;
  options.cubin = *cubin;
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
  if (request.verbose)
    options.note = [&](const Twine &note) {
      progress.finish();
      errs() << "moe-opt: note: " << note << "\n";
    };
  options.progressWithin = [&](uint64_t done, uint64_t all) {
    progress.within(done, all);
  };

  mlir::MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  SourceMgr sources;
  mlir::SourceMgrDiagnosticHandler handler(sources, &context);
  WeightSource weights;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  rt::Checkpoint source;
  std::vector<std::string> files;
  progress.step("import");
  if (isCheckpoint) {
    auto model = hf::importCheckpoint(request.input, context);
    if (failed(model))
      return 1;
    module = std::move(model->module);
    source = std::move(model->source);
    for (const rt::CheckpointFile &file : source.files) {
      weights.bind(file.name, file.path);
      files.push_back(file.path);
    }
    // Known now, so said before the work.
    if (*kind == Emit::HuggingFace && !request.output.empty() && !stop &&
        failed(hf::checkFolder(request.output, source, module->getLoc())))
      return 1;
  } else {
    auto model = readModel(request.input, sources, context, weights, files);
    if (!model)
      return fail(toString(model.takeError()));
    module = std::move(*model);
  }
  // They go before what the model says.
  cantFail(bindBanks(request.banks, weights));
  if (Error error = checkInputsStay(request, *kind, std::move(files)))
    return fail(toString(std::move(error)));
  // A graph around the weights of a checkpoint has names of its own.
  options.profilesChecked = isCheckpoint;
  auto runs = readRuns(request.runs, options.profiles,
                       [&](StringRef path, rt::Profile &profile) -> Error {
                         return isCheckpoint ? renameLayers(*module, weights,
                                                            path, profile)
                                             : Error::success();
                       });
  if (!runs)
    return fail(toString(runs.takeError()));

  json::Object facts;
  facts["model"] = sys::path::filename(request.input);
  compression.texts = request.texts;
  compression.modelName = sys::path::stem(request.input).str();
  compression.isCheckpoint = isCheckpoint;
  if (!request.compress.empty())
    if (Error error = compression.run(*module, weights, options, facts))
      return fail(toString(std::move(error)));
  options.profileFingerprint = compression.fingerprint;
  for (StringRef key :
       {"compression", "front", "front_limits", "front_refused"})
    if (const json::Value *fact = facts.get(key))
      options.extraFacts[key] = *fact;
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
  } else if (*kind == Emit::HuggingFace) {
    if (failed(
            exportTo(*module, request, source, *shardBytes, weights, options)))
      return 1;
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
    if (Error error = writeFile(request.report, renderReport(facts, *runs)))
      return fail(toString(std::move(error)));
  }
  return 0;
}