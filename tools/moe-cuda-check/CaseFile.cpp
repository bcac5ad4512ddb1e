#include "tools/moe-cuda-check/CaseFile.h"

#include "runtime/Core/File.h"
#include "runtime/Core/Text.h"

#include <algorithm>
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
    std::vector<float> values(read.size() / sizeof(float));
    std::memcpy(values.data(), read.data(), values.size() * sizeof(float));
    return values;
  }

  Launch::Argument argument(const std::string &word) {
    Launch::Argument made{Launch::Argument::Number, 0, {}, 0};
    if (word[0] != '@') {
      made.value = std::strtoll(word.c_str(), nullptr, 10);
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
    line >> launch.kernel >> launch.blocks >> launch.threads >>
        launch.sharedBytes;
    std::string word;
    while (line >> word) {
      launch.arguments.push_back(argument(word));
    }
    to.launches.push_back(std::move(launch));
  }

  void comparison(const std::string &kind, std::istringstream &line) {
    Comparison made{kind == "exact"  ? Comparison::Exact
                    : kind == "near" ? Comparison::Near
                                     : Comparison::Kinds,
                    0,
                    {},
                    {},
                    {}};
    line >> made.buffer;
    made.emulated = bytes(line);
    if (made.kind == Comparison::Near) {
      made.values = floats(line);
      made.allowed = floats(line);
    }
    if (made.buffer >= to.buffers.size() ||
        made.emulated.size() != to.buffers[made.buffer].size() ||
        made.values.size() != made.allowed.size() ||
        made.values.size() * sizeof(float) > made.emulated.size())
      wrong({Code::InvalidFile, "a comparison does not fit its buffer"});
    to.comparisons.push_back(std::move(made));
  }
};
} // namespace

bool Launch::hasMap() const {
  return std::any_of(
      arguments.begin(), arguments.end(),
      [](const Argument &argument) { return argument.kind == Argument::Map; });
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
  if (!std::getline(lines, row) || row != "moe-cuda-case 1")
    return {Code::InvalidFile,
            rt::quote(path) + ": not a case of moe-cuda-check"};
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
