#include "tools/moe-bench/Options.h"
#include "tools/moe-bench/LayerFiles.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <unistd.h>

using namespace moe::bench;

static const char usage[] =
    "usage: moe-bench MODEL --inputs FILE.npz [options]   one run on these\n"
    "       moe-bench MODEL --decode N [options]          tokens one by one\n"
    "       moe-bench --layer SHAPE [options]             a layer of experts\n"
    "       moe-bench --limits [--threads N]              of this machine\n"
    "       moe-bench --device cuda [--predict] [options] layers on a GPU\n"
    "MODEL is a library or a bundle made by moe-opt. Times are medians with\n"
    "quartiles.\n"
    "\n"
    "  --threads N       threads for us and the peer (1; --limits: all)\n"
    "  --rounds N        blocks of runs, ours and the peer's in turn (7);\n"
    "                    half a second each for layers\n"
    "\n"
    "whole models:\n"
    "  --decode N        N tokens after the prompt, with the model's caches\n"
    "  --prompt N        tokens of the prompt (1)\n"
    "  --role PORT=ROLE  as for moe-run\n"
    "  --beside MODEL    another model in turn with the first, each in a\n"
    "                    process of its own: times, bytes, memory, ratios\n"
    "                    (may be given more than once)\n"
    "  --serve           runs rounds on request, as --beside wants it\n"
    "  --onnx FILE       the same model for the peer\n"
    "  --peer PROGRAM    python3 PROGRAM FILE INPUTS THREADS runs it on "
    "request\n"
    "                    (tools/moe-bench/peer_onnxruntime.py)\n"
    "  --python PROGRAM  interpreter for the peer (python3)\n"
    "\n"
    "layers (random weights and tokens; every run meets other experts):\n"
    "  --layer SHAPE     qwen3-30b-a3b, mixtral-8x7b, deepseek-v3,\n"
    "                    gpt-oss-20b, bytelm, or sizes\n"
    "                    HIDDENxWIDTHxEXPERTSxCHOSEN (2048x768x128x8)\n"
    "  --tokens LIST     tokens per run (1,8,64,512)\n"
    "  --type TYPE       of the weights: f32, bf16, f16, int8, int4, mxfp4,\n"
    "                    nf4 (f32)\n"
    "  --weights TYPE    the layer with these weights beside the same of f32,\n"
    "                    in turn, and their ratio\n"
    "  --work FOLDER     keeps what is made for the next time\n"
    "                    ($XDG_CACHE_HOME/moe-bench)\n"
    "  --compiler FILE   moe-opt (the one beside moe-bench)\n"
    "  --flag FLAG       for the compiler (--flag=--road=oracle)\n"
    "\n"
    "layers on a GPU (bf16; all models with targets, or that of --layer):\n"
    "  --device DEVICE   cuda: an NVIDIA GPU; emu: this processor plays one,\n"
    "                    for small layers and without speeds\n"
    "  --predict         nothing runs: what kernels cost by what they do, "
    "beside\n"
    "                    floors and targets. Exit code 3: a target is missed\n"
    "  --arch ARCH       whose kernels: sm_80 or sm_90a (the device's; "
    "sm_90a)\n"
    "  --tokens LIST     tokens per run (1,16,64,512,4096,16384)\n"
    "  --kernels FOLDER  with LAYER-ARCH.ptx, instead of compiling\n"
    "  --make-kernels FOLDER  makes those, for both unless --arch is given\n"
    "  --peer PROGRAM    python3 PROGRAM runs others' layers on request\n"
    "                    (tools/moe-bench/peer_torch.py)\n"
    "  -v                each kernel, and what it waits for\n";

static bool wrong(const std::string &why) {
  fprintf(stderr, "moe-bench: error: %s\n%s", why.c_str(), usage);
  return false;
}

static bool parseNumber(const std::string &text, int64_t least, int64_t most,
                        int64_t &value) {
  char *end = nullptr;
  errno = 0;
  value = strtoll(text.c_str(), &end, 10);
  return !text.empty() && !*end && !errno && value >= least && value <= most;
}

