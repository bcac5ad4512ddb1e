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

const LayerWeights::Quant *LayerWeights::quantOf(const std::string &type) {
  static const Quant known[] = {{"int4", 4, 32, "ui8", "f32", ""},
                                {"int8", 8, 32, "i8", "f32", ""},
                                {"mxfp4", 4, 32, "ui8", "f8E8M0FNU", "fp4"},
                                {"nf4", 4, 64, "ui8", "f32", "nf4"}};
  for (const Quant &quant : known)
    if (type == quant.name)
      return &quant;
  return nullptr;
}

LayerWeights::LayerWeights(const LayerShape &shape, const std::string &type)
    : shape(shape), type(type), quant(quantOf(type)),
      bits(quant           ? quant->bits
           : type == "f32" ? 32
                           : 16),
      routerBytes(shape.experts * shape.hidden * sizeof(float)) {
  size_t matrix = shape.hidden * shape.width * bits / 8;
  size_t scales = quant ? shape.hidden * shape.width / quant->block : 0;
  size_t start = (routerBytes + 63) / 64 * 64;
  scalesStart = (start + kSlack + matrix + 63) / 64 * 64;
  bytes.resize(quant ? scalesStart + kSlack + scales * scaleBytes()
                     : start + kSlack + matrix);
  rt::Random random(1);
  auto *router = reinterpret_cast<float *>(bytes.data());
  float unit = std::sqrt(3.0f / static_cast<float>(shape.hidden));
  for (int64_t i = 0; i < shape.experts * shape.hidden; ++i)
    router[i] = unit * static_cast<float>(2 * random.unit() - 1);
  char *data = bytes.data() + start;
  if (quant) {
    for (size_t i = 0; i < kSlack + matrix; ++i)
      data[i] = static_cast<char>(random.below(256));
    // The largest value of a code times its scale is about `unit`.
    float largest = quant->bits == 8        ? 127
                    : quant->code[0] == 'f' ? 6
                    : quant->code[0] == 'n' ? 1
                                            : 8;
    for (size_t i = 0; i < kSlack / scaleBytes() + scales; ++i) {
      float scale = unit / largest * static_cast<float>(1 + random.unit());
      char *to = bytes.data() + scalesStart + i * scaleBytes();
      int exponent = 127 + static_cast<int>(std::floor(std::log2(scale)));
      if (scaleBytes() == 4)
        std::memcpy(to, &scale, 4);
      else
        *to = static_cast<char>(exponent);
    }
    return;
  }
  size_t element = bits / 8;
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

/// Where a matrix lies in its region. Any spread will do.
static size_t shiftOf(int64_t expert, int which) {
  return size_t(3 * expert + which) * 20011 * 64 % kSlack;
}

size_t LayerWeights::offset(int64_t expert, int which) const {
  return (routerBytes + 63) / 64 * 64 + shiftOf(expert, which);
}

size_t LayerWeights::scaleOffset(int64_t expert, int which) const {
  return scalesStart + shiftOf(expert, which);
}

size_t LayerWeights::scaleBytes() const {
  return std::strcmp(quant->scales, "f32") == 0 ? 4 : 1;
}

double LayerWeights::expertBytes() const {
  double values = 3.0 * static_cast<double>(shape.hidden * shape.width);
  double perValue = static_cast<double>(bits) / 8;
  if (quant)
    perValue += static_cast<double>(scaleBytes()) / quant->block;
  return values * perValue;
}

const float *LayerWeights::routerRow(int64_t expert) const {
  return reinterpret_cast<const float *>(bytes.data()) + expert * shape.hidden;
}

float LayerWeights::at(int64_t expert, int which, int64_t i) const {
  const char *data = bytes.data() + offset(expert, which);
  if (quant)
    return quantised(data, expert, which, i);
  data += i * bits / 8;
  if (bits == 32) {
    float value;
    std::memcpy(&value, data, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, data, 2);
  return type == "bf16" ? rt::bfloat16ToFloat(half) : rt::halfToFloat(half);
}

float LayerWeights::quantised(const char *data, int64_t expert, int which,
                              int64_t i) const {
  const char *place = bytes.data() + scaleOffset(expert, which) +
                      i / quant->block * scaleBytes();
  float scale;
  if (scaleBytes() == 4)
    std::memcpy(&scale, place, 4);
  else
    scale = std::ldexp(1.0f, static_cast<unsigned char>(*place) - 127);
  if (bits == 8)
    return scale * static_cast<signed char>(data[i]);
  int code = static_cast<unsigned char>(data[i / 2]) >> (i % 2 * 4) & 15;
  static const float fp4[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  static const float nf4[] = {
      -1.0f,        -0.69619280f, -0.52507305f,  -0.39491749f,
      -0.28444138f, -0.18477343f, -0.091050036f, 0.0f,
      0.079580300f, 0.16093020f,  0.24611230f,   0.33791524f,
      0.44070983f,  0.56261700f,  0.72295684f,   1.0f};
  if (quant->code[0] == 'f')
    return scale * (code & 8 ? -fp4[code & 7] : fp4[code & 7]);
  return scale *
         (quant->code[0] == 'n' ? nf4[code] : static_cast<float>(code - 8));
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
      std::string begin = std::string("moe.bank @") + names[m] + n(e);
      int64_t perElement = quant ? 8 / bits : 1;
      out += begin + " in \"layer\" at " + n(offset(e, m)) + " length " +
             n(rows * columns * bits / 8) + " : tensor<" + n(rows) + "x" +
             n(columns / perElement) + "x" + (quant ? quant->element : type) +
             ">\n";
      if (quant)
        out += begin + "_s in \"layer\" at " + n(scaleOffset(e, m)) +
               " length " + n(rows * (columns / quant->block) * scaleBytes()) +
               " : tensor<" + n(rows) + "x" + n(columns / quant->block) + "x" +
               quant->scales + ">\n";
    }
  auto slice = [&](const char *name, int64_t e) {
    std::string bank = std::string("@") + name + n(e);
    if (!quant)
      return std::string(" ") + name + " " + bank;
    std::string code = *quant->code
                           ? std::string(", code = \"") + quant->code + "\""
                           : std::string();
    return std::string(" ") + name + " " + bank + " quant<bits = " + n(bits) +
           ", block = " + n(quant->block) + ", scales = <" + bank + "_s>" +
           code + ">";
  };
  out += "moe.pool @experts {\n";
  for (int64_t e = 0; e < shape.experts; ++e)
    out += "  moe.expert @e" + n(e) + " glu silu" + slice("gate", e) +
           slice("up", e) + slice("down", e) + "\n";
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
                                  const Options &options, std::string &error,
                                  const std::string &name) {
  std::string folder =
      options.work + "/" + options.shape.name + "-" + weights.typeName();
  std::string library = folder + "/" + name;
  std::string madeBy =
      folder + "/made-by" + (name == "layer.so" ? "" : "-" + name);
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
  auto before = rt::readFile(madeBy);
  if (before && before->view() == made && access(library.c_str(), R_OK) == 0)
    return library;

  if (!makeFolders(folder)) {
    error = "cannot create folder '" + folder + "': " + strerror(errno);
    return "";
  }
  unlink(madeBy.c_str());
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
  status = write(madeBy, made);
  if (!status.ok()) {
    error = status.message;
    return "";
  }
  return library;
}
