#include "runtime/Runner/Options.h"

#include "runtime/Core/DeviceRequest.h"
#include "runtime/Core/Text.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace moe::rt {
namespace {

Status usage(std::string message) {
  return {Code::InvalidArgument, std::move(message)};
}

Status parseNumber(const std::string &text, double &out) {
  char *end = nullptr;
  errno = 0;
  out = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || errno == ERANGE || std::isnan(out) || out < 0)
    return usage(quote(text) + " is not a number >= 0");
  return {};
}

Status parseUnsigned(const std::string &text, uint64_t &out) {
  char *end = nullptr;
  errno = 0;
  out = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || text[0] < '0' || text[0] > '9' || *end || errno == ERANGE)
    return usage(quote(text) + " is not a whole number >= 0");
  return {};
}

Status parseCount(const std::string &text, int64_t least, int64_t most,
                  int64_t &out) {
  uint64_t value;
  if (!parseUnsigned(text, value).ok() ||
      value < static_cast<uint64_t>(least) ||
      value > static_cast<uint64_t>(most))
    return usage(rt::text(quote(text), " is not a whole number from ", least,
                          " to ", most));
  out = static_cast<int64_t>(value);
  return {};
}

Status parseAssignment(const std::string &text, std::vector<Assignment> &out) {
  // Names may hold '=', file names rarely do: but a '=' in neither is usual.
  size_t at = text.find('=');
  if (at == text.npos || at == 0 || at + 1 == text.size())
    return usage(quote(text) + " is not of the form name=value");
  out.emplace_back(text.substr(0, at), text.substr(at + 1));
  return {};
}

constexpr int64_t most = int64_t(1) << 40;

enum class Value { None, Required, Optional };

struct Flag {
  const char *name;
  Value value;
  const char *valueName;
  const char *help;
  Status (*apply)(Options &, const std::string &);
};

#define FLAG [](Options & o, const std::string &v)->Status
const Flag flags[] = {{"input", Value::Required, "NAME=FILE.npy", "one input",
                       FLAG{return parseAssignment(v, o.inputs);
} // namespace
} // namespace moe::rt
, {"inputs", Value::Required, "FILE.npz",
   "inputs by name ('|' in a name stands for '/')",
   FLAG{o.inputArchives.push_back(v);
return {};
}
}
, {"output", Value::Required, "NAME=FILE.npy", "write one output",
   FLAG{return parseAssignment(v, o.outputs);
}
}
, {"outputs", Value::Required, "FILE.npz", "write all outputs",
   FLAG{o.outputArchive = v;
return {};
}
}
, {"expect", Value::Required, "FILE.npz",
   "compare outputs; exit code 3 and a table when they differ",
   FLAG{o.expect = v;
return {};
}
}
, {"rtol", Value::Required, "X",
   "allowed difference relative to the expected value (1e-3)",
   FLAG{return parseNumber(v, o.rtol);
}
}
, {"atol", Value::Required, "X", "plus this absolute difference (1e-5)",
   FLAG{return parseNumber(v, o.atol);
}
}
, {"threads", Value::Required, "N",
   "threads to use (all processors of the affinity mask)",
   FLAG{return parseCount(v, 1, 1024, o.threads);
}
}
, {"device", Value::Required, "DEVICE",
   "where layers run that were compiled for a GPU, too: cpu, cuda, cuda:N "
   "(the N-th GPU), or auto (default: a GPU where there is one); moe-run also "
   "has emu, a GPU that this processor plays",
   FLAG{o.device = v;
return v == "emu" ? Status() : parseDevice(v).error();
}
}
, {"experts-per-token", Value::Required, "K",
   "experts that serve each token, of a model that takes their number as an "
   "input",
   FLAG{return parseCount(v, 1, 1 << 20, o.expertsPerToken);
}
}
, {"bench", Value::Optional, "RUNS",
   "time repeated runs; inputs that are not given are made up",
   FLAG{o.bench = true;
return v.empty() ? Status() : parseCount(v, 1, 1000000, o.benchRuns);
}
}
, {"dim", Value::Required, "SYMBOL=N",
   "size of a free dimension of made-up inputs (1), or of one that only "
   "the caches of a language model have",
   FLAG{Status status = parseAssignment(v, o.dims);
int64_t size;
return status.ok() ? parseCount(o.dims.back().second, 0, most, size) : status;
}
}
, {"profile", Value::Required, "FILE",
   "add how experts were used to an expert profile (.moeprof)",
   FLAG{o.profile = v;
return {};
}
}
, {"profile-seed", Value::Required, "N",
   "which layer inputs a profile keeps as its sample (0)",
   FLAG{return parseUnsigned(v, o.profileSeed);
}
}
, {"trace", Value::Required, "FILE",
   "write the time of each phase (JSON for chrome://tracing, Perfetto); "
   "--bench also prints a table. A GPU is waited for after each kernel then",
   FLAG{o.trace = v;
return {};
}
}
, {"eval", Value::Required, "FILE",
   "bits per byte of a byte-level language model on a text; repeatable",
   FLAG{o.evalFiles.push_back(v);
return {};
}
}
, {"eval-batch", Value::Required, "N", "windows of 256 bytes per run (8)",
   FLAG{return parseCount(v, 1, 65536, o.evalBatch);
}
}
, {"generate", Value::None, "", "continue a prompt, byte by byte",
   FLAG{o.generate = true;
return {};
}
}
, {"prompt", Value::Required, "TEXT", "what to continue", FLAG{o.prompt = v;
return {};
}
}
, {"tokens", Value::Required, "N", "most tokens to generate (200)",
   FLAG{return parseCount(v, 0, most, o.tokens);
}
}
, {"temperature", Value::Required, "T",
   "0 takes the likeliest token (default), 1 samples as trained",
   FLAG{return parseNumber(v, o.temperature);
}
}
, {"sample-top-k", Value::Required, "K",
   "sample among the K likeliest tokens only (0: all)",
   FLAG{return parseCount(v, 0, most, o.topK);
}
}
, {"seed", Value::Required, "N", "equal seeds give equal samples (0)",
   FLAG{return parseUnsigned(v, o.seed);
}
}
, {"role", Value::Required, "NAME=ROLE",
   "what an input or output is for, where that is not recognised: tokens, "
   "logits, positions, mask",
   FLAG{return parseAssignment(v, o.roles);
}
}
, {"verbose", Value::None, "", "say what it runs on, and why (-v)",
   FLAG{o.verbose = true;
return {};
}
}
, {"help", Value::None, "", "this text, and the model's inputs and outputs",
   FLAG{o.help = true;
return {};
}
}
, {"version", Value::None, "", "version of the runtime", FLAG{o.version = true;
return {};
}
}
, {"licenses", Value::None, "", "licences of what is linked in",
   FLAG{o.licenses = true;
return {};
}
}
,
}
;
#undef FLAG