static bool parseList(const std::string &text, char separator, int64_t most,
                      std::vector<int64_t> &values) {
  values.clear();
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(separator, at), text.size());
    int64_t value;
    if (!parseNumber(text.substr(at, end - at), 1, most, value))
      return false;
    values.push_back(value);
    at = end + 1;
  }
  return true;
}

bool moe::bench::parseShape(const std::string &text, LayerShape &shape) {
  static const LayerShape known[] = {{"qwen3-30b-a3b", 2048, 768, 128, 8},
                                     {"mixtral-8x7b", 4096, 14336, 8, 2},
                                     {"deepseek-v3", 7168, 2048, 256, 8},
                                     {"gpt-oss-20b", 2880, 2880, 32, 4},
                                     {"bytelm", 192, 192, 16, 2}};
  for (const LayerShape &candidate : known)
    if (text == candidate.name)
      return shape = candidate, true;
  std::vector<int64_t> sizes;
  if (!parseList(text, 'x', 1 << 20, sizes) || sizes.size() != 4 ||
      sizes[3] > sizes[2] || sizes[2] > 4096)
    return false;
  shape = {text, sizes[0], sizes[1], sizes[2], sizes[3]};
  return true;
}

static std::string besideUs(const char *name) {
  char path[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  std::string self(path, n > 0 ? n : 0);
  return self.substr(0, self.rfind('/') + 1) + name;
}

static std::string cacheFolder() {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  return (cache && *cache ? std::string(cache)
                          : std::string(home ? home : ".") + "/.cache") +
         "/moe-bench";
}

bool moe::bench::parseOptions(int argc, char **argv, Options &options,
                              bool &done) {
  done = false;
  std::string layer;
  int64_t threads = 0, rounds = options.rounds;
  bool limits = false, serve = false, predict = false, hasTokens = false;
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i], value;
    size_t equals = flag.find('=');
    bool attached = flag[0] == '-' && equals != flag.npos;
    if (attached)
      value = flag.substr(equals + 1), flag.resize(equals);
    if (flag == "--help" && !attached)
      return done = true, fputs(usage, stdout), true;
    bool *yes = flag == "--limits"    ? &limits
                : flag == "--serve"   ? &serve
                : flag == "--predict" ? &predict
                : flag == "-v"        ? &options.verbose
                                      : nullptr;
    if (yes && !attached) {
      *yes = true;
      continue;
    }
    if (flag.empty() || flag[0] != '-') {
      if (!options.model.empty())
        return wrong("unknown argument '" + flag + "'");
      options.model = flag;
      continue;
    }
    std::string *text = flag == "--inputs"         ? &options.inputs
                        : flag == "--onnx"         ? &options.onnx
                        : flag == "--peer"         ? &options.peer
                        : flag == "--python"       ? &options.python
                        : flag == "--layer"        ? &layer
                        : flag == "--type"         ? &options.type
                        : flag == "--weights"      ? &options.weights
                        : flag == "--device"       ? &options.device
                        : flag == "--arch"         ? &options.arch
                        : flag == "--kernels"      ? &options.kernels
                        : flag == "--make-kernels" ? &options.makeKernels
                        : flag == "--work"         ? &options.work
                        : flag == "--compiler"     ? &options.compiler
                                                   : nullptr;
    int64_t *number = flag == "--threads"  ? &threads
                      : flag == "--rounds" ? &rounds
                      : flag == "--decode" ? &options.steps
                      : flag == "--prompt" ? &options.prompt
                                           : nullptr;
    bool other = flag == "--tokens" || flag == "--flag" || flag == "--role" ||
                 flag == "--beside";
    if (!text && !number && !other)
      return wrong("unknown argument '" + flag + "'");
    if (!attached) {
      if (++i == argc)
        return wrong(flag + " needs a value");
      value = argv[i];
    }
    hasTokens |= flag == "--tokens";
    if (text)
      *text = value;
    else if (number && !parseNumber(value, 1, 1 << 20, *number))
      return wrong(flag + " takes a number from 1, not '" + value + "'");
    else if (flag == "--tokens" &&
             !parseList(value, ',', 1 << 20, options.tokens))
      return wrong("--tokens takes numbers from 1, as in 1,8,64, not '" +
                   value + "'");
    else if (flag == "--beside")
      options.beside.push_back(value);
    else if (flag == "--flag")
      options.compilerFlags.push_back(value);
    else if (flag == "--role") {
      size_t split = value.find('=');
      if (split == value.npos)
        return wrong("--role takes PORT=ROLE, not '" + value + "'");
      options.roles.emplace_back(value.substr(0, split),
                                 value.substr(split + 1));
    }
  }

  bool gpu = !options.device.empty();
  if (limits + (!layer.empty() || gpu) + !options.model.empty() != 1)
    return wrong("give one of MODEL, --layer, --limits and --device");
  if (!layer.empty() && !parseShape(layer, options.shape))
    return wrong("unknown layer '" + layer +
                 "': known are qwen3-30b-a3b, mixtral-8x7b, deepseek-v3, "
                 "gpt-oss-20b, bytelm, and sizes as in 2048x768x128x8");
  if (gpu) {
    if (options.device != "cuda" && options.device != "emu")
      return wrong("unknown device '" + options.device +
                   "': known are cuda and emu");
    if (options.device == "emu" && layer.empty())
      return wrong("--device emu needs --layer, a small one: 64x32x4x2");
    if (options.device == "emu")
      options.driver = besideUs("../lib/libmoe_cuda_emulator.so");
    if (!hasTokens)
      options.tokens = {1, 16, 64, 512, 4096, 16384};
    if (predict && options.arch.empty())
      options.arch = "sm_90a";
    if (!options.arch.empty() && options.arch != "sm_80" &&
        options.arch != "sm_90a")
      return wrong("unknown architecture '" + options.arch +
                   "': there are kernels for sm_80 and sm_90a");
  } else if (predict || !options.arch.empty() || !options.kernels.empty() ||
             !options.makeKernels.empty()) {
    return wrong(
        "--predict, --arch, --kernels and --make-kernels go with --device");
  }
  if (!options.weights.empty() && options.type != "f32")
    return wrong("--weights compares with f32: give no --type beside it");
  for (const std::string &type : {options.type, options.weights}) {
    static const char *known[] = {"",     "f32",  "bf16",  "f16",
                                  "int8", "int4", "mxfp4", "nf4"};
    if (std::find(std::begin(known), std::end(known), type) == std::end(known))
      return wrong("unknown type '" + type +
                   "': known are f32, bf16, f16, int8, int4, mxfp4, nf4");
    if (!layer.empty() && (options.shape.hidden | options.shape.width) % 64 &&
        LayerWeights::quantOf(type))
      return wrong("layers of type " + type +
                   " need multiples of 64 for hidden and width");
  }
  if (!options.model.empty() && options.inputs.empty() == !options.steps)
    return wrong("a model needs either --inputs or --decode");
  if (options.peer.empty() != options.onnx.empty() && !gpu)
    return wrong("the peer needs both --peer and --onnx");
  if ((serve || !options.beside.empty()) &&
      (options.model.empty() || !options.peer.empty()))
    return wrong("--beside and --serve go with MODEL, without --peer");
  if (serve && !options.beside.empty())
    return wrong("--serve runs one model: give no --beside with it");
  options.mode = limits                    ? Options::Limits
                 : predict                 ? Options::Predict
                 : gpu                     ? Options::Gpu
                 : !layer.empty()          ? Options::Layer
                 : serve                   ? Options::Serve
                 : !options.beside.empty() ? Options::Beside
                 : options.steps           ? Options::Decode
                                           : Options::Whole;
  if (!threads) {
    cpu_set_t set;
    CPU_ZERO(&set);
    threads = limits && sched_getaffinity(0, sizeof set, &set) == 0
                  ? CPU_COUNT(&set)
                  : 1;
  }
  if (threads > 1024)
    return wrong("--threads takes at most 1024");
  options.threads = static_cast<int>(threads);
  options.rounds = static_cast<int>(rounds);
  if (options.compiler.empty())
    options.compiler = besideUs("moe-opt");
  if (options.work.empty())
    options.work = cacheFolder();
  return true;
}
