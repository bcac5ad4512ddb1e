#include "codegen/Compile.h"

#include "codegen/Bundle/WriteBundle.h"
#include "codegen/CUDA/Assemble.h"
#include "codegen/CUDA/DeviceBranch.h"
#include "codegen/CUDA/DeviceCode.h"
#include "codegen/CUDA/Passes.h"
#include "codegen/LLVM/ObjectFile.h"
#include "codegen/LLVM/Pipelines.h"
#include "codegen/Link/LibraryHeader.h"
#include "codegen/Link/Linker.h"
#include "codegen/Link/WeightWriter.h"
#include "codegen/PendingFile.h"
#include "codegen/Report/ExpertSimilarity.h"
#include "codegen/Report/ModelFacts.h"
#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Analysis/ModelFingerprint.h"
#include "passes/Analysis/RouterHash.h"
#include "passes/Pipelines.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir;
using namespace moe;

static InFlightDiagnostic failed(ModuleOp module, const llvm::Twine &why) {
  return emitError(module.getLoc()) << why;
}

static void report(const CompileOptions &options, StringRef step) {
  if (options.progress)
    options.progress(step);
}

LogicalResult moe::raiseExperts(ModuleOp module,
                                const CompileOptions &options) {
  report(options, "raise experts");
  PipelineOptions pipeline;
  pipeline.raise = options.raise;
  PassManager pm(module.getContext());
  buildRaiseExpertsPipeline(pm, pipeline);
  return pm.run(module);
}

/// The sum of `profiles`, which must be of the model where its fingerprint is
/// given: those that measured the same as the first one with a sample of
/// inputs, or as the first.
static FailureOr<rt::Profile>
profileOf(ModuleOp module,
          ArrayRef<std::pair<std::string, rt::Profile>> profiles,
          StringRef model, StringRef fingerprint) {
  const rt::Profile *first = nullptr;
  auto isSampled = [](const rt::Profile &profile) {
    return !profile.layers.empty() && profile.layers[0].find("sample");
  };
  for (const auto &[path, profile] : profiles) {
    if (!fingerprint.empty()) {
      rt::Status status = rt::checkModel(
          profile, path, llvm::sys::path::stem(model).str(), fingerprint.str());
      if (!status.ok())
        return emitError(module.getLoc()) << status.message;
    }
    if (!first || (isSampled(profile) && !isSampled(*first)))
      first = &profile;
  }
  rt::Profile sum = first ? *first : rt::Profile();
  for (const auto &[path, profile] : profiles)
    if (&profile != first)
      if (rt::Status status = rt::addProfile(sum, profile, path); !status.ok())
        emitWarning(module.getLoc()) << "experts are compared without '" << path
                                     << "': " << status.message;
  return sum;
}

/// Adds `extra`. What the last step of compression left counts: the module
/// still has the banks that its recipes read.
static void addExtraFacts(const llvm::json::Object &extra,
                          llvm::json::Object &facts) {
  for (const auto &fact : extra)
    facts[fact.first] = fact.second;
  const llvm::json::Array *steps = extra.getArray("compression");
  const llvm::json::Object *last =
      steps && !steps->empty() ? steps->back().getAsObject() : nullptr;
  if (!last)
    return;
  auto number = [&](StringRef key) { return last->getNumber(key).value_or(0); };
  facts["parameters"] = static_cast<int64_t>(number("params"));
  facts["weight_bytes"] = static_cast<int64_t>(number("bytes"));
  facts["active_parameters"] = static_cast<int64_t>(
      number("params") - number("expert_params") + number("active_params"));
}

static LogicalResult run(ModuleOp module, const CompileOptions &options,
                         StringRef step,
                         llvm::function_ref<void(OpPassManager &)> build) {
  report(options, step);
  PassManager pm(module.getContext());
  build(pm);
  return pm.run(module);
}

static PipelineOptions pipelineOptions(const CompileOptions &options) {
  PipelineOptions pipeline;
  pipeline.oracle = options.road != Road::Fast;
  pipeline.widen = options.road == Road::OracleF64;
  pipeline.raise = options.raise;
  pipeline.avx512 = options.target.avx512;
  pipeline.instrument = options.instrument;
  pipeline.gram = options.gram;
  return pipeline;
}

/// From bufferized to LLVM's dialect; weights play no part.
static LogicalResult lowerBuffers(ModuleOp module,
                                  const CompileOptions &options) {
  return run(module, options, "lower", [&](OpPassManager &pm) {
    buildKernelsPipeline(pm, pipelineOptions(options));
    buildLLVMPipeline(pm);
  });
}

