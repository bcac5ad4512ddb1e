// --profile and --trace: what the session recorded, written to files.
#include "runtime/Bank/Profile.h"
#include "runtime/Core/Json.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/Program.h"

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>

namespace moe::rt {
namespace {

/// The string under `key` in a manifest, whose values of interest need no
/// decoding; empty where there is none. Inside a JSON string a quote is
/// escaped, so the quoted key is the key.
std::string manifestText(const char *manifest, const std::string &key) {
  std::string quoted = "\"" + key + "\":\"";
  const char *at = std::strstr(manifest, quoted.c_str());
  if (!at)
    return {};
  at += quoted.size();
  return std::string(at, std::strcspn(at, "\""));
}

/// The bytes of a hash in hexadecimal; empty where it is none.
std::string hashBytes(const std::string &hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    char *end = nullptr;
    std::string digits = hex.substr(i, 2);
    bytes += static_cast<char>(std::strtoul(digits.c_str(), &end, 16));
    if (*end)
      return {};
  }
  return bytes.size() == 32 ? bytes : "";
}

/// A name that a file can hold and give back.
std::string storable(const char *name) {
  std::optional<Json> json = parseJson(jsonString(name));
  return json ? json->text : "";
}

/// What the session measured.
Profile measured(const Program &program) {
  Profile profile;
  profile.model = storable(program.api->name());
  profile.fingerprint = manifestText(program.api->manifest(), "fingerprint");
  profile.seed = program.options.profileSeed;
  uint64_t count = 0;
  const moe_layer_measure *measures =
      program.api->measures(program.session, &count);
  for (uint64_t i = 0; i < count; ++i) {
    const moe_tensor &value = measures[i].value;
    std::string layer = storable(measures[i].layer);
    if (profile.layers.empty() || profile.layers.back().name != layer)
      profile.layers.push_back({layer, {}});
    profile.layers.back().tensors.push_back(
        {measures[i].name,
         value.dtype,
         {value.shape, value.shape + value.rank},
         std::string(static_cast<const char *>(value.data),
                     static_cast<size_t>(*byteSize(value)))});
  }
  // Of which weights that is, where other files hold them under other names.
  std::optional<Json> manifest = parseJson(program.api->manifest());
  const Json *routers = manifest ? manifest->find("routers") : nullptr;
  for (ProfileLayer &layer : profile.layers) {
    const Json *hex = routers ? routers->find(layer.name) : nullptr;
    std::string hash = hex ? hashBytes(hex->text) : "";
    if (!hash.empty())
      layer.tensors.push_back({"router", MOE_U8, {32}, hash});
  }
  return profile;
}

/// Is there a file to add to? Terminals and pipes are only written to.
bool addsTo(const std::string &path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

Status writeProfileOf(Program &program) {
  const std::string &path = program.options.profile;
  Profile profile = measured(program);
  Status status = checkProfile(profile, "the profile of this run");
  if (!status.ok())
    return status;
  if (!addsTo(path))
    return writeProfile(profile, path);
  Result<Profile> before = readProfile(path);
  if (!before)
    return before.error();
  Status fits = checkModel(*before, path, profile.model, profile.fingerprint);
  if (!fits.ok())
    return fits;
  // In the order of time, so that two runs into one file are one merge.
  status = addProfile(*before, profile, path);
  return status.ok() ? writeProfile(*before, path) : status;
}

/// Chrome's trace event format: complete events, times in microseconds.
Status writeTrace(Program &program) {
  uint64_t count = 0;
  const moe_phase *phases = program.api->phases(program.session, &count);
  auto file = OutputFile::create(program.options.trace);
  if (!file)
    return file.error();
  (*file)->write("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [");
  std::string chunk;
  for (uint64_t i = 0; i < count; ++i) {
    const moe_phase &phase = phases[i];
    char times[96];
    std::snprintf(times, sizeof(times), "\"ts\": %.3f, \"dur\": %.3f",
                  static_cast<double>(phase.begin_ns) / 1e3,
                  static_cast<double>(phase.end_ns - phase.begin_ns) / 1e3);
    chunk += (i ? ",\n" : "\n") + ("{\"name\": " + jsonString(phase.name)) +
             ", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, " + times +
             text(", \"args\": {\"run\": ", phase.run, "}}");
    if (chunk.size() > 1 << 16) {
      (*file)->write(chunk);
      chunk.clear();
    }
  }
  (*file)->write(chunk);
  (*file)->write("\n]}\n");
  return (*file)->commit();
}

} // namespace

Status checkRecords(const Program &program) {
  const std::string &path = program.options.profile;
  if (path.empty())
    return {};
  if (program.api->size <= offsetof(moe_api, measures))
    return {Code::Unsupported,
            "--profile: the model was compiled by an older moe-opt; compile it "
            "again"};
  if (!addsTo(path))
    return {};
  Result<Profile> before = readProfile(path);
  if (!before)
    return before.error();
  Status status =
      checkModel(*before, path, program.api->name(),
                 manifestText(program.api->manifest(), "fingerprint"));
  if (status.ok() && before->seed != program.options.profileSeed)
    return {Code::InvalidArgument,
            text("--profile: ", quote(path), " samples with seed ",
                 before->seed, ", not with ", program.options.profileSeed,
                 " (--profile-seed)")};
  return status;
}

Status writeRecords(Program &program) {
  if (!program.options.profile.empty()) {
    Status status = writeProfileOf(program);
    if (!status.ok())
      return status;
  }
  return program.options.trace.empty() ? Status() : writeTrace(program);
}

} // namespace moe::rt
