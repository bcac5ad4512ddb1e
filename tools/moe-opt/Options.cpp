#include "tools/moe-opt/Options.h"

#include "runtime/Bank/Checkpoint.h"
#include "tools/moe-opt/Driver.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace moe;

bool moe::wantsProduct(int argc, char **argv) {
  static const char *flags[] = {
      "emit",     "stop-after", "target",         "report",   "report-run",
      "road",     "list-ops",   "no-raise",       "onnx-moe", "external-data",
      "compress", "instrument", "max-shard-size", "cubin"};
  for (int i = 1; i < argc; ++i) {
    StringRef argument = argv[i];
    if (argument == "--bank" || argument == "-bank" || argument == "--base" ||
        argument == "-base") {
      ++i; // its value may end like a model
      continue;
    }
    if (!argument.starts_with("-") &&
        (argument.ends_with(".onnx") || rt::isCheckpoint(argument.str())))
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

bool moe::parseArguments(int argc, char **argv, Request &request) {
  // LLVM's libraries register hundreds of options of their own, one of them
  // under a name that is ours here.
  if (cl::Option *theirs = cl::getRegisteredOptions().lookup("stop-after"))
    theirs->removeArgument();
  cl::OptionCategory category("moe-opt options");
  cl::opt<std::string> input(
      cl::Positional, cl::desc("<model.onnx | module.mlir | checkpoint | ->"),
      cl::cat(category));
  cl::opt<std::string> output(
      "o", cl::value_desc("file"), cl::cat(category),
      cl::desc("What to write; its name says the kind: NAME executable, "
               "NAME.so library and header, NAME.o object, NAME.ll LLVM IR, "
               "NAME.onnx ONNX model, NAME.mlir text; of a checkpoint, NAME "
               "folder"));
  cl::opt<std::string> emit(
      "emit", cl::value_desc("kind"), cl::cat(category),
      cl::desc("Kind of output: exe, lib, obj, llvm, onnx, hf, mlir"));
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
  cl::opt<std::string> shardSize(
      "max-shard-size", cl::value_desc("5GB"), cl::init("5GB"),
      cl::cat(category),
      cl::desc("Of a checkpoint that is written: how large its files may be"));
  cl::opt<std::string> target(
      "target", cl::value_desc("target"), cl::init("cpu"), cl::cat(category),
      cl::desc("cpu[:native|x86-64-v3|x86-64-v4|znver4|...][,cuda:sm_90a|...] "
               "(default: this machine's processor). With a GPU, layers of "
               "experts run there where one is found, else on the "
               "processor"));
  cl::opt<bool> tf32(
      "tf32", cl::cat(category),
      cl::desc("Let GPUs round numbers of f32 to 10 bits before products of "
               "many tokens"));
  cl::opt<bool> fp8Inputs(
      "fp8-inputs", cl::cat(category),
      cl::desc("Let GPUs (sm_89 and later) round what experts of fp8 weights "
               "read to fp8, with a scale for up to 128 numbers of a token, "
               "and multiply in fp8"));
  cl::opt<std::string> cubin(
      "cubin", cl::value_desc("never|auto|require"), cl::init("never"),
      cl::cat(category),
      cl::desc("Assemble code for the GPU, too, which its driver does "
               "otherwise when it first loads a model. never: results then "
               "depend on no other program (default); auto: where a ptxas is "
               "found in MOE_PTXAS, PATH, CUDA_HOME, CUDA_PATH or "
               "/usr/local/cuda; require: fail without one"));
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
               "step costs and saves. auto{bytes=50%,max-loss=0.02} looks for "
               "steps that take no more of the bytes and lose no more: bits "
               "per byte with --eval, else of the layers' outputs"));
  cl::opt<std::string> profile(
      "profile", cl::value_desc("file.moeprof"), cl::cat(category),
      cl::desc("What runs of the model with --profile have measured, for "
               "--compress"));
  cl::opt<std::string> base(
      "base", cl::value_desc("model"), cl::cat(category),
      cl::desc("The model before fine-tuning (ONNX, text or a checkpoint), for "
               "--compress "
               "'prune-experts{router-norm ...}'"));
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
  cl::list<std::string> texts(
      "eval", cl::value_desc("text"), cl::cat(category),
      cl::desc("With --compress: measure bits per byte of this text before and "
               "after (byte-level language models; may be repeated)"));
  cl::list<std::string> roles(
      "role", cl::value_desc("port=role"), cl::cat(category),
      cl::desc("With --eval: what a port of the model is for (tokens, "
               "positions, mask, logits), where its name does not say"));
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
      "  moe-opt folder --compress=... -o folder2\n"
      "                                  a Hugging Face checkpoint, smaller\n"
      "  moe-opt layer.mlir --some-pass  run passes (moe-opt --help-list "
      "for all)\n",
      &errs());
  // The parser keeps pointers to options, and the linker walks them later.
  cl::Option *ours[] = {
      &input,     &output,       &emit,     &target,  &tf32,    &optLevel,
      &stopAfter, &road,         &noRaise,  &report,  &listOps, &verbose,
      &onnxMoE,   &externalData, &compress, &profile, &base,    &instrument,
      &shardSize, &cubin,        &fp8Inputs};
  banks.removeArgument();
  runs.removeArgument();
  texts.removeArgument();
  roles.removeArgument();
  for (cl::Option *option : ours)
    option->removeArgument();
  if (!parsed)
    return false;
  request = {input,
             output,
             emit,
             target,
             stopAfter,
             road,
             report,
             onnxMoE,
             cubin,
             compress,
             profile,
             base,
             instrument.getNumOccurrences() && instrument.empty()
                 ? std::string("on")
                 : instrument.getValue(),
             shardSize,
             banks,
             runs,
             texts,
             roles,
             optLevel,
             tf32,
             fp8Inputs,
             verbose,
             listOps,
             noRaise,
             externalData,
             compress.getNumOccurrences() > 0,
             shardSize.getNumOccurrences() > 0,
             cubin.getNumOccurrences() > 0};
  return true;
}