LogicalResult moe::lowerTo(ModuleOp module, Phase last, WeightSource &weights,
                           const CompileOptions &options,
                           llvm::json::Object &facts) {
  if (last == Phase::Imported)
    return success();
  PipelineOptions pipeline = pipelineOptions(options);
  if (mlir::failed(raiseExperts(module, options)))
    return failure();
  // Of the model as it came: what follows depends on the target.
  std::string fingerprint, profiled = options.profileFingerprint;
  if (options.fingerprint || (!options.profiles.empty() &&
                              !options.profilesChecked && profiled.empty())) {
    auto made = modelFingerprint(module, weights);
    if (mlir::failed(made))
      return failure();
    fingerprint = std::move(*made);
  }
  llvm::json::Object routers;
  if (options.fingerprint) {
    auto hashes = routerHashes(module, weights);
    if (mlir::failed(hashes))
      return failure();
    for (const RouterHash &hash : *hashes)
      routers[llvm::json::fixUTF8(hash.layer)] =
          llvm::toHex(hash.digest, /*LowerCase=*/true);
  }
  FailureOr<rt::Profile> profile =
      profileOf(module, options.profiles, options.name,
                options.profilesChecked ? ""
                : profiled.empty()      ? fingerprint
                                        : profiled);
  if (mlir::failed(profile))
    return failure();
  auto collect = [&] {
    facts = collectModelFacts(module);
    addExtraFacts(options.extraFacts, facts);
    if (options.fingerprint) {
      facts["fingerprint"] = fingerprint;
      facts["routers"] = llvm::json::Object(routers);
    }
    if (!options.profiles.empty()) {
      report(options, "compare experts");
      facts["expert_similarity"] = expertSimilarity(module, weights, *profile);
    }
  };
  if (mlir::failed(run(module, options, "raise", [&](OpPassManager &pm) {
        buildRaisePipeline(pm, pipeline);
      })))
    return failure();
  if (last == Phase::Raised) {
    collect();
    return success();
  }
  if (mlir::failed(run(module, options, "optimize", [&](OpPassManager &pm) {
        buildOptimizePipeline(pm, pipeline);
      })))
    return failure();
  collect();
  if (last == Phase::Optimized)
    return success();
  if (mlir::failed(run(module, options, "bufferize", [&](OpPassManager &pm) {
        buildLowerMoEPipeline(pm, pipeline);
        buildBufferizePipeline(pm);
      })))
    return failure();
  if (last == Phase::Bufferized)
    return success();
  return lowerBuffers(module, options);
}

/// A copy of `module` that LLVM IR can express: banks and pools have served,
/// and so have the names of ports.
static OwningOpRef<ModuleOp> withoutOurs(ModuleOp module) {
  OwningOpRef<ModuleOp> copy = module.clone();
  for (Operation &op : llvm::make_early_inc_range(*copy->getBody()))
    if (isa<BankOp, PoolOp>(op))
      op.erase();
  auto ours = [](StringAttr name) {
    return name.getValue().starts_with("moe.");
  };
  copy->walk([&](FunctionOpInterface function) {
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      for (NamedAttribute attribute : llvm::to_vector(function.getArgAttrs(i)))
        if (ours(attribute.getName()))
          function.removeArgAttr(i, attribute.getName());
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      for (NamedAttribute attribute :
           llvm::to_vector(function.getResultAttrs(i)))
        if (ours(attribute.getName()))
          function.removeResultAttr(i, attribute.getName());
  });
  return copy;
}

/// A C identifier made of a file's name.
static std::string identifier(StringRef name) {
  std::string text;
  for (char c : llvm::sys::path::stem(name))
    text += llvm::isAlnum(c) ? c : '_';
  return text.empty() ? "model" : text;
}

/// The C header of a library.
static std::string headerOf(StringRef path) {
  llvm::SmallString<128> header(path);
  llvm::sys::path::replace_extension(header, "h");
  return std::string(header);
}

llvm::Error moe::checkOutput(StringRef path, Emit emit) {
  auto cannot = [](StringRef path, const llvm::Twine &why) {
    return llvm::createStringError("cannot write '" + path + "'" + why);
  };
  bool linked =
      emit == Emit::Executable || emit == Emit::Library || emit == Emit::Bundle;
  bool isFolder = emit == Emit::HuggingFace;
  if (!linked && (path == "-" || isSpecialFile(path)))
    return llvm::Error::success();
  StringRef name = isFolder && path.size() > 1 ? path.rtrim('/') : path;
  StringRef folder = llvm::sys::path::parent_path(name);
  StringRef at = folder.empty() ? "." : folder;
  std::error_code error =
      llvm::sys::fs::access(at, llvm::sys::fs::AccessMode::Write);
  if (!error && !llvm::sys::fs::is_directory(at))
    error = std::make_error_code(std::errc::not_a_directory);
  if (error)
    return cannot(path, ": folder '" + folder + "': " + error.message());
  llvm::sys::fs::file_status status;
  bool exists = !llvm::sys::fs::status(path, status);
  if (linked && exists &&
      status.type() != llvm::sys::fs::file_type::regular_file)
    return cannot(path, ": it exists and is no regular file");
  if (!isFolder && exists && llvm::sys::fs::is_directory(status))
    return cannot(path, ": it is a directory");
  if (emit != Emit::Library)
    return llvm::Error::success();
  std::string header = headerOf(path);
  if (header == path)
    return cannot(path, ": the library's header takes that name");
  if (llvm::sys::fs::is_directory(header))
    return cannot(header, ", the library's header: it is a directory");
  return llvm::Error::success();
}

