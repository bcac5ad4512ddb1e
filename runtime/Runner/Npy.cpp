#include "runtime/Runner/Npy.h"

#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <cstring>

namespace moe::rt {
namespace {

constexpr std::string_view magic = "\x93NUMPY";

struct TypeCode {
  const char *code;
  int32_t dtype;
};

// For writing the first entry of a type counts.
constexpr TypeCode codes[] = {
    {"<f4", MOE_F32}, {"<f8", MOE_F64}, {"<f2", MOE_F16},  {"<i8", MOE_I64},
    {"<i4", MOE_I32}, {"<i2", MOE_I16}, {"|i1", MOE_I8},   {"<u8", MOE_U64},
    {"<u4", MOE_U32}, {"<u2", MOE_U16}, {"|u1", MOE_U8},   {"|b1", MOE_BOOL},
    {"<i1", MOE_I8},  {"<u1", MOE_U8},  {"<b1", MOE_BOOL}, {"|V2", MOE_BF16},
    {"<V2", MOE_BF16}};

/// Reads the header's dictionary, which is the repr() of a Python dict with
/// exactly three entries.
class HeaderParser {
public:
  HeaderParser(std::string_view text) : rest(text) {}

  bool parse() {
    if (!take('{'))
      return false;
    while (!take('}')) {
      std::string key;
      if (!string(key) || !take(':') || !entry(key))
        return false;
      if (!take(',') && peek() != '}')
        return false;
    }
    skip();
    return rest.empty() && hasDescr && hasOrder && hasShape;
  }

  std::string descr;
  bool structured = false;
  bool fortran = false;
  bool tooLarge = false; // a size beyond 2^63, or more than 8 of them
  std::vector<int64_t> shape;

private:
  void skip() {
    while (!rest.empty() && (rest[0] == ' ' || rest[0] == '\n' ||
                             rest[0] == '\t' || rest[0] == '\r'))
      rest.remove_prefix(1);
  }
  char peek() {
    skip();
    return rest.empty() ? '\0' : rest[0];
  }
  bool take(char c) {
    if (peek() != c || rest.empty())
      return false;
    rest.remove_prefix(1);
    return true;
  }
  bool word(std::string_view text) {
    skip();
    if (rest.substr(0, text.size()) != text)
      return false;
    rest.remove_prefix(text.size());
    return true;
  }
  bool string(std::string &out) {
    char quote = peek();
    if (quote != '\'' && quote != '"')
      return false;
    size_t end = rest.find(quote, 1);
    if (end == rest.npos)
      return false;
    out = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    return out.find('\\') == out.npos;
  }
  bool tuple() {
    if (!take('('))
      return false;
    while (!take(')')) {
      uint64_t value = 0;
      char c = peek();
      if (c < '0' || c > '9')
        return false;
      for (; !rest.empty() && rest[0] >= '0' && rest[0] <= '9';
           rest.remove_prefix(1))
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, unsigned(rest[0] - '0'), &value) ||
            value > INT64_MAX) {
          tooLarge = true;
          value = 0;
        }
      static_cast<void>(take('L')); // Python 2
      if (shape.size() < MOE_MAX_RANK)
        shape.push_back(static_cast<int64_t>(value));
      else
        tooLarge = true;
      if (!take(',') && peek() != ')')
        return false;
    }
    return true;
  }
  bool entry(const std::string &key) {
    if (key == "descr" && !hasDescr) {
      hasDescr = true;
      structured = peek() == '[';
      if (!structured)
        return string(descr);
      // A record type: skip to its end, it is refused anyway.
      int depth = 0;
      while (!rest.empty()) {
        depth += rest[0] == '[';
        depth -= rest[0] == ']';
        rest.remove_prefix(1);
        if (!depth)
          return true;
      }
      return false;
    }
    if (key == "fortran_order" && !hasOrder) {
      hasOrder = true;
      fortran = word("True");
      return fortran || word("False");
    }
    if (key == "shape" && !hasShape) {
      hasShape = true;
      return tuple();
    }
    return false;
  }

  std::string_view rest;
  bool hasDescr = false, hasOrder = false, hasShape = false;
};

Status bad(const std::string &what, const std::string &why) {
  return {Code::InvalidFile, quote(what) + " " + why};
}

} // namespace