const Flag *findFlag(const std::string &name) {
  for (const Flag &flag : flags)
    if (name == flag.name)
      return &flag;
  return nullptr;
}

} // namespace

int64_t Options::sizeOf(const std::string &symbol) const {
  for (const auto &[name, size] : dims)
    if (name == symbol)
      return std::atoll(size.c_str());
  return -1;
}

Result<Options> parseOptions(int argc, const char *const *argv,
                             bool withModel) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "-h")
      argument = "--help";
    if (argument == "-v")
      argument = "--verbose";
    if (argument.size() < 2 || argument[0] != '-') {
      if (!withModel || !options.model.empty())
        return usage("unexpected argument " + quote(argument));
      options.model = argument;
      continue;
    }
    size_t dashes = argument[1] == '-' ? 2 : 1;
    size_t equals = argument.find('=');
    bool attached = equals != argument.npos;
    const Flag *flag = findFlag(
        argument.substr(dashes, attached ? equals - dashes : argument.npos));
    if (!flag)
      return usage("unknown option " + quote(argument));
    std::string name = std::string("--") + flag->name, value;
    if (attached)
      value = argument.substr(equals + 1);
    if (attached && flag->value == Value::None)
      return usage(name + " takes no value");
    if (!attached && flag->value == Value::Required) {
      if (i + 1 == argc)
        return usage(name + " needs a value: " + flag->valueName);
      value = argv[++i];
    }
    Status status = flag->apply(options, value);
    if (!status.ok())
      return usage(name + ": " + status.message);
  }
  if (options.help || options.version || options.licenses)
    return options;
  if (withModel && options.model.empty())
    return usage(
        "which model? Give an .onnx file, or a library or a bundle made by "
        "moe-opt");
  if (options.generate + options.bench + !options.evalFiles.empty() > 1)
    return usage("--generate, --eval and --bench exclude each other");
  return options;
}

std::string optionsHelp() {
  std::string out;
  constexpr size_t column = 27, width = 80;
  for (const Flag &flag : flags) {
    std::string left = std::string("  --") + flag.name;
    if (flag.value == Value::Required)
      left += std::string(" ") + flag.valueName;
    if (flag.value == Value::Optional)
      left += std::string("[=") + flag.valueName + "]";
    left.resize(std::max(left.size() + 1, column), ' ');
    out += left;
    // Wraps the explanation under itself.
    size_t used = left.size();
    std::string_view rest = flag.help;
    while (!rest.empty()) {
      size_t space = rest.find(' ');
      std::string_view word = rest.substr(0, space);
      if (used + word.size() > width) {
        out += "\n" + std::string(column, ' ');
        used = column;
      }
      out += word;
      used += word.size() + 1;
      rest.remove_prefix(space == rest.npos ? rest.size() : space + 1);
      if (!rest.empty())
        out += ' ';
    }
    out += '\n';
  }
  return out;
}

} // namespace moe::rt