/// Lets a GPU run what it has kernels for, and generates these; nothing where
/// it has none for any layer of experts.
static FailureOr<std::optional<cuda::DeviceCode>>
deviceCode(ModuleOp module, const CompileOptions &options) {
  if (mlir::failed(run(module, options, "device", [&](OpPassManager &pm) {
        pm.addPass(createRunOnDevicePass({options.tf32, options.fp8Inputs}));
      })))
    return failure();
  int64_t total = 0, stay = 0;
  StringAttr why;
  module.walk([&](moert::ExpertFfnOp op) {
    if (cuda::branchOf(op) == cuda::BranchKind::Device)
      return;
    ++total;
    if (auto reason = op->getAttrOfType<StringAttr>(cuda::kNotOffloaded)) {
      ++stay;
      why = why ? why : reason;
    }
  });
  if (total == 0)
    emitWarning(module.getLoc())
        << "the model has no layer of experts, so nothing will run on "
        << options.cuda;
  else if (stay > 0)
    emitWarning(module.getLoc())
        << stay << " of " << total << " layers of experts have no kernels for "
        << options.cuda << " and stay on the processor: of the first, "
        << why.getValue();
  if (stay == total)
    return std::optional<cuda::DeviceCode>();
  auto code = cuda::makeDeviceCode(module, options.cuda);
  if (!code)
    return ::failed(module, llvm::toString(code.takeError()));
  return std::optional(std::move(*code));
}

/// Adds the cubin that is asked for.
static LogicalResult addCubin(ModuleOp module, const CompileOptions &options,
                              cuda::DeviceCode &code) {
  if (options.cubin == Cubin::Never)
    return success();
  report(options, "assemble");
  bool isRequired = options.cubin == Cubin::Require;
  cuda::Assembler assembler = cuda::findAssembler();
  if (assembler.path.empty()) {
    std::string why = "no ptxas found in " + assembler.places;
    if (isRequired)
      return ::failed(module, "--cubin=require: " + why);
    if (options.note)
      options.note("no cubin beside the PTX: " + llvm::Twine(why));
    return success();
  }
  auto cubin = cuda::assemble(assembler, code.ptx, code.architecture);
  if (cubin) {
    code.cubin = std::move(*cubin);
    return success();
  }
  std::string why = llvm::toString(cubin.takeError());
  if (isRequired)
    return ::failed(module, "--cubin=require: " + why);
  emitWarning(module.getLoc()) << "no cubin beside the PTX: " << why;
  return success();
}

