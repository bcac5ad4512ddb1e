#include "tools/moe-opt/Runs.h"

#include "codegen/Report/ProfileFacts.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace llvm;
using namespace moe;

Expected<json::Array>
moe::readRuns(ArrayRef<std::string> files,
              std::vector<std::pair<std::string, rt::Profile>> &profiles,
              function_ref<Error(StringRef, rt::Profile &)> adapt) {
  std::vector<std::pair<std::string, json::Object>> runs;
  for (StringRef entry : files) {
    auto [name, path] = entry.split('=');
    if (path.empty())
      return createStringError("--report-run takes name=file, not '" + entry +
                               "'");
    json::Object run;
    if (path.ends_with(".moeprof")) {
      rt::Result<rt::Profile> profile = rt::readProfile(path.str());
      if (!profile)
        return createStringError(profile.error().message);
      if (Error error = adapt(path, *profile))
        return error;
      run = profileFacts(*profile);
      profiles.emplace_back(path.str(), std::move(*profile));
    } else {
      auto buffer = MemoryBuffer::getFile(path);
      if (!buffer)
        return createStringError(buffer.getError(),
                                 "cannot read '" + path +
                                     "': " + buffer.getError().message());
      Expected<json::Value> value = json::parse((*buffer)->getBuffer());
      if (!value) {
        consumeError(value.takeError());
        return createStringError("'" + path +
                                 "' is neither an expert profile (.moeprof) "
                                 "nor JSON about a run");
      }
      if (!value->getAsObject())
        return createStringError("'" + path +
                                 "' is not about a run: no JSON object");
      run = std::move(*value->getAsObject());
    }
    auto known = llvm::find_if(
        runs, [&](const auto &other) { return other.first == name; });
    if (known == runs.end())
      known = runs.insert(known, {name.str(), json::Object{{"name", name}}});
    for (auto &fact : run)
      if (fact.first != "name")
        known->second[fact.first] = std::move(fact.second);
  }
  json::Array out;
  for (auto &run : runs)
    out.push_back(std::move(run.second));
  return out;
}
