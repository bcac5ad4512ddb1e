#include "runtime/Bank/Safetensors.h"

#include "runtime/Core/Json.h"
#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace moe::rt {
namespace {

/// The reference implementation's limit.
constexpr uint64_t largestHeader = 100000000;
/// More than any program takes; others would make long lists of tiny files.
constexpr size_t mostDimensions = 64;

struct TypeInfo {
  std::string_view name;
  uint8_t size;
  int32_t dtype;
};

constexpr TypeInfo types[] = {
    {"BOOL", 1, MOE_BOOL}, {"U8", 1, MOE_U8},   {"I8", 1, MOE_I8},
    {"F8_E4M3", 1, 0},     {"F8_E5M2", 1, 0},   {"F8_E8M0", 1, 0},
    {"I16", 2, MOE_I16},   {"U16", 2, MOE_U16}, {"F16", 2, MOE_F16},
    {"BF16", 2, MOE_BF16}, {"I32", 4, MOE_I32}, {"U32", 4, MOE_U32},
    {"F32", 4, MOE_F32},   {"I64", 8, MOE_I64}, {"U64", 8, MOE_U64},
    {"F64", 8, MOE_F64}};

const TypeInfo *findType(std::string_view name) {
  for (const TypeInfo &type : types)
    if (type.name == name)
      return &type;
  return nullptr;
}

/// One entry of the header; the message says what is wrong with it.
Result<ArchiveTensor> parseEntry(const std::string &name, const Json &json) {
  auto bad = [&](const std::string &why) {
    return Status(Code::InvalidFile, "tensor " + quote(name) + " " + why);
  };
  const Json *dtype = json.find("dtype"), *shape = json.find("shape"),
             *offsets = json.find("data_offsets");
  if (!dtype || !dtype->isString() || !shape || !shape->isArray() || !offsets ||
      !offsets->isArray() || offsets->items.size() != 2)
    return bad("lacks dtype, shape or data_offsets");
  ArchiveTensor tensor;
  tensor.name = name;
  tensor.dtype = dtype->text;
  const TypeInfo *type = findType(tensor.dtype);
  if (!type)
    return bad("has the unknown type " + quote(tensor.dtype));
  if (shape->items.size() > mostDimensions)
    return bad(text("has ", shape->items.size(), " dimensions, more than ",
                    mostDimensions));
  uint64_t expected = type->size;
  bool fits = true;
  for (const Json &item : shape->items) {
    std::optional<uint64_t> size = item.asUnsigned();
    if (!size || *size > INT64_MAX)
      return bad("has a size that is no whole number >= 0");
    tensor.shape.push_back(static_cast<int64_t>(*size));
    fits &= !__builtin_mul_overflow(expected, *size, &expected);
  }
  std::optional<uint64_t> begin = offsets->items[0].asUnsigned(),
                          end = offsets->items[1].asUnsigned();
  if (!begin || !end || *end < *begin)
    return bad("has bad data_offsets");
  tensor.offset = *begin;
  tensor.size = *end - *begin;
  if (!fits || expected != tensor.size)
    return bad(text("has ", tensor.size, " bytes, its shape and type need ",
                    fits ? std::to_string(expected) : "more than 2^64"));
  return tensor;
}

} // namespace

int32_t safetensorsType(std::string_view dtype) {
  const TypeInfo *type = findType(dtype);
  return type ? type->dtype : 0;
}

Result<Safetensors> parseSafetensors(std::string_view bytes,
                                     const std::string &what) {
  auto bad = [&](const std::string &why) {
    return Status(Code::InvalidFile, quote(what) + ": " + why);
  };
  uint64_t length = 0;
  if (bytes.size() < sizeof(length))
    return bad("not a safetensors file: too short for a header");
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > largestHeader || length > bytes.size() - sizeof(length))
    return bad(text("not a safetensors file: its header would have ", length,
                    " bytes"));
  std::string_view header = bytes.substr(sizeof(length), length);
  if (header.empty() || header[0] != '{')
    return bad("not a safetensors file: its header is no JSON object");
  bool tooMany = false;
  std::optional<Json> json = parseJson(header, &tooMany);
  if (!json)
    return bad(tooMany ? text("its header has more than ", mostJsonValues,
                              " values, which no file of weights needs")
                       : "its header is malformed JSON");
  // Which of two a reader takes would differ.
  if (json->hasDuplicates())
    return bad("its header holds a name twice");
  Safetensors file;
  uint64_t start = sizeof(length) + length;
  for (const auto &[name, value] : json->members) {
    if (name == "__metadata__") {
      if (!value.isObject())
        return bad("its metadata are no object");
      for (const auto &[key, entry] : value.members) {
        if (!entry.isString())
          return bad("metadata " + quote(key) + " are no string");
        file.metadata[key] = entry.text;
      }
      continue;
    }
    Result<ArchiveTensor> tensor = parseEntry(name, value);
    if (!tensor)
      return bad(tensor.error().message);
    file.tensors.push_back(std::move(*tensor));
  }
  std::sort(file.tensors.begin(), file.tensors.end(),
            [](const ArchiveTensor &a, const ArchiveTensor &b) {
              return std::tie(a.offset, a.size, a.name) <
                     std::tie(b.offset, b.size, b.name);
            });
  uint64_t covered = 0, data = bytes.size() - start;
  for (ArchiveTensor &tensor : file.tensors) {
    if (tensor.offset != covered)
      return bad(text("tensor ", quote(tensor.name), " begins at ",
                      tensor.offset, " where ", covered,
                      " was expected: data must neither overlap nor leave "
                      "holes"));
    covered += tensor.size;
    if (covered > data)
      return bad(text("truncated: tensor ", quote(tensor.name), " ends at ",
                      covered, ", there are ", data, " bytes of data"));
    tensor.offset += start;
  }
  if (covered != data)
    return bad(text("has ", data - covered, " bytes behind its last tensor"));
  return file;
}

std::string
safetensorsHeader(const std::map<std::string, std::string> &metadata,
                  const std::vector<ArchiveTensor> &tensors) {
  std::string json = "{\"__metadata__\":{";
  for (const auto &[key, value] : metadata)
    json += (json.back() == '{' ? "" : ",") + jsonString(key) + ":" +
            jsonString(value);
  json += "}";
  uint64_t offset = 0;
  for (const ArchiveTensor &tensor : tensors) {
    json += "," + jsonString(tensor.name) +
            ":{\"dtype\":" + jsonString(tensor.dtype) + ",\"shape\":[";
    for (size_t d = 0; d < tensor.shape.size(); ++d)
      json += text(d ? "," : "", tensor.shape[d]);
    json +=
        text("],\"data_offsets\":[", offset, ",", offset + tensor.size, "]}");
    offset += tensor.size;
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' '); // so that data are aligned
  uint64_t length = json.size();
  return std::string(reinterpret_cast<const char *>(&length), sizeof(length)) +
         json;
}

} // namespace moe::rt