LogicalResult moe::compileTo(ModuleOp module, StringRef path, Emit emit,
                             WeightSource &weights,
                             const CompileOptions &options,
                             llvm::json::Object &facts) {
  auto check = [&](llvm::Error error) -> LogicalResult {
    if (!error)
      return success();
    return ::failed(module, llvm::toString(std::move(error)));
  };
  // Long work later, so what can be known now is said now.
  if (mlir::failed(check(checkOutput(path, emit))))
    return failure();
  bool library = emit == Emit::Library;
  std::string headerPath = headerOf(path);
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main)
    return ::failed(module, "the module has no function @main to compile");
  auto signature = collectSignature(main);
  if (mlir::failed(signature))
    return failure();
  main->setAttr("llvm.emit_c_interface", UnitAttr::get(module.getContext()));
  // The runner needs it for --profile. Objects and text may be made without
  // the weights.
  CompileOptions lowering = options;
  bool whole =
      emit == Emit::Executable || emit == Emit::Library || emit == Emit::Bundle;
  lowering.fingerprint |= whole;
  if (mlir::failed(
          lowerTo(module, Phase::Bufferized, weights, lowering, facts)))
    return failure();
  // Kernels need dialects of their own, and nothing may register attributes
  // once weights are being made.
  module.getContext()->loadAllAvailableDialects();
  std::optional<cuda::DeviceCode> device;
  if (!options.cuda.empty()) {
    auto made = deviceCode(module, options);
    if (mlir::failed(made))
      return failure();
    device = std::move(*made);
  }
  if (emit == Emit::PTX) {
    if (!device)
      return ::failed(module, "no layer of experts has kernels for a GPU");
    return check(writeFile(path, device->ptx));
  }
  if (device && mlir::failed(addCubin(module, options, *device)))
    return failure();
  // Weights are made beside the code.
  std::optional<WeightWriter> writer;
  if (whole)
    writer.emplace(module, weights);
  if (mlir::failed(lowerBuffers(module, options)))
    return failure();

  report(options, "generate code");
  auto machine = createTargetMachine(options.target, options.optLevel);
  if (!machine)
    return ::failed(module, "this compiler was built without code generation "
                            "for x86-64");
  auto size = module->getAttrOfType<IntegerAttr>("moe.weights_size");
  uint64_t weightsSize = size ? size.getInt() : 0;
  DescriptorText text;
  if (device) {
    if (mlir::failed(check(cuda::placeLayers(module, *device))))
      return failure();
    text.device = &*device;
    facts["gpu_layers"] = static_cast<int64_t>(device->layers.size());
    if (!device->cubin.empty())
      facts["gpu_cubin_bytes"] = static_cast<int64_t>(device->cubin.size());
  }
  text.name = identifier(options.name);
  text.cpuFeatures = requiredFeatures(*machine);
  text.weightsSize = weightsSize;
  facts["target"] = "cpu:" + options.target.cpu +
                    (device ? ",cuda:" + device->architecture : "");
  // What binaries say about themselves; matrices are for the report.
  llvm::json::Object manifest(facts);
  manifest.erase("expert_similarity");
  llvm::raw_string_ostream(text.manifest)
      << llvm::json::Value(std::move(manifest));
  llvm::LLVMContext context;
  OwningOpRef<ModuleOp> bare = withoutOurs(module);
  auto code = translateToLLVM(*bare, *signature, text, *machine,
                              options.optLevel, context);
  if (!code)
    return failure();
  if (emit == Emit::LLVMIR) {
    std::string ir;
    llvm::raw_string_ostream(ir) << *code;
    return check(writeFile(path, ir));
  }
  // A bundle keeps its weights beside the code.
  if (emit != Emit::Bundle)
    code->appendModuleInlineAsm(weightsSection(weightsSize));
  auto object = emitObject(*code, *machine);
  if (!object)
    return check(object.takeError());
  facts["object_bytes"] = static_cast<int64_t>(object->size());
  if (emit == Emit::Object)
    return check(writeFile(path, StringRef(object->data(), object->size())));

  report(options, "link");
  auto progress = [&](uint64_t done, uint64_t all) {
    if (options.progressWithin)
      options.progressWithin(done, all);
  };
  if (emit == Emit::Bundle) {
    PendingFile image(path);
    uint64_t size = linkedSize(*object, LinkKind::Library);
    if (mlir::failed(check(image.tryRoom(2 * size + weightsSize))))
      return failure();
    auto linked =
        linkModel(*object, image.name(), LinkKind::Library, text.name);
    if (!linked)
      return check(linked.takeError());
    BundleText bundle = {text.name, facts.getString("target")->str(),
                         text.cpuFeatures, weightsSize};
    report(options, "write weights");
    return writeBundle(module.getContext(), *writer, path, image.name(), bundle,
                       progress, facts);
  }
  PendingFile file(path), header(headerPath);
  // Complete before the library appears; it gets its name right after it.
  if (library && mlir::failed(check(header.write(libraryHeader(text.name)))))
    return failure();
  LinkKind kind = library ? LinkKind::Library : LinkKind::Executable;
  if (mlir::failed(
          check(file.tryRoom(linkedSize(*object, kind) + weightsSize))))
    return failure();
  auto linked = linkModel(*object, file.name(), kind, text.name);
  if (!linked)
    return check(linked.takeError());
  if (linked->weightsSize != weightsSize)
    return ::failed(module, "internal error: the linker reserved " +
                                llvm::Twine(linked->weightsSize) +
                                " bytes for " + llvm::Twine(weightsSize));
  report(options, "write weights");
  int fd = open(file.name().c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0)
    return check(file.error("write"));
  LogicalResult result =
      writer->write(path, fd, linked->weightsOffset, progress);
  if (succeeded(result)) {
    uint64_t whole = 0;
    (void)llvm::sys::fs::file_size(file.name(), whole);
    facts["executable_bytes"] = static_cast<int64_t>(whole);
    facts["code_bytes"] = static_cast<int64_t>(whole - weightsSize);
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, (library ? 0666 : 0777) & ~mask);
    result = check(file.sync(fd));
  }
  close(fd);
  if (succeeded(result))
    result = check(file.keep());
  if (library && succeeded(result))
    result = check(header.keep());
  return result;
}
