#include "runtime/Runner/Licenses.h"

extern "C" {
extern const char moe_license_texts[];
extern const char moe_license_texts_end[];
}

namespace moe::rt {

std::string_view licenseTexts() {
  return {moe_license_texts,
          static_cast<size_t>(moe_license_texts_end - moe_license_texts)};
}

} // namespace moe::rt
