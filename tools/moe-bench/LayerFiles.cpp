#include "tools/moe-bench/LayerFiles.h"

#include "runtime/Core/File.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Runner/Random.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::bench;
using namespace moe;

/// Space in which the beginnings of matrices differ.
static constexpr size_t kSlack = size_t(1) << 20;

LayerWeights::LayerWeights(const LayerShape &shape, const std::string &type)
    : shape(shape), type(type), element(type == "f32" ? 4 : 2),
      routerBytes(shape.experts * shape.hidden * sizeof(float)) {
  size_t matrix = shape.hidden * shape.width * element;
  bytes.resize((routerBytes + 63) / 64 * 64 + kSlack + matrix);
  rt::Random random(1);
  auto *router = reinterpret_cast<float *>(bytes.data());
  float unit = std::sqrt(3.0f / static_cast<float>(shape.hidden));
  for (int64_t i = 0; i < shape.experts * shape.hidden; ++i)
    router[i] = unit * static_cast<float>(2 * random.unit() - 1);
  char *data = bytes.data() + (routerBytes + 63) / 64 * 64;
  for (size_t i = 0; i < (kSlack + matrix) / element; ++i) {
    float value = unit * static_cast<float>(2 * random.unit() - 1);
    uint16_t bits =
        type == "bf16" ? rt::floatToBfloat16(value) : rt::floatToHalf(value);
    if (element == 4)
      std::memcpy(data + 4 * i, &value, 4);
    else
      std::memcpy(data + 2 * i, &bits, 2);
  }
}

size_t LayerWeights::offset(int64_t expert, int which) const {
  // Any spread will do.
  size_t shift = size_t(3 * expert + which) * 20011 * 64 % kSlack;
  return (routerBytes + 63) / 64 * 64 + shift;
}

const float *LayerWeights::routerRow(int64_t expert) const {
  return reinterpret_cast<const float *>(bytes.data()) + expert * shape.hidden;
}

float LayerWeights::at(int64_t expert, int which, int64_t i) const {
  const char *data = bytes.data() + offset(expert, which) + i * element;
  if (element == 4) {
    float value;
    std::memcpy(&value, data, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data, 2);
  return type == "bf16" ? rt::bfloat16ToFloat(bits) : rt::halfToFloat(bits);
}

std::string LayerWeights::moduleText() const {
  auto n = [](auto value) { return std::to_string(value); };
  std::string hidden = n(shape.hidden), experts = n(shape.experts);
  std::string x = "tensor<?x" + hidden + "xf32>";
  std::string router = "tensor<" + experts + "x" + hidden + "xf32>";
  std::string logits = "tensor<?x" + experts + "xf32>";
  std::string k = n(shape.topK);
  std::string out = "moe.bank @router in \"layer\" at 0 length " +
                    n(routerBytes) + " : " + router + "\n";
  static const char *names[] = {"gate", "up", "down"};
  for (int64_t e = 0; e < shape.experts; ++e)
    for (int m = 0; m < 3; ++m) {
      int64_t rows = m == 2 ? shape.hidden : shape.width;
      int64_t columns = m == 2 ? shape.width : shape.hidden;
      out += std::string("moe.bank @") + names[m] + n(e) + " in \"layer\" at " +
             n(offset(e, m)) + " length " + n(rows * columns * element) +
             " : tensor<" + n(rows) + "x" + n(columns) + "x" + type + ">\n";
    }
  out += "moe.pool @experts {\n";
  for (int64_t e = 0; e < shape.experts; ++e)
    out += "  moe.expert @e" + n(e) + " glu silu gate @gate" + n(e) +
           " up @up" + n(e) + " down @down" + n(e) + "\n";
  out += "}\n"
         "func.func @main(%x: " +
         x +
         " {moe.name = \"x\"})\n"
         "    -> (" +
         x +
         " {moe.name = \"y\"}) {\n"
         "  %w = moe.weight @router : " +
         router +
         "\n"
         "  %logits = moe.router linear %x weight(%w : " +
         router + ") : " + x + " -> " + logits +
         "\n"
         "  %ids, %weights = moe.gate softmax %logits over @experts top_k " +
         k + " norm selected : " + logits +
         "\n"
         "  %y = moe.apply @experts %x ids %ids weights %weights\n"
         "      : (" +
         x + ", tensor<?x" + k + "xi32>, tensor<?x" + k + "xf32>) -> " + x +
         "\n"
         "  return %y : " +
         x +
         "\n"
         "}\n";
  return out;
}

static bool makeFolders(const std::string &path) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    if (mkdir(path.substr(0, at).c_str(), 0777) != 0 && errno != EEXIST)
      return false;
    if (at == path.npos)
      return true;
  }
}

static rt::Status write(const std::string &path, const std::string &text) {
  auto file = rt::OutputFile::create(path);
  if (!file)
    return file.error();
  (*file)->write(text);
  return (*file)->commit();
}

static int execute(const std::vector<std::string> &command) {
  std::vector<char *> arguments;
  for (const std::string &word : command)
    arguments.push_back(const_cast<char *>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = fork();
  if (child == 0) {
    execvp(arguments[0], arguments.data());
    fprintf(stderr, "moe-bench: error: cannot run '%s': %s\n", arguments[0],
            strerror(errno));
    _exit(127);
  }
  int status = 1;
  if (child > 0)
    waitpid(child, &status, 0);
  return status;
}

std::string moe::bench::makeLayer(const LayerWeights &weights,
                                  const Options &options, std::string &error) {
  std::string folder =
      options.work + "/" + options.shape.name + "-" + options.type;
  std::string library = folder + "/layer.so";
  // What the library depends on, in words.
  std::string made = options.compiler;
  struct stat file;
  if (stat(options.compiler.c_str(), &file) == 0)
    made += " " + std::to_string(file.st_size) + " " +
            std::to_string(file.st_mtim.tv_sec) + "." +
            std::to_string(file.st_mtim.tv_nsec);
  for (const std::string &flag : options.compilerFlags)
    made += " " + flag;
  made += "\n" + weights.moduleText();
  auto before = rt::readFile(folder + "/made-by");
  if (before && before->view() == made && access(library.c_str(), R_OK) == 0)
    return library;

  if (!makeFolders(folder)) {
    error = "cannot create folder '" + folder + "': " + strerror(errno);
    return "";
  }
  unlink((folder + "/made-by").c_str());
  rt::Status status = write(folder + "/layer.bin", weights.content());
  if (status.ok())
    status = write(folder + "/layer.mlir", weights.moduleText());
  if (!status.ok()) {
    error = status.message;
    return "";
  }
  std::vector<std::string> command = {
      options.compiler, folder + "/layer.mlir",          "-o", library,
      "--bank",         "layer=" + folder + "/layer.bin"};
  command.insert(command.end(), options.compilerFlags.begin(),
                 options.compilerFlags.end());
  if (execute(command) != 0) {
    error = "'" + options.compiler + "' did not compile the layer";
    return "";
  }
  status = write(folder + "/made-by", made);
  if (!status.ok()) {
    error = status.message;
    return "";
  }
  return library;
}
