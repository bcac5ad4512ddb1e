// The command line of moe-bench.
#ifndef MOE_TOOLS_MOEBENCH_OPTIONS_H
#define MOE_TOOLS_MOEBENCH_OPTIONS_H

#include <cstdint>
#include <string>
#include <vector>

namespace moe::bench {

/// A layer of gated SiLU experts behind a softmax router.
struct LayerShape {
  std::string name;
  int64_t hidden, width, experts, topK;
};

struct Options {
  enum Mode {
    Whole,
    Decode,
    Beside,
    Serve,
    Layer,
    Limits,
    Predict,
    Gpu
  } mode = Whole;
  int threads = 1;
  int rounds = 7;

  // Whole models
  std::string model, inputs, onnx, peer, python = "python3";
  std::vector<std::string> beside; // other models, in turn with the first
  int64_t steps = 0;               // of decoding
  int64_t prompt = 1;              // tokens before them
  std::vector<std::pair<std::string, std::string>> roles; // (port, role)

  // Layers
  LayerShape shape;
  std::vector<int64_t> tokens = {1, 8, 64, 512};
  std::string type = "f32";
  std::string weights;  // of a second layer, beside one of f32
  std::string work;     // folder for what is made
  std::string compiler; // moe-opt
  std::vector<std::string> compilerFlags;

  // Layers on a GPU; `shape` has no name where all known ones are wanted.
  std::string device;      // "cuda" or "emu"
  std::string driver;      // its library; empty: the machine's
  std::string arch;        // empty: that of the device
  std::string kernels;     // folder of PTX made before
  std::string makeKernels; // folder where it is made, and no more
  bool verbose = false;
};

/// False after a message when the arguments are wrong; `done` is set when help
/// was asked for and printed.
bool parseOptions(int argc, char **argv, Options &options, bool &done);

/// "qwen3-30b-a3b" or "2048x768x128x8"; false when it is neither.
bool parseShape(const std::string &text, LayerShape &shape);

} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_OPTIONS_H
