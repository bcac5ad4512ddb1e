#include "codegen/Report/Html.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace moe;

std::string moe::escapeHtml(StringRef text) {
  std::string escaped;
  raw_string_ostream os(escaped);
  for (char c : text) {
    switch (c) {
    case '&':
      os << "&amp;";
      break;
    case '<':
      os << "&lt;";
      break;
    case '>':
      os << "&gt;";
      break;
    case '"':
      os << "&quot;";
      break;
    default:
      // Control characters have no business in a page.
      os << (static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
    }
  }
  return escaped;
}

std::string moe::breakable(StringRef text) {
  std::string out;
  for (char c : text) {
    out += c;
    if (c == ',')
      out += "<wbr>";
  }
  return out;
}

std::string moe::textOf(const json::Object &object, StringRef key) {
  if (std::optional<StringRef> value = object.getString(key))
    return escapeHtml(*value);
  if (std::optional<int64_t> value = object.getInteger(key))
    return std::to_string(*value);
  return "";
}

std::string moe::countText(double value) {
  static const char *units[] = {"", " k", " M", " G", " T", " P"};
  unsigned unit = 0;
  while (value >= 1000 && unit + 1 < std::size(units))
    value /= 1000, ++unit;
  if (unit == 0)
    return formatv("{0:f0}", value);
  return formatv(value < 10    ? "{0:f2}{1}"
                 : value < 100 ? "{0:f1}{1}"
                               : "{0:f0}{1}",
                 value, units[unit]);
}

std::string moe::bytesText(double value) {
  std::string text = countText(value);
  return text + (text.find(' ') == std::string::npos ? " B" : "B");
}

void moe::writeTable(raw_ostream &os, ArrayRef<StringRef> header,
                     const HtmlTable &rows) {
  os << "<div class=scroll><table><thead><tr>";
  for (StringRef cell : header)
    os << "<th>" << cell << "</th>";
  os << "</tr></thead><tbody>\n";
  for (const auto &row : rows) {
    os << "<tr>";
    for (const std::string &cell : row)
      os << "<td>" << cell << "</td>";
    os << "</tr>\n";
  }
  os << "</tbody></table></div>\n";
}
