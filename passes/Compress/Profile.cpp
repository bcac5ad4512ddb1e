#include "passes/Compress/Profile.h"

#include "runtime/Bank/Safetensors.h"
#include "llvm/Support/JSON.h"
#include <cstring>

using namespace llvm;
using namespace moe;

static constexpr StringLiteral kFormat = "moe-profile";
static constexpr int kMajor = 2;

Expected<std::unique_ptr<Profile>> Profile::load(StringRef path) {
  auto fail = [&](const Twine &why) {
    return createStringError("'" + path + "' is no profile: " + why);
  };
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer)
    return createStringError(buffer.getError(),
                             "cannot read '" + path +
                                 "': " + buffer.getError().message());
  auto profile = std::make_unique<Profile>();
  profile->path = path.str();
  profile->bytes = std::move(*buffer);
  StringRef all = profile->bytes->getBuffer();
  if (all.empty())
    return fail("the file is empty");
  auto parsed =
      rt::parseSafetensors({all.data(), all.size()}, "'" + path.str() + "'");
  if (!parsed)
    return createStringError(parsed.error().message);
  auto &metadata = parsed->metadata;
  if (metadata["format"] != kFormat)
    return fail("its format is '" + metadata["format"] + "', not '" + kFormat +
                "'");
  int major = 0;
  StringRef version = metadata["version"];
  if (version.split('.').first.getAsInteger(10, major) || major != kMajor)
    return fail("its version is '" + version + "', this compiler reads " +
                Twine(kMajor) + ".x");
  profile->fingerprint = metadata["fingerprint"];
  auto names = json::parse(metadata["layers"]);
  if (!names)
    return fail("its list of layers: " + toString(names.takeError()));
  auto *list = names->getAsArray();
  for (size_t i = 0; list && i < list->size(); ++i)
    if (auto name = (*list)[i].getAsString())
      profile->layers[*name] = static_cast<int64_t>(i);
  if (profile->layers.empty())
    return fail("it has no layer");
  for (auto &tensor : parsed->tensors)
    profile->tensors[tensor.name] = {tensor.dtype,
                                     {tensor.shape.begin(), tensor.shape.end()},
                                     tensor.offset};
  return profile;
}

std::optional<Numbers> Profile::get(StringRef layer, StringRef name) const {
  auto number = layers.find(layer);
  if (number == layers.end())
    return std::nullopt;
  auto found =
      tensors.find(("layers." + Twine(number->second) + "." + name).str());
  if (found == tensors.end() || found->second.shape.size() > 2)
    return std::nullopt;
  const Tensor &tensor = found->second;
  Numbers numbers(tensor.shape.empty() ? 1 : tensor.shape[0],
                  tensor.shape.size() > 1 ? tensor.shape[1] : 1);
  const char *from = bytes->getBufferStart() + tensor.offset;
  auto read = [&](auto zero) {
    for (size_t i = 0; i < numbers.values.size(); ++i) {
      memcpy(&zero, from + i * sizeof(zero), sizeof(zero));
      numbers.values[i] = static_cast<double>(zero);
    }
  };
  if (tensor.dtype == "F32")
    read(float());
  else if (tensor.dtype == "F64")
    read(double());
  else if (tensor.dtype == "I64")
    read(int64_t());
  else
    return std::nullopt;
  return numbers;
}
