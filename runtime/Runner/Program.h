// What the command line does with a model; works through moe_api alone.
#ifndef MOE_RUNTIME_RUNNER_PROGRAM_H
#define MOE_RUNTIME_RUNNER_PROGRAM_H

#include "runtime/Core/Status.h"
#include "runtime/Runner/Npz.h"
#include "runtime/Runner/Options.h"

#include <memory>

namespace moe::rt {

/// Process exit codes, as everywhere in moe-opt.
enum ExitCode {
  ExitDone = 0,
  ExitFailed = 1,
  ExitUsage = 2,
  ExitDiffers = 3,
  ExitInternal = 70
};

/// A model's function table and one session of it.
struct Program {
  const moe_api *api = nullptr;
  Options options;
  moe_session *session = nullptr;

  Program() = default;
  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;
  ~Program() {
    if (session)
      api->session_destroy(session);
  }

  /// Turns what a table function returned into a Status.
  Status check(moe_status status) const {
    if (status == MOE_OK)
      return {};
    return {static_cast<Code>(status), api->error()};
  }

  const moe_port *findInput(const std::string &name) const;
  const moe_port *findOutput(const std::string &name) const;
  Status setInput(const std::string &name, const moe_tensor &tensor) const {
    return check(api->set_input(session, name.c_str(), &tensor));
  }
  Status run() const { return check(api->run(session)); }
  /// A run with all outputs where the caller can see them: what is timed.
  Status runForOutputs() const;
  Result<moe_tensor> output(const std::string &name) const;
};

/// Reads --input and --inputs files and hands them to the session; the arrays
/// must live while it runs. uint16 arrays become bfloat16 where a port is.
Result<std::vector<Array>> loadInputs(Program &program);

/// The inputs that --experts-per-token sets, handed to the session as well:
/// those that the model's manifest says its gates take their number of experts
/// from. None without the flag; a model that has none of them is refused.
Result<std::vector<Array>> setExpertsPerToken(Program &program);

/// One run: inputs, run, then outputs, comparison or a summary.
Result<int> runOnce(Program &program);
/// --bench
Result<int> runBench(Program &program);
/// How well a byte-level language model predicts a text.
struct TextScore {
  std::string path;
  double bitsPerByte;
  int64_t windows;
  double tokensPerSecond;
};
/// The mean over the files of --eval, which are not empty; `each` is told each
/// one's score, where it is not null.
Result<double> evalTexts(Program &program, void (*each)(const TextScore &));
/// --eval
Result<int> runEval(Program &program);
/// --generate
Result<int> runGenerate(Program &program);

/// Can --profile be written? Said before the work is done.
Status checkRecords(const Program &program);
/// Writes --profile and --trace files.
Status writeRecords(Program &program);

/// Opens the model that the command line names.
using ModelLoader = Result<const moe_api *> (*)(const Options &options);

/// Where the library is that plays a CUDA driver, for --device emu.
using EmulatorFinder = std::string (*)();

/// What main() returns: everything from arguments to messages. `embedded` is
/// the model in this executable; where it is null the command line names one
/// and `load` opens it. A function pointer, so that executables do not carry
/// the loader. Without `emulator` there is no --device emu.
int runMain(int argc, const char *const *argv, const moe_api *embedded,
            ModelLoader load, EmulatorFinder emulator = nullptr);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_PROGRAM_H
