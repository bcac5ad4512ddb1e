#include "tools/moe-opt/Outputs.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace moe;

/// A module is printed where a phase is asked for, whatever the name says.
static Emit writtenKind(const Request &request, Emit kind) {
  return request.stopAfter.empty() ? kind : Emit::MLIR;
}

Error moe::checkOutputs(const Request &request, Emit kind) {
  if (!request.output.empty())
    if (Error error = checkOutput(request.output, writtenKind(request, kind)))
      return error;
  return request.report.empty() ? Error::success()
                                : checkOutput(request.report, Emit::MLIR);
}

Error moe::checkInputsStay(const Request &request, Emit kind,
                           std::vector<std::string> read) {
  kind = writtenKind(request, kind);
  std::vector<std::string> written;
  if (!request.output.empty())
    written.push_back(request.output);
  if (kind == Emit::ONNX)
    written.push_back(request.output + ".data");
  if (kind == Emit::Library) {
    SmallString<128> header(request.output);
    sys::path::replace_extension(header, "h");
    written.push_back(std::string(header));
  }
  if (!request.report.empty())
    written.push_back(request.report);

  for (const std::string &file : {request.input, request.profile, request.base})
    if (!file.empty())
      read.push_back(file);
  read.insert(read.end(), request.texts.begin(), request.texts.end());
  for (const auto *named : {&request.banks, &request.runs})
    for (StringRef entry : *named)
      read.push_back(entry.split('=').second.str());

  auto fileOf = [](StringRef path, sys::fs::file_status &status) {
    return !sys::fs::status(path, status) &&
           status.type() == sys::fs::file_type::regular_file;
  };
  for (const std::string &output : written) {
    sys::fs::file_status ours, theirs;
    if (!fileOf(output, ours))
      continue;
    for (const std::string &input : read)
      if (fileOf(input, theirs) && ours.getUniqueID() == theirs.getUniqueID())
        return createStringError("cannot write '" + output + "': it is '" +
                                 input + "', which is read");
  }
  return Error::success();
}
