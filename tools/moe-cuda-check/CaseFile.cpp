#include "tools/moe-cuda-check/CaseFile.h"

#include "runtime/Core/File.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <cstdio>
#include <cstring>
#include <sstream>

using namespace moe;
using namespace moe::check;
using rt::Code, rt::Result, rt::Status;

Result<std::string> moe::check::readBytes(const std::string &path) {
  auto file = rt::readFile(path);
  if (!file)
    return file.error();
  return std::string(file->view());
}

namespace {
/// Reads the lines of a case.
struct Reader {
  CaseFile &to;
  Status status;

  /// The first of several is what is wrong.
  void wrong(Status why) {
    if (status.ok())
      status = std::move(why);
  }
  std::string bytes(std::istringstream &line) {
    std::string name;
    line >> name;
    auto read = readBytes(to.folder + "/" + name);
    if (read)
      return std::move(*read);
    wrong(read.error());
    return "";
  }
  std::vector<float> floats(std::istringstream &line) {
    std::string read = bytes(line);
    if (read.size() % sizeof(float))
      wrong({Code::InvalidFile, "a file of f32 numbers ends within one"});
    std::vector<float> values(read.size() / sizeof(float));
    std::memcpy(values.data(), read.data(), values.size() * sizeof(float));
    return values;
  }

  Launch::Argument argument(const std::string &word) {
    Launch::Argument made{Launch::Argument::Number, 0, {}, 0};
    if (word[0] != '@') {
      char *end = nullptr;
      made.value = std::strtoll(word.c_str(), &end, 10);
      if (*end)
        wrong({Code::InvalidFile, "an argument of a launch is " +
                                      rt::quote(word) +
                                      ": neither a number nor a buffer"});
      return made;
    }
    unsigned long long buffer = 0, matrices = 0, rows = 0, depth = 0, box = 0;
    int count = std::sscanf(word.c_str(), "@%llu:%llu:%llu:%llu:%llu", &buffer,
                            &matrices, &rows, &depth, &box);
    made.kind = count == 1 ? Launch::Argument::Buffer : Launch::Argument::Map;
    made.value = static_cast<int64_t>(buffer);
    made.stack = {matrices, rows, depth};
    made.boxRows = static_cast<uint32_t>(box);
    if (count < 1 || buffer >= to.buffers.size())
      wrong({Code::InvalidFile, "a launch names a buffer that is not there"});
    else if (made.kind == Launch::Argument::Map &&
             (count != 5 || !matrices || !rows || !depth ||
              depth > to.buffers[buffer].size() / 2 / rows / matrices))
      wrong({Code::InvalidFile, "a map does not fit its buffer"});
    return made;
  }

  void launch(std::istringstream &line) {
    Launch launch;
    if (!(line >> launch.kernel >> launch.blocks >> launch.threads >>
          launch.sharedBytes))
      wrong({Code::InvalidFile,
             "a launch has a kernel, blocks, threads and shared bytes"});
    std::string word;
    while (line >> word) {
      launch.arguments.push_back(argument(word));
    }
    to.launches.push_back(std::move(launch));
  }

  Element element(std::istringstream &line) {
    std::string word;
    line >> word;
    if (word == "bf16")
      return Element::BF16;
    if (word == "f16")
      return Element::F16;
    if (word == "i32")
      return Element::I32;
    if (word != "f32")
      wrong({Code::InvalidFile,
             "numbers are f32, bf16, f16 or i32, not " + rt::quote(word)});
    return Element::F32;
  }

  void comparison(const std::string &kind, std::istringstream &line) {
    Comparison made{kind == "exact"  ? Comparison::Exact
                    : kind == "near" ? Comparison::Near
                                     : Comparison::Kinds,
                    0,
                    Element::F32,
                    {},
                    {},
                    {}};
    if (!(line >> made.buffer) || made.buffer >= to.buffers.size())
      return wrong(
          {Code::InvalidFile, "a comparison names a buffer that is not there"});
    if (made.kind != Comparison::Exact)
      made.element = element(line);
    made.emulated = bytes(line);
    if (made.kind == Comparison::Near) {
      made.values = floats(line);
      made.allowed = floats(line);
    }
    if (made.emulated.size() != to.buffers[made.buffer].size() ||
        made.values.size() != made.allowed.size() ||
        made.values.size() > made.emulated.size() / sizeOf(made.element))
      wrong({Code::InvalidFile, "a comparison does not fit its buffer"});
    to.comparisons.push_back(std::move(made));
  }
};
} // namespace

size_t moe::check::sizeOf(Element element) {
  return rt::elementSize(static_cast<int32_t>(element));
}

double moe::check::numberAt(const std::string &bytes, Element element,
                            size_t i) {
  return rt::elementAsDouble(bytes.data(), static_cast<int32_t>(element),
                             static_cast<int64_t>(i));
}

const std::string *moe::check::ptxFor(const CaseFile &test,
                                      const std::string &arch, int major,
                                      int minor) {
  auto find = [&](const char *name) {
    auto found = test.ptx.find(name);
    return found == test.ptx.end() ? nullptr : &found->second;
  };
  if (arch == "sm_90a")
    return find("sm_90a");
  if (const std::string *any = find("sm_80"))
    return any;
  // Some have instructions that came later.
  return major * 10 + minor >= 89 ? find("sm_89") : nullptr;
}

Result<CaseFile> moe::check::readCase(const std::string &folder,
                                      const std::string &name) {
  std::string path = folder + "/" + name + ".case";
  auto text = readBytes(path);
  if (!text)
    return text.error();
  CaseFile made;
  made.name = name;
  made.folder = folder;
  Reader reader{made, {}};
  std::istringstream lines(*text);
  std::string row;
  const std::string title = "moe-cuda-case ";
  if (!std::getline(lines, row) || row.compare(0, title.size(), title) != 0)
    return {Code::InvalidFile,
            rt::quote(path) + ": not a case of moe-cuda-check"};
  if (row != title + "2")
    return {Code::InvalidFile,
            rt::quote(path) + ": version " +
                rt::quote(row.substr(title.size())) +
                " of cases; this program reads 2: record them again"};
  while (reader.status.ok() && std::getline(lines, row)) {
    std::istringstream line(row);
    std::string word;
    line >> word;
    if (word == "ptx") {
      std::string arch;
      line >> arch >> made.ptx[arch];
    } else if (word == "buffer") {
      size_t size = 0;
      line >> size;
      made.buffers.push_back(reader.bytes(line));
      if (made.buffers.back().size() != size)
        reader.wrong({Code::InvalidFile, "a buffer has another size"});
    } else if (word == "launch") {
      reader.launch(line);
    } else if (word == "exact" || word == "near" || word == "kinds") {
      reader.comparison(word, line);
    } else {
      reader.wrong({Code::InvalidFile, "unknown line " + rt::quote(word)});
    }
  }
  if (!reader.status.ok())
    return {reader.status.code, rt::quote(path) + ": " + reader.status.message};
  return made;
}
