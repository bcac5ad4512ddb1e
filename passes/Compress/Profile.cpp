#include "passes/Compress/Profile.h"

using namespace llvm;
using namespace moe;

Expected<std::unique_ptr<Profile>> Profile::load(StringRef path) {
  rt::Result<rt::Profile> read = rt::readProfile(path.str());
  if (!read)
    return createStringError(read.error().message);
  auto profile = std::make_unique<Profile>();
  profile->path = path.str();
  profile->stored = std::move(*read);
  return profile;
}

std::optional<Numbers> Profile::get(StringRef layer, StringRef name) const {
  const rt::ProfileLayer *found = stored.find({layer.data(), layer.size()});
  const rt::ProfileTensor *tensor =
      found ? found->find({name.data(), name.size()}) : nullptr;
  if (!tensor || tensor->shape.size() > 2)
    return std::nullopt;
  Numbers numbers(tensor->shape.empty() ? 1 : tensor->shape[0],
                  tensor->shape.size() > 1 ? tensor->shape[1] : 1);
  auto read = [&](const auto *values) {
    for (double &number : numbers.values)
      number = static_cast<double>(*values++);
  };
  if (tensor->dtype == MOE_F32)
    read(tensor->as<float>());
  else if (tensor->dtype == MOE_F64)
    read(tensor->as<double>());
  else if (tensor->dtype == MOE_I64)
    read(tensor->as<int64_t>());
  else
    return std::nullopt;
  return numbers;
}

Error Profile::nameByRouters(ArrayRef<RouterHash> routers) {
  bool known = llvm::any_of(stored.layers, [](const rt::ProfileLayer &layer) {
    return !layer.router().empty();
  });
  if (!known)
    return createStringError(
        "profile '" + path +
        "' does not say of which routers it is, so it cannot be told whether "
        "it is of these weights; measure again, with an executable that this "
        "moe-opt makes from the ONNX model");
  std::vector<rt::ProfileLayer> layers;
  for (const RouterHash &router : routers) {
    auto found = llvm::find_if(stored.layers, [&](rt::ProfileLayer &layer) {
      return layer.router() == router.digest;
    });
    if (found == stored.layers.end())
      return createStringError("profile '" + path +
                               "' is of other weights: none of its layers has "
                               "the router of layer '" +
                               router.layer + "'");
    layers.push_back(std::move(*found));
    layers.back().name = router.layer;
    // Two layers of one router are two layers of the profile.
    stored.layers.erase(found);
  }
  stored.layers = std::move(layers);
  return Error::success();
}
