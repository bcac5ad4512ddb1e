#include "runtime/Core/Json.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstdio>

namespace moe::rt {

std::string jsonString(std::string_view text) {
  std::string out = "\"";
  auto escape = [&](unsigned unit) {
    char text[8];
    std::snprintf(text, sizeof(text), "\\u%04x", unit & 0xFFFF);
    out += text;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char c = text[i];
    size_t length = c >= 0x80 ? utf8Length(text.substr(i)) : 0;
    unsigned point = c;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (length) {
      out += text.substr(i, length);
      i += length - 1;
    } else if (c >= 0x20 && c < 0x7F) {
      out += static_cast<char>(c);
    } else {
      // Bytes that are no UTF-8 keep the file valid too: one by one.
      size_t whole = c >= 0x80 ? decodeUtf8(text.substr(i), point) : 0;
      point = whole ? point : c;
      i += whole ? whole - 1 : 0;
      if (point > 0xFFFF)
        escape(0xD7C0 + (point >> 10)); // the first half of a pair
      escape(point > 0xFFFF ? 0xDC00 | (point & 0x3FF) : point);
    }
  }
  return out + "\"";
}

const Json *Json::find(std::string_view name) const {
  for (const auto &[key, value] : members)
    if (key == name)
      return &value;
  return nullptr;
}

std::optional<uint64_t> Json::asUnsigned() const {
  if (kind != Kind::Number)
    return std::nullopt;
  uint64_t value = 0;
  for (char c : text)
    if (c < '0' || c > '9' || __builtin_mul_overflow(value, 10u, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(c - '0'), &value))
      return std::nullopt;
  return value;
}

bool Json::hasDuplicates() const {
  std::vector<std::string_view> names;
  for (const auto &member : members)
    names.push_back(member.first);
  std::sort(names.begin(), names.end());
  return std::adjacent_find(names.begin(), names.end()) != names.end() ||
         std::any_of(items.begin(), items.end(),
                     [](const Json &item) { return item.hasDuplicates(); }) ||
         std::any_of(members.begin(), members.end(), [](const auto &member) {
           return member.second.hasDuplicates();
         });
}

namespace {

class Parser {
public:
  explicit Parser(std::string_view text) : rest(text) {}

  bool tooMany = false; // values

  bool value(Json &out, int depth) {
    space();
    if (depth > 64 || rest.empty())
      return false;
    switch (rest[0]) {
    case '{':
      return object(out, depth);
    case '[':
      return array(out, depth);
    case '"':
      out.kind = Json::Kind::String;
      return string(out.text);
    case 't':
    case 'f':
      out.kind = Json::Kind::Bool;
      out.text = rest[0] == 't' ? "true" : "false";
      return word(out.text);
    case 'n':
      return word("null");
    default:
      return number(out);
    }
  }

  bool atEnd() {
    space();
    return rest.empty();
  }

private:
  void space() {
    rest.remove_prefix(
        std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
  }
  /// Counts a value, before it takes memory.
  bool room() {
    tooMany = count++ == mostJsonValues;
    return !tooMany;
  }
  bool take(char c) {
    if (rest.empty() || rest[0] != c)
      return false;
    rest.remove_prefix(1);
    return true;
  }
  bool word(std::string_view text) {
    bool matches = rest.substr(0, text.size()) == text;
    if (matches)
      rest.remove_prefix(text.size());
    return matches;
  }

  bool object(Json &out, int depth) {
    out.kind = Json::Kind::Object;
    take('{');
    space();
    if (take('}'))
      return true;
    do {
      space();
      std::string name;
      if (!string(name) || !room())
        return false;
      space();
      out.members.emplace_back(std::move(name), Json());
      if (!take(':') || !value(out.members.back().second, depth + 1))
        return false;
      space();
    } while (take(','));
    return take('}');
  }

  bool array(Json &out, int depth) {
    out.kind = Json::Kind::Array;
    take('[');
    space();
    if (take(']'))
      return true;
    do {
      if (!room())
        return false;
      out.items.emplace_back();
      if (!value(out.items.back(), depth + 1))
        return false;
      space();
    } while (take(','));
    return take(']');
  }

  size_t digits(size_t at) const {
    while (at < rest.size() && rest[at] >= '0' && rest[at] <= '9')
      ++at;
    return at;
  }
  bool number(Json &out) {
    size_t first = rest[0] == '-' ? 1 : 0, end = digits(first);
    if (end == first || (rest[first] == '0' && end > first + 1))
      return false;
    if (end < rest.size() && rest[end] == '.') {
      first = end + 1;
      end = digits(first);
      if (end == first)
        return false;
    }
    if (end < rest.size() && (rest[end] == 'e' || rest[end] == 'E')) {
      first = end + 1;
      if (first < rest.size() && (rest[first] == '+' || rest[first] == '-'))
        ++first;
      end = digits(first);
      if (end == first)
        return false;
    }
    out.kind = Json::Kind::Number;
    out.text = rest.substr(0, end);
    rest.remove_prefix(end);
    return true;
  }

  /// Four hexadecimal digits.
  bool unit(unsigned &out) {
    if (rest.size() < 4)
      return false;
    out = 0;
    for (char c : rest.substr(0, 4)) {
      bool digit = c >= '0' && c <= '9';
      char lower = static_cast<char>(c | 0x20);
      if (!digit && (lower < 'a' || lower > 'f'))
        return false;
      out = out * 16 + (digit ? c - '0' : lower - 'a' + 10);
    }
    rest.remove_prefix(4);
    return true;
  }

  bool escape(std::string &out) {
    static constexpr std::string_view from = "\"\\/bfnrt",
                                      to = "\"\\/\b\f\n\r\t";
    if (rest.empty())
      return false;
    char c = rest[0];
    rest.remove_prefix(1);
    if (size_t at = from.find(c); at != from.npos) {
      out += to[at];
      return true;
    }
    unsigned point, low;
    if (c != 'u' || !unit(point))
      return false;
    if (point >= 0xD800 && point < 0xE000) { // the first half of a pair
      if (point >= 0xDC00 || !take('\\') || !take('u') || !unit(low) ||
          low < 0xDC00 || low > 0xDFFF)
        return false;
      point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    auto byte = [&](unsigned value) { out += static_cast<char>(value); };
    if (point < 0x80) {
      byte(point);
      return true;
    }
    if (point < 0x800) {
      byte(0xC0 | point >> 6);
    } else {
      if (point < 0x10000) {
        byte(0xE0 | point >> 12);
      } else {
        byte(0xF0 | point >> 18);
        byte(0x80 | (point >> 12 & 0x3F));
      }
      byte(0x80 | (point >> 6 & 0x3F));
    }
    byte(0x80 | (point & 0x3F));
    return true;
  }

  bool string(std::string &out) {
    if (!take('"'))
      return false;
    while (!rest.empty()) {
      if (take('"'))
        return true;
      if (take('\\')) {
        if (!escape(out))
          return false;
        continue;
      }
      if (static_cast<unsigned char>(rest[0]) < 0x20)
        return false;
      out += rest[0];
      rest.remove_prefix(1);
    }
    return false;
  }

  std::string_view rest;
  size_t count = 0;
};

} // namespace

std::optional<Json> parseJson(std::string_view text, bool *tooMany) {
  Json value;
  Parser parser(text);
  bool whole = parser.value(value, 0) && parser.atEnd();
  if (tooMany)
    *tooMany = parser.tooMany;
  return whole ? std::optional<Json>(std::move(value)) : std::nullopt;
}

} // namespace moe::rt
