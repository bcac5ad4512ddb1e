#include "frontends/HuggingFace/JsonValues.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

using namespace moe;
using rt::Json;

static Json make(Json::Kind kind, std::string text = {}) {
  Json json;
  json.kind = kind;
  json.text = std::move(text);
  return json;
}

Json hf::jsonObject() { return make(Json::Kind::Object); }
Json hf::jsonArray() { return make(Json::Kind::Array); }
Json hf::jsonText(std::string_view text) {
  return make(Json::Kind::String, std::string(text));
}
Json hf::jsonNumber(int64_t value) {
  return make(Json::Kind::Number, std::to_string(value));
}
Json hf::jsonNumber(double value) {
  std::string text;
  for (int digits = 6; digits <= 17; ++digits) {
    text = rt::number(value, digits);
    if (std::strtod(text.c_str(), nullptr) == value)
      break;
  }
  return make(Json::Kind::Number, text);
}
Json hf::jsonBool(bool value) {
  return make(Json::Kind::Bool, value ? "true" : "false");
}

std::optional<double> hf::finiteNumber(const Json &json) {
  if (json.kind != Json::Kind::Number)
    return std::nullopt;
  double value = std::strtod(json.text.c_str(), nullptr);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

void hf::setMember(Json &object, std::string_view name, Json value) {
  for (auto &member : object.members)
    if (member.first == name) {
      member.second = std::move(value);
      return;
    }
  object.members.emplace_back(name, std::move(value));
}

void hf::eraseMember(Json &object, std::string_view name) {
  object.members.erase(
      std::remove_if(object.members.begin(), object.members.end(),
                     [&](const auto &member) { return member.first == name; }),
      object.members.end());
}

/// `indent` < 0: all on one line.
static void print(const Json &json, int indent, std::string &out) {
  bool isObject = json.isObject();
  if (json.isString())
    out += rt::jsonString(json.text);
  else if (json.kind == Json::Kind::Null)
    out += "null";
  else if (!isObject && !json.isArray())
    out += json.text;
  if (!isObject && !json.isArray())
    return;
  auto isNested = [](const Json &item) {
    return item.isObject() || item.isArray();
  };
  bool flat = indent < 0 ||
              (!isObject &&
               std::none_of(json.items.begin(), json.items.end(), isNested));
  size_t count = isObject ? json.members.size() : json.items.size();
  out += isObject ? '{' : '[';
  for (size_t i = 0; i < count; ++i) {
    out += i ? (flat ? ", " : ",") : "";
    if (!flat)
      out += "\n" + std::string(indent + 2, ' ');
    if (isObject)
      out += rt::jsonString(json.members[i].first) + ": ";
    // A list of entries is a table: one line for each.
    if (isObject)
      print(json.members[i].second, flat ? -1 : indent + 2, out);
    else
      print(json.items[i], -1, out);
  }
  if (!flat && count)
    out += "\n" + std::string(indent, ' ');
  out += isObject ? '}' : ']';
}

std::string hf::printJson(const Json &json) {
  std::string out;
  print(json, 0, out);
  return out + "\n";
}