Result<Array> parseNpy(std::string_view bytes, const std::string &what) {
  if (bytes.substr(0, magic.size()) != magic)
    return bad(what, "is not a .npy file: it does not start with \\x93NUMPY");
  if (bytes.size() < 10)
    return bad(what, "is truncated in its header");
  auto byte = [&](size_t i) {
    return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i]));
  };
  uint32_t version = byte(6);
  if (version < 1 || version > 3)
    return bad(what, text("has .npy format ", version, ".", byte(7),
                          ", known are 1.0 to 3.0"));
  size_t start = version == 1 ? 10 : 12;
  if (bytes.size() < start)
    return bad(what, "is truncated in its header");
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1)
    length |= byte(10) << 16 | static_cast<size_t>(byte(11)) << 24;
  if (bytes.size() - start < length)
    return bad(what, "is truncated in its header");
  HeaderParser header(bytes.substr(start, length));
  if (!header.parse())
    return bad(what, "has a malformed .npy header: " +
                         quote(bytes.substr(start, length)));
  if (header.structured || header.descr.find('O') != std::string::npos)
    return bad(what, "holds Python objects or records, must hold numbers");
  Array array;
  for (const TypeCode &code : codes)
    if (header.descr == code.code)
      array.tensor.dtype = code.dtype;
  if (!array.tensor.dtype)
    return bad(what, "has elements of type " + quote(header.descr) +
                         (header.descr[0] == '>'
                              ? ", which is big-endian; save it little-endian"
                              : ", which is not supported"));
  if (header.tooLarge)
    return bad(what, "has a shape that is too large");
  if (header.fortran && header.shape.size() > 1)
    return bad(what, "is in Fortran order; save numpy.ascontiguousarray(x)");
  array.tensor.rank = static_cast<int32_t>(header.shape.size());
  for (size_t i = 0; i < header.shape.size(); ++i)
    array.tensor.shape[i] = header.shape[i];
  std::optional<int64_t> needed = byteSize(array.tensor);
  std::string shape = shapeText(array.tensor.shape, array.tensor.rank);
  if (!needed)
    return bad(what, "has the shape " + shape + ", which is too large");
  size_t got = bytes.size() - start - length;
  if (static_cast<uint64_t>(*needed) != got)
    return bad(what, text(static_cast<uint64_t>(*needed) > got ? "is truncated"
                                                               : "is too long",
                          ": its shape ", shape, " needs ", *needed,
                          " bytes of data, it has ", got));
  Result<Buffer> storage = Buffer::create(got);
  if (!storage)
    return storage.error();
  if (got)
    std::memcpy(storage->data(), bytes.data() + start + length, got);
  array.storage = std::move(*storage);
  array.tensor.data = array.storage.data();
  if (array.tensor.dtype == MOE_BOOL)
    for (size_t i = 0; i < got; ++i)
      array.storage.data()[i] = array.storage.data()[i] != 0;
  return array;
}

std::string npyHeader(const moe_tensor &tensor) {
  const char *descr = "<u2"; // bfloat16
  for (const TypeCode &code : codes)
    if (code.dtype == tensor.dtype && tensor.dtype != MOE_BF16) {
      descr = code.code;
      break;
    }
  std::string dictionary =
      text("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (int32_t i = 0; i < tensor.rank; ++i)
    dictionary +=
        text(tensor.shape[i], i == 0 || i + 1 < tensor.rank ? "," : "",
             i + 1 < tensor.rank ? " " : "");
  dictionary += "), }";
  // Data start at a multiple of 64; rank 8 fits format 1.0 easily.
  size_t total = (10 + dictionary.size() + 1 + 63) / 64 * 64;
  dictionary.append(total - 10 - dictionary.size() - 1, ' ');
  dictionary += '\n';
  std::string header(magic);
  header += '\x01';
  header += '\0';
  header += static_cast<char>(dictionary.size() & 0xFF);
  header += static_cast<char>(dictionary.size() >> 8);
  return header + dictionary;
}

Result<Array> readNpy(const std::string &path) {
  Result<Buffer> bytes = readFile(path);
  if (!bytes)
    return bytes.error();
  return parseNpy(bytes->view(), path);
}

Status writeNpy(const std::string &path, const moe_tensor &tensor) {
  auto file = OutputFile::create(path);
  if (!file)
    return file.error();
  (*file)->write(npyHeader(tensor));
  (*file)->write(tensor.data, static_cast<uint64_t>(*byteSize(tensor)));
  return (*file)->commit();
}

} // namespace moe::rt
