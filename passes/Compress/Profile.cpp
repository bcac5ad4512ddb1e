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
