#include "runtime/Bank/Profile.h"

#include "runtime/Bank/Safetensors.h"
#include "runtime/Core/File.h"
#include "runtime/Core/Json.h"
#include "runtime/Core/Sample.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

namespace moe::rt {
namespace {

/// Which numbers of a measure cannot be below zero: counts and sums of squares,
/// the diagonal of a matrix of products, the number behind a sum.
enum class NotBelowZero { None, All, Diagonal, Last };

/// The format: what there may be, and of which shape. E experts, H features, N
/// sampled rows, R bins, S bytes of a hash.
struct Measure {
  std::string_view name;
  std::string_view dtype;
  std::string_view shape;
  NotBelowZero notBelowZero = NotBelowZero::None;
};

constexpr Measure measures[] = {
    {"counts", "I64", "E", NotBelowZero::All},
    {"tokens", "I64", "1", NotBelowZero::All},
    {"score_sum", "F64", "E"},
    {"weight_sum", "F64", "E"},
    {"ratio_histogram", "I64", "R", NotBelowZero::All},
    {"logit_sum", "F64", "E"},
    {"logit_gram", "F64", "EE", NotBelowZero::Diagonal},
    {"coactivation", "I64", "EE", NotBelowZero::All},
    {"input_square_sum", "F64", "EH", NotBelowZero::All},
    {"input_gram", "F64", "HH", NotBelowZero::Diagonal},
    {"sublayer_cosine", "F64", "2", NotBelowZero::Last},
    {"block_cosine", "F64", "2", NotBelowZero::Last},
    {"output_norm_sum", "F64", "1", NotBelowZero::All},
    {"output_square_sum", "F64", "1", NotBelowZero::All},
    {"sample", "F32", "NH"},
    {"sample_keys", "U64", "N"},
    {"router", "U8", "S"}};
constexpr std::string_view sampleName = "sample", keysName = "sample_keys",
                           routerName = "router";

const Measure *findMeasure(std::string_view name) {
  for (const Measure &measure : measures)
    if (measure.name == name)
      return &measure;
  return nullptr;
}

std::string shapeOf(const ProfileTensor &tensor) {
  return shapeText(tensor.shape.data(),
                   static_cast<int32_t>(tensor.shape.size()));
}

/// What is wrong with a number of a tensor, or nothing: sums that are no
/// numbers, or impossible, would decide about experts all the same.
std::string checkNumbers(const ProfileTensor &tensor, const Measure &measure) {
  if (tensor.dtype == MOE_U64 || tensor.dtype == MOE_U8)
    return {};
  int64_t count = 1, columns = tensor.shape.back();
  for (int64_t size : tensor.shape)
    count *= size;
  auto mayBeNegative = [&](int64_t i) {
    switch (measure.notBelowZero) {
    case NotBelowZero::None:
      return true;
    case NotBelowZero::All:
      return false;
    case NotBelowZero::Diagonal:
      return i / columns != i % columns;
    case NotBelowZero::Last:
      return i + 1 != count;
    }
    return true;
  };
  for (int64_t i = 0; i < count; ++i) {
    double value = elementAsDouble(tensor.bytes.data(), tensor.dtype, i);
    if (!std::isfinite(value))
      return text("is not finite at ", i);
    if (value < 0 && !mayBeNegative(i))
      return text("is negative at ", i);
  }
  return {};
}

/// Checks one layer; `sizes` are those of the letters, as far as known.
Status checkLayer(ProfileLayer &layer, const std::string &what) {
  auto bad = [&](const ProfileTensor &tensor, const std::string &why) {
    return Status(Code::InvalidFile,
                  text(quote(what), ": '", printable(tensor.name),
                       "' of layer ", quote(layer.name), " ", why));
  };
  std::sort(layer.tensors.begin(), layer.tensors.end(),
            [](const ProfileTensor &a, const ProfileTensor &b) {
              return findMeasure(a.name) < findMeasure(b.name);
            });
  std::map<char, int64_t> sizes = {{'1', 1}, {'2', 2}, {'R', 1025}, {'S', 32}};
  for (const ProfileTensor &tensor : layer.tensors) {
    const Measure *measure = findMeasure(tensor.name);
    if (!measure)
      return bad(tensor, "is nothing that an expert profile holds");
    if (tensor.dtype != safetensorsType(measure->dtype))
      return bad(tensor, text("is of type ", dtypeName(tensor.dtype), ", not ",
                              dtypeName(safetensorsType(measure->dtype))));
    bool fits = tensor.shape.size() == measure->shape.size();
    for (size_t d = 0; fits && d < tensor.shape.size(); ++d)
      fits = sizes.emplace(measure->shape[d], tensor.shape[d]).first->second ==
             tensor.shape[d];
    if (!fits)
      return bad(tensor, text("has the shape ", shapeOf(tensor),
                              ", which does not fit the others"));
    if (std::string why = checkNumbers(tensor, *measure); !why.empty())
      return bad(tensor, why);
  }
  for (size_t i = 1; i < layer.tensors.size(); ++i)
    if (layer.tensors[i].name == layer.tensors[i - 1].name)
      return bad(layer.tensors[i], "is there twice");
  const ProfileTensor *rows = layer.find(sampleName),
                      *keys = layer.find(keysName);
  if (!layer.find("counts"))
    return {Code::InvalidFile,
            text(quote(what), ": layer ", quote(layer.name), " has no counts")};
  if (!rows != !keys)
    return bad(rows ? *rows : *keys, "is there without its other half");
  if (!keys)
    return {};
  const uint64_t *key = keys->as<uint64_t>();
  int64_t n = keys->size<uint64_t>();
  if (n > static_cast<int64_t>(Sample::most))
    return bad(*keys, text("has ", n, " rows, more than ", Sample::most));
  for (int64_t i = 1; i < n; ++i)
    if (key[i - 1] >= key[i])
      return bad(*keys, "does not ascend");
  return {};
}

template <typename T>
void addNumbers(std::string &into, const std::string &from) {
  T *sums = reinterpret_cast<T *>(into.data());
  const T *more = reinterpret_cast<const T *>(from.data());
  for (size_t i = 0; i < into.size() / sizeof(T); ++i)
    sums[i] += more[i];
}

/// The rows of the smallest keys of both.
void mergeSamples(ProfileTensor &rows, ProfileTensor &keys,
                  const ProfileTensor &moreRows,
                  const ProfileTensor &moreKeys) {
  size_t width = rows.shape[1] * sizeof(float);
  std::string outRows, outKeys;
  size_t n = keys.size<uint64_t>(), m = moreKeys.size<uint64_t>();
  const uint64_t *a = keys.as<uint64_t>(), *b = moreKeys.as<uint64_t>();
  int64_t taken = 0;
  for (size_t i = 0, j = 0;
       (i < n || j < m) && taken < static_cast<int64_t>(Sample::most);
       ++taken) {
    bool first = j == m || (i < n && a[i] <= b[j]);
    bool both = i < n && j < m && a[i] == b[j];
    const std::string &from = first ? rows.bytes : moreRows.bytes;
    outRows.append(from, (first ? i : j) * width, width);
    uint64_t key = first ? a[i] : b[j];
    outKeys.append(reinterpret_cast<const char *>(&key), sizeof(key));
    i += first || both;
    j += !first || both;
  }
  rows.bytes = std::move(outRows);
  keys.bytes = std::move(outKeys);
  rows.shape[0] = keys.shape[0] = taken;
}

/// What is measured of `a` and not of `b`, or null. Older files do not say of
/// which router they are.
const ProfileTensor *onlyIn(const ProfileLayer &a, const ProfileLayer &b) {
  for (const ProfileTensor &tensor : a.tensors)
    if (!b.find(tensor.name) && tensor.name != routerName)
      return &tensor;
  return nullptr;
}

std::string modelText(const std::string &model,
                      const std::string &fingerprint) {
  return text(quote(model), " (",
              fingerprint.empty() ? "without a fingerprint"
                                  : printable(fingerprint.substr(0, 12)),
              ")");
}

/// The version of a file, or why it is no profile.
Status checkFormat(const Safetensors &file, const std::string &what) {
  auto entry = [&](const char *key) {
    auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  if (entry("format") != "moe-profile")
    return {Code::InvalidFile,
            quote(what) + ": not an expert profile, but other tensors"};
  std::string version = entry("version");
  if (version.substr(0, 2) != "2.")
    return {Code::Unsupported,
            text(quote(what), ": a profile of version '", printable(version),
                 "', but 2 is read here")};
  if (version != "2.0" && version != "2.1")
    return {Code::Unsupported,
            text(quote(what), ": a profile of version '", printable(version),
                 "', newer than 2.1, which this program knows")};
  for (const char *key : {"model", "fingerprint", "seed", "layers"})
    if (!file.metadata.count(key))
      return {Code::InvalidFile,
              text(quote(what), ": a profile without '", key, "'")};
  return {};
}

} // namespace

const ProfileTensor *ProfileLayer::find(std::string_view measure) const {
  for (const ProfileTensor &tensor : tensors)
    if (tensor.name == measure)
      return &tensor;
  return nullptr;
}

std::string ProfileLayer::router() const {
  const ProfileTensor *hash = find(routerName);
  return hash ? hash->bytes : "";
}

int64_t ProfileLayer::experts() const {
  const ProfileTensor *counts = find("counts");
  return counts ? counts->shape[0] : 0;
}

int64_t ProfileLayer::width() const {
  const ProfileTensor *rows = find(sampleName);
  return rows ? rows->shape[1] : 0;
}

std::vector<double> ProfileLayer::numbers(std::string_view measure) const {
  const ProfileTensor *tensor = find(measure);
  std::vector<double> values;
  if (tensor)
    for (int64_t i = 0; i < tensor->size<int64_t>(); ++i)
      values.push_back(elementAsDouble(tensor->bytes.data(), tensor->dtype, i));
  return values;
}

std::optional<double> ProfileLayer::medianRatio() const {
  std::vector<double> bins = numbers("ratio_histogram");
  double all = std::accumulate(bins.begin(), bins.end(), 0.0), below = 0;
  for (size_t i = 0; i < bins.size() && all > 0; ++i) {
    below += bins[i];
    // The middle of a bin; the last holds ones.
    if (2 * below >= all)
      return i == 1024 ? 1 : (static_cast<double>(i) + 0.5) / 1024;
  }
  return std::nullopt;
}

const ProfileLayer *Profile::find(std::string_view layer) const {
  for (const ProfileLayer &candidate : layers)
    if (candidate.name == layer)
      return &candidate;
  return nullptr;
}

Status checkProfile(Profile &profile, const std::string &what) {
  for (ProfileLayer &layer : profile.layers)
    if (Status status = checkLayer(layer, what); !status.ok())
      return status;
  for (size_t i = 0; i < profile.layers.size(); ++i)
    if (profile.find(profile.layers[i].name) != &profile.layers[i])
      return {Code::InvalidFile, text(quote(what), ": has two layers ",
                                      quote(profile.layers[i].name))};
  return {};
}

Result<Profile> parseProfile(std::string_view bytes, const std::string &what) {
  auto bad = [&](const std::string &why) {
    return Status(Code::InvalidFile, quote(what) + ": " + why);
  };
  if (bytes.empty())
    return bad("an empty file, not an expert profile");
  if (bytes[0] == '{')
    return bad("not an expert profile of version 2; JSON profiles of version 1 "
               "are not read any more");
  Result<Safetensors> file = parseSafetensors(bytes, what);
  if (!file)
    return file.error();
  Status status = checkFormat(*file, what);
  if (!status.ok())
    return status;
  Profile profile;
  profile.model = file->metadata["model"];
  profile.fingerprint = file->metadata["fingerprint"];
  Json seed;
  seed.kind = Json::Kind::Number;
  seed.text = file->metadata["seed"];
  std::optional<uint64_t> number = seed.asUnsigned();
  if (!number || seed.text.empty())
    return bad("its seed " + quote(seed.text) + " is no whole number >= 0");
  profile.seed = *number;
  std::optional<Json> names = parseJson(file->metadata["layers"]);
  if (!names || !names->isArray())
    return bad("its list of layers is no JSON array");
  for (const Json &name : names->items) {
    if (!name.isString())
      return bad("its list of layers holds something that is no name");
    profile.layers.push_back({name.text, {}});
  }
  for (const ArchiveTensor &tensor : file->tensors) {
    // layers.<index>.<measure>
    std::string_view name = tensor.name;
    constexpr std::string_view prefix = "layers.";
    size_t dot = name.find('.', prefix.size());
    Json index;
    index.kind = Json::Kind::Number;
    if (name.substr(0, prefix.size()) == prefix && dot != name.npos)
      index.text = name.substr(prefix.size(), dot - prefix.size());
    std::optional<uint64_t> layer = index.asUnsigned();
    // Zeros before it would give one layer several names.
    bool padded = index.text.size() > 1 && index.text[0] == '0';
    if (index.text.empty() || padded || !layer ||
        *layer >= profile.layers.size())
      return bad("tensor " + quote(name) + " belongs to no layer");
    profile.layers[*layer].tensors.push_back(
        {std::string(name.substr(dot + 1)), safetensorsType(tensor.dtype),
         tensor.shape, std::string(bytes.substr(tensor.offset, tensor.size)),
         tensor.offset});
  }
  status = checkProfile(profile, what);
  if (!status.ok())
    return status;
  return profile;
}

Result<Profile> readProfile(const std::string &path) {
  Result<Buffer> bytes = readFile(path);
  if (!bytes)
    return bytes.error();
  return parseProfile(bytes->view(), path);
}

Status checkModel(const Profile &profile, const std::string &what,
                  const std::string &model, const std::string &fingerprint) {
  bool same = profile.fingerprint == fingerprint &&
              (!fingerprint.empty() || profile.model == model);
  if (same)
    return {};
  return {Code::InvalidArgument,
          text("profile ", quote(what), " is of another model, ",
               modelText(profile.model, profile.fingerprint), ", not of ",
               modelText(model, fingerprint))};
}

Status addProfile(Profile &into, const Profile &from, const std::string &what) {
  Status status = checkModel(from, what, into.model, into.fingerprint);
  if (!status.ok())
    return status;
  if (into.seed != from.seed)
    return {Code::InvalidArgument,
            text("profile ", quote(what), " samples with seed ", from.seed,
                 ", not with ", into.seed, ": their samples cannot be merged")};
  for (const ProfileLayer &more : from.layers) {
    const ProfileLayer *layer = into.find(more.name);
    if (!layer)
      continue;
    const ProfileTensor *here = onlyIn(*layer, more),
                        *there = onlyIn(more, *layer);
    if (here || there)
      return {Code::InvalidArgument,
              text("profile ", quote(what), here ? " lacks " : " has ",
                   quote((here ? here : there)->name), " of layer ",
                   quote(more.name), here ? ", which" : ", which",
                   here ? " was measured here" : " was not measured here",
                   ": models compiled with another --instrument cannot share a "
                   "profile")};
    for (const ProfileTensor &tensor : more.tensors) {
      if (tensor.name == routerName) {
        const ProfileTensor *other = layer->find(routerName);
        if (other && other->bytes != tensor.bytes)
          return {Code::InvalidArgument,
                  text("profile ", quote(what), " is of another router of ",
                       "layer ", quote(more.name),
                       ": what two routers chose cannot be added up")};
        continue;
      }
      const ProfileTensor &mine = *layer->find(tensor.name);
      bool sample = tensor.name == sampleName || tensor.name == keysName;
      size_t first = sample ? 1 : 0; // their rows may differ
      if (!std::equal(mine.shape.begin() + first, mine.shape.end(),
                      tensor.shape.begin() + first, tensor.shape.end()))
        return {Code::InvalidArgument,
                text("profile ", quote(what), " has ", quote(tensor.name),
                     " of shape ", shapeOf(tensor), " for layer ",
                     quote(more.name), ", not ", shapeOf(mine))};
    }
  }
  for (const ProfileLayer &more : from.layers) {
    auto *layer = const_cast<ProfileLayer *>(into.find(more.name));
    if (!layer) {
      into.layers.push_back(more);
      continue;
    }
    auto mine = [&](std::string_view name) {
      return const_cast<ProfileTensor *>(layer->find(name));
    };
    for (const ProfileTensor &tensor : more.tensors) {
      if (tensor.name == routerName && !layer->find(routerName))
        layer->tensors.push_back(tensor);
      else if (tensor.name == sampleName)
        mergeSamples(*mine(sampleName), *mine(keysName), tensor,
                     *more.find(keysName));
      else if (tensor.dtype == MOE_F64)
        addNumbers<double>(mine(tensor.name)->bytes, tensor.bytes);
      else if (tensor.dtype == MOE_I64)
        addNumbers<uint64_t>(mine(tensor.name)->bytes, tensor.bytes);
    }
  }
  return {};
}

Status writeProfile(const Profile &profile, const std::string &path) {
  std::string names = "[";
  std::vector<ArchiveTensor> tensors;
  for (size_t i = 0; i < profile.layers.size(); ++i) {
    names += (i ? ", " : "") + jsonString(profile.layers[i].name);
    for (const ProfileTensor &tensor : profile.layers[i].tensors)
      tensors.push_back({text("layers.", i, ".", tensor.name),
                         std::string(findMeasure(tensor.name)->dtype),
                         tensor.shape, 0, tensor.bytes.size()});
  }
  std::string header =
      safetensorsHeader({{"format", "moe-profile"},
                         {"version", "2.1"},
                         {"model", profile.model},
                         {"fingerprint", profile.fingerprint},
                         {"seed", std::to_string(profile.seed)},
                         {"layers", names + "]"}},
                        tensors);
  auto file = OutputFile::create(path);
  if (!file)
    return file.error();
  (*file)->write(header);
  for (const ProfileLayer &layer : profile.layers)
    for (const ProfileTensor &tensor : layer.tensors)
      (*file)->write(tensor.bytes);
  return (*file)->commit();
}

} // namespace moe::rt