bool moe::isCheckpoint(StringRef path) {
  StringRef suffix = sys::path::extension(path);
  return suffix != ".mlir" && suffix != ".mlirbc" && suffix != ".onnx" &&
         rt::isCheckpoint(path.str());
}

bool moe::readsCheckpoint(const Request &request) {
  return isCheckpoint(request.input);
}

Expected<uint64_t> moe::sizeOf(StringRef text) {
  StringRef digits = text;
  uint64_t unit = digits.consume_back("GB")   ? 1000000000
                  : digits.consume_back("MB") ? 1000000
                  : digits.consume_back("KB") ? 1000
                                              : 1;
  uint64_t number = 0;
  if (digits.getAsInteger(10, number) || number == 0 ||
      __builtin_mul_overflow(number, unit, &number))
    return createStringError("'" + text +
                             "' is no size: 5GB, 500MB, 20KB and 4096 are");
  return number;
}

/// A suffix that is not known belongs to the name.
static Expected<Emit> kindOfCheckpoint(const Request &request) {
  StringRef suffix = sys::path::extension(request.output);
  StringRef kind = request.emit;
  if (kind.empty())
    kind = StringSwitch<StringRef>(suffix)
               .Cases({".so", ".moe", ".o", ".ll", ".ptx", ".onnx"},
                      suffix.drop_front(suffix.empty() ? 0 : 1))
               .Case(".mlir", "mlir")
               .Default("hf");
  if (kind == "hf")
    return Emit::HuggingFace;
  if (kind == "mlir")
    return Emit::MLIR;
  return createStringError("'" + request.input +
                           "' holds weights without the graph around them, so "
                           "it can become a folder like it (-o FOLDER) or text "
                           "(-o NAME.mlir), not '" +
                           kind +
                           "'; export the model to ONNX and compile that");
}

Expected<Emit> moe::kindOf(const Request &request) {
  if (readsCheckpoint(request))
    return kindOfCheckpoint(request);
  StringRef kind = request.emit;
  if (kind == "hf")
    return createStringError(
        "'" + request.input +
        "' is no checkpoint, of which alone another one "
        "(hf) can be made: give the folder with config.json and "
        "model.safetensors");
  if (kind.empty())
    kind = StringSwitch<StringRef>(sys::path::extension(request.output))
               .Case(".so", "lib")
               .Case(".moe", "bundle")
               .Case(".o", "obj")
               .Case(".ll", "llvm")
               .Case(".ptx", "ptx")
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
  if (kind == "ptx")
    return Emit::PTX;
  if (kind == "onnx")
    return Emit::ONNX;
  if (kind == "mlir")
    return Emit::MLIR;
  return createStringError(
      "unknown kind of output '" + kind +
      "': known are exe, lib, bundle, obj, llvm, ptx, onnx, hf, mlir");
}

Expected<Phase> moe::phaseOf(StringRef name) {
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

Expected<Road> moe::roadOf(StringRef name) {
  if (name == "fast")
    return Road::Fast;
  if (name == "oracle")
    return Road::Oracle;
  if (name == "oracle-f64")
    return Road::OracleF64;
  return createStringError("unknown road '" + name +
                           "': known are fast, oracle, oracle-f64");
}

Expected<Cubin> moe::cubinOf(StringRef name) {
  if (name == "never")
    return Cubin::Never;
  if (name == "auto")
    return Cubin::Auto;
  if (name == "require")
    return Cubin::Require;
  return createStringError("unknown value of --cubin '" + name +
                           "': known are never, auto, require");
}
