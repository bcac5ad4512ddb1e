// Just enough JSON for traces and for the headers of archives.
#ifndef MOE_RUNTIME_CORE_JSON_H
#define MOE_RUNTIME_CORE_JSON_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moe::rt {

/// A JSON string literal, all of it ASCII or well-formed UTF-8. Characters that
/// could make a terminal lie are escaped; bytes that are no UTF-8 are written
/// as
/// \u00XX, and read as other characters.
std::string jsonString(std::string_view text);

/// A value, as it stands in the text.
struct Json {
  enum class Kind { Null, Bool, Number, String, Array, Object };

  Kind kind = Kind::Null;
  std::string text; // of a string, decoded; of a number, as written
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> members; // names may come twice

  bool isArray() const { return kind == Kind::Array; }
  bool isObject() const { return kind == Kind::Object; }
  bool isString() const { return kind == Kind::String; }
  /// The first member of that name, or null.
  const Json *find(std::string_view name) const;
  /// A whole number >= 0 below 2^64, without fraction or exponent.
  std::optional<uint64_t> asUnsigned() const;
  /// Does a name come twice, here or in any object inside?
  bool hasDuplicates() const;
};

/// A value takes about 90 bytes, of two in the text.
constexpr size_t mostJsonValues = size_t(1) << 22;

/// Nothing where `text` is not one JSON value (RFC 8259), nests deeper than 64
/// levels, or has more than `mostJsonValues` values, which sets `tooMany`.
std::optional<Json> parseJson(std::string_view text, bool *tooMany = nullptr);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_JSON_H
