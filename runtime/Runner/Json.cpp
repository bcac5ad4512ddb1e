#include "runtime/Runner/Json.h"

#include <cstdio>

namespace moe::rt {

std::string jsonString(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char c = text[i];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c >= 0x20 && c < 0x7F) {
      out += static_cast<char>(c);
    } else {
      // Names are ASCII in practice; byte-wise escapes keep the file valid
      // whatever a model's author wrote.
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", c);
      out += escape;
    }
  }
  return out + "\"";
}

} // namespace moe::rt
