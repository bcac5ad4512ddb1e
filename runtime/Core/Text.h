// Building messages without iostreams, which would double the launcher.
#ifndef MOE_RUNTIME_CORE_TEXT_H
#define MOE_RUNTIME_CORE_TEXT_H

#include <string>
#include <string_view>
#include <type_traits>

namespace moe::rt {

/// Length of the well-formed UTF-8 sequence at the start of `text`, which is
/// not empty and no ASCII, or 0; and what it encodes.
size_t decodeUtf8(std::string_view text, unsigned &point);

/// Its length, or 0 where it is not well-formed. Also 0 for C1 control
/// characters and for the bidirectional overrides, which can make a terminal
/// lie.
size_t utf8Length(std::string_view text);

/// Escapes control characters, quotes and bytes that are not printable ASCII
/// or well-formed UTF-8, so that names from files can be shown on a terminal.
/// Long names are cut in the middle.
std::string printable(std::string_view name);

/// printable() between single quotes.
inline std::string quote(std::string_view name) {
  return "'" + printable(name) + "'";
}

/// "1.25" style text of a number with `digits` significant digits.
std::string number(double value, int digits = 6);

/// "3.1 MB" style text.
std::string bytesText(double bytes);

namespace detail {
inline void append(std::string &out, std::string_view text) { out += text; }
template <typename T>
std::enable_if_t<std::is_integral_v<T>> append(std::string &out, T value) {
  out += std::to_string(value);
}
} // namespace detail

/// Concatenates strings and integers.
template <typename... Parts>
std::string text(const Parts &...parts) {
  std::string out;
  (detail::append(out, parts), ...);
  return out;
}

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_TEXT_H
