// From arguments to exit code.
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/Licenses.h"
#include "runtime/Runner/Program.h"
#include "runtime/Runner/UploadProgress.h"

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>
#include <unistd.h>

namespace moe::rt {
namespace {

/// Only small allocations get here; arrays are allocated with a check.
void outOfMemory() {
  constexpr std::string_view message = "error: out of memory\n";
  static_cast<void>(!write(STDERR_FILENO, message.data(), message.size()));
  _exit(ExitFailed);
}

void printError(const char *name, const std::string &message) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s: error: %s\n", name, message.c_str());
}

void printHelp(const char *name, bool withModel, const moe_api *api) {
  std::printf("usage: %s %s[options]\n\n", name, withModel ? "MODEL " : "");
  if (withModel)
    std::printf("Runs MODEL: a library (.so) or a bundle (.moe) made by "
                "moe-opt, or an .onnx\nfile, which moe-opt beside this "
                "program compiles first.\n\n");
  if (api) {
    std::printf("Model %s\n", printable(api->name()).c_str());
    auto list = [](const char *title, uint32_t count,
                   const moe_port *(*port)(uint32_t)) {
      std::printf("%s:\n", title);
      for (uint32_t i = 0; i < count; ++i)
        std::printf("  %-24s %s\n", printable(port(i)->name).c_str(),
                    portText(*port(i)).c_str());
    };
    list("inputs", api->num_inputs(), api->input);
    list("outputs", api->num_outputs(), api->output);
    std::printf("\n");
  }
  std::printf("options:\n%s", optionsHelp().c_str());
}

int exitCode(const Status &status) {
  return status.code == Code::Internal ? ExitInternal : ExitFailed;
}

Status openSession(const char *name, Program &program,
                   EmulatorFinder emulator) {
  moe_session_options options = {};
  options.size = sizeof(options);
  options.threads = static_cast<int32_t>(program.options.threads);
  options.record_experts = !program.options.profile.empty();
  options.sample_seed = program.options.profileSeed;
  options.record_phases = !program.options.trace.empty();
  const std::string &device = program.options.device;
  options.device = device.c_str();
  std::string driver;
  if (device == "emu") {
    driver = emulator();
    options.device = "cuda";
    options.cuda_driver = driver.c_str();
  }
  const moe_api &api = *program.api;
  // Models of older compilers know nothing of devices.
  bool hasDevice = api.size >= offsetof(moe_api, device) + sizeof(api.device);
  if (!hasDevice && device != "auto" && device != "cpu")
    return {Code::Unsupported,
            "the model was compiled before there were devices; compile it "
            "again, with --target=cpu,cuda:sm_80"};
  UploadProgress upload(program.options.verbose);
  upload.listen(options);
  Status status = program.check(api.session_create(&options, &program.session));
  if (!status.ok() || !program.options.verbose)
    return status;
  std::string chosen = hasDevice ? api.device(program.session)
                                 : "CPU: the model was compiled for it alone";
  std::fprintf(stderr, "%s: %s\n", name, printable(chosen).c_str());
  if (std::string weights = upload.summary(chosen); !weights.empty())
    std::fprintf(stderr, "%s: %s\n", name, printable(weights).c_str());
  return status;
}

Result<int> runProgram(const char *name, Program &program,
                       EmulatorFinder emulator) {
  Status status = checkRecords(program);
  if (status.ok())
    status = openSession(name, program, emulator);
  if (!status.ok())
    return status;
  Result<int> code = !program.options.evalFiles.empty() ? runEval(program)
                     : program.options.generate         ? runGenerate(program)
                     : program.options.bench            ? runBench(program)
                                                        : runOnce(program);
  if (!code)
    return code;
  status = writeRecords(program);
  if (!status.ok())
    return status;
  return code;
}

int finish(const char *name, int code) {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout))
    return code;
  printError(name, "cannot write standard output");
  return code == ExitDone ? ExitFailed : code;
}

} // namespace

int runMain(int argc, const char *const *argv, const moe_api *embedded,
            ModelLoader load, EmulatorFinder emulator) {
  std::set_new_handler(outOfMemory);
  cleanUpOnInterrupt();
  const char *name = argc > 0 ? argv[0] : "moe-run";
  if (const char *slash = std::strrchr(name, '/'))
    name = slash + 1;
  Program program;
  Result<Options> options = parseOptions(argc, argv, !embedded);
  if (!options) {
    printError(name, options.error().message + "; see --help");
    return ExitUsage;
  }
  program.options = std::move(*options);
  if (program.options.device == "emu" && !emulator) {
    printError(name, "--device: 'emu' needs the compiler, which is in moe-run "
                     "alone; see --help");
    return ExitUsage;
  }
  if (program.options.version) {
    std::printf("moe runtime %u.%u (%s)\n", MOE_API_MAJOR, MOE_API_MINOR,
                MOE_VERSION);
    return finish(name, ExitDone);
  }
  if (program.options.licenses) {
    std::string_view text = licenseTexts();
    std::fwrite(text.data(), 1, text.size(), stdout);
    return finish(name, ExitDone);
  }
  program.api = embedded;
  if (!embedded && !program.options.model.empty()) {
    Result<const moe_api *> loaded = load(program.options);
    if (!loaded) {
      printError(name, loaded.error().message);
      return exitCode(loaded.error());
    }
    program.api = *loaded;
  }
  if (program.options.help) {
    printHelp(name, !embedded, program.api);
    return finish(name, ExitDone);
  }
  Result<int> code = runProgram(name, program, emulator);
  if (!code) {
    printError(name, code.error().message);
    if (code.error().code == Code::Internal)
      std::fprintf(stderr, "This is a bug; please report it.\n");
    return exitCode(code.error());
  }
  return finish(name, *code);
}

} // namespace moe::rt
