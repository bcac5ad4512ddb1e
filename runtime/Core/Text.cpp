#include "runtime/Core/Text.h"

#include <cstdio>

namespace moe::rt {

size_t decodeUtf8(std::string_view text, unsigned &point) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned lead = byte(0);
  size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length)
    return 0;
  point = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80)
      return 0;
    point = point << 6 | (byte(i) & 0x3F);
  }
  static constexpr unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = point >= 0xD800 && point <= 0xDFFF;
  if (point < least[length] || point > 0x10FFFF || surrogate)
    return 0;
  return length;
}

size_t utf8Length(std::string_view text) {
  unsigned point = 0;
  size_t length = decodeUtf8(text, point);
  bool hostile = point < 0xA0 || (point >= 0x200B && point <= 0x200F) ||
                 (point >= 0x2028 && point <= 0x202E) ||
                 (point >= 0x2066 && point <= 0x2069);
  return hostile ? 0 : length;
}

std::string printable(std::string_view name) {
  constexpr size_t limit = 200;
  std::string out;
  for (size_t i = 0; i < name.size();) {
    if (name.size() > limit && i >= limit / 2 && i < name.size() - limit / 2) {
      out += "...";
      i = name.size() - limit / 2;
      continue;
    }
    unsigned char c = name[i];
    size_t length = c < 0x80 ? (c >= 0x20 && c != 0x7F ? 1 : 0)
                             : utf8Length(name.substr(i));
    if (length) {
      out += name.substr(i, length);
      i += length;
      continue;
    }
    char hex[8];
    std::snprintf(hex, sizeof(hex), "\\x%02x", c);
    out += hex;
    ++i;
  }
  return out;
}

std::string number(double value, int digits) {
  char buffer[40];
  std::snprintf(buffer, sizeof(buffer), "%.*g", digits, value);
  return buffer;
}

std::string bytesText(double bytes) {
  static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  char buffer[40];
  std::snprintf(buffer, sizeof(buffer), unit ? "%.1f %s" : "%.0f %s", bytes,
                units[unit]);
  return buffer;
}

} // namespace moe::rt
