#include "codegen/Report/Report.h"

#include "codegen/Report/ExpertPlots.h"
#include "codegen/Report/ReportStyle.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>

using namespace llvm;

namespace {
using Table = SmallVector<SmallVector<std::string>>;

std::string text(const json::Object &object, StringRef key) {
  if (std::optional<StringRef> value = object.getString(key))
    return moe::escapeHtml(*value);
  if (std::optional<int64_t> value = object.getInteger(key))
    return std::to_string(*value);
  return "";
}

/// 7583680 -> "7.58 M": three digits, powers of a thousand.
std::string count(double value) {
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

std::string bytes(double value) {
  std::string text = count(value);
  return text + (text.find(' ') == std::string::npos ? " B" : "B");
}

void card(raw_ostream &os, StringRef title, StringRef value,
          StringRef note = "") {
  os << "<div class=card><div class=title>" << title << "</div><div class=big>"
     << value << "</div><div class=note>" << note << "</div></div>\n";
}

void table(raw_ostream &os, ArrayRef<StringRef> header, const Table &rows) {
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

void summary(raw_ostream &os, const json::Object &facts) {
  os << "<div class=cards>\n";
  auto number = [&](StringRef key) { return facts.getNumber(key).value_or(0); };
  if (facts.get("parameters"))
    card(os, "Parameters", count(number("parameters")),
         count(number("active_parameters")) + " active per token");
  if (facts.get("weight_bytes"))
    card(os, "Weights", bytes(number("weight_bytes")), "as stored");
  if (facts.get("flops_per_token"))
    card(os, "Work per token", count(number("flops_per_token")) + "FLOP",
         "in MoE layers and raised projections");
  if (facts.get("executable_bytes"))
    card(os, "Executable", bytes(number("executable_bytes")),
         bytes(number("code_bytes")) + " without weights");
  if (facts.get("compile_seconds"))
    card(os, "Compile time",
         formatv("{0:f2} s", number("compile_seconds")).str(),
         "import to executable");
  os << "</div>\n";
}

void layers(raw_ostream &os, const json::Object &facts) {
  const json::Array *list = facts.getArray("layers");
  if (!list || list->empty())
    return;
  os << "<h2>MoE layers</h2>\n";
  Table rows;
  for (const json::Value &value : *list) {
    const json::Object *layer = value.getAsObject();
    if (!layer)
      continue;
    std::string experts = text(*layer, "experts");
    if (layer->getInteger("null_experts").value_or(0))
      experts += " + " + text(*layer, "null_experts") + " null";
    rows.push_back({text(*layer, "layer"), experts, text(*layer, "top_k"),
                    text(*layer, "router"), text(*layer, "expert"),
                    text(*layer, "hidden") + " &rarr; " + text(*layer, "inner"),
                    count(layer->getNumber("parameters").value_or(0)),
                    bytes(layer->getNumber("bytes").value_or(0)),
                    count(layer->getNumber("flops_per_token").value_or(0)),
                    text(*layer, "encoding")});
  }
  table(os,
        {"Layer", "Experts", "Per token", "Router", "Expert", "Widths",
         "Parameters", "Bytes", "FLOP/token", "Found as"},
        rows);
}

void operations(raw_ostream &os, const json::Object &facts) {
  const json::Array *list = facts.getArray("ops");
  if (!list || list->empty())
    return;
  os << "<h2>What the graph became</h2>\n";
  Table rows;
  for (const json::Value &value : *list)
    if (const json::Object *op = value.getAsObject())
      rows.push_back({"<code>" + text(*op, "op") + "</code>",
                      text(*op, "count"), text(*op, "what")});
  table(os, {"Operation", "Count", "Meaning"}, rows);
}

void evaluation(raw_ostream &os, const json::Array &runs) {
  Table rows;
  for (const json::Value &value : runs) {
    const json::Object *run = value.getAsObject();
    if (!run || !run->getNumber("bits_per_byte"))
      continue;
    double tokens = run->getNumber("tokens_per_second").value_or(0);
    rows.push_back({text(*run, "name"),
                    formatv("{0:f4}", *run->getNumber("bits_per_byte")).str(),
                    tokens ? count(tokens) : "&ndash;"});
  }
  if (rows.empty())
    return;
  os << "<h2>Evaluation</h2>\n";
  table(os, {"Text", "Bits per byte", "Tokens/s"}, rows);
}

/// Rows are runs, columns are experts; colour is the share of the choices
/// relative to an even spread (white: even, warm: more, cold: less).
void heatMaps(raw_ostream &os, const json::Array &runs) {
  struct Row {
    std::string name;
    SmallVector<double> counts;
  };
  MapVector<StringRef, SmallVector<Row>> byLayer;
  for (const json::Value &value : runs) {
    const json::Object *run = value.getAsObject();
    const json::Array *list = run ? run->getArray("layers") : nullptr;
    if (!list)
      continue;
    for (const json::Value &entry : *list) {
      const json::Object *layer = entry.getAsObject();
      const json::Array *counts = layer ? layer->getArray("counts") : nullptr;
      std::optional<StringRef> name =
          layer ? layer->getString("name") : std::nullopt;
      if (!counts || !name)
        continue;
      Row row{text(*run, "name"), {}};
      for (const json::Value &n : *counts)
        row.counts.push_back(n.getAsNumber().value_or(0));
      byLayer[*name].push_back(std::move(row));
    }
  }
  if (byLayer.empty())
    return;
  os << "<h2>Expert use</h2>\n<p class=note>Share of the choices in percent. "
        "Pale: an even spread; red: used more, blue: used less.</p>\n"
        "<div class=heat>\n";
  for (const auto &[layer, rows] : byLayer) {
    os << "<table class=map><caption>layer " << moe::escapeHtml(layer)
       << "</caption><tr><th></th>";
    size_t experts = 0;
    for (const Row &row : rows)
      experts = std::max<size_t>(experts, row.counts.size());
    for (size_t e = 0; e < experts; ++e)
      os << "<th>" << e << "</th>";
    os << "</tr>\n";
    for (const Row &row : rows) {
      double sum = 0;
      for (double n : row.counts)
        sum += n;
      os << "<tr><th>" << row.name << "</th>";
      for (double n : row.counts) {
        double share = sum > 0 ? n / sum : 0;
        // -1 (unused) .. 0 (even) .. 1 (three times the even share or more)
        double even = share * row.counts.size();
        double tilt = even < 1 ? even - 1 : std::min(1.0, (even - 1) / 2);
        os << formatv("<td style=\"background:hsl({0},70%,{1}%)\" "
                      "title=\"{2} choices\">{3:f1}</td>",
                      tilt < 0 ? 215 : 12, int(96 - 42 * std::abs(tilt)),
                      uint64_t(n), share * 100);
      }
      os << "</tr>\n";
    }
    os << "</table>\n";
  }
  os << "</div>\n";
}

void phases(raw_ostream &os, const json::Array &runs) {
  MapVector<StringRef, double> seconds;
  double sum = 0;
  for (const json::Value &value : runs) {
    const json::Object *run = value.getAsObject();
    const json::Array *list = run ? run->getArray("phases") : nullptr;
    if (!list)
      continue;
    for (const json::Value &entry : *list)
      if (const json::Object *phase = entry.getAsObject())
        if (std::optional<StringRef> name = phase->getString("name")) {
          double time = phase->getNumber("seconds").value_or(0);
          seconds[*name] += time;
          sum += time;
        }
  }
  if (sum <= 0)
    return;
  auto list = seconds.takeVector();
  llvm::sort(list, [](auto &a, auto &b) { return a.second > b.second; });
  os << "<h2>Where the time goes</h2>\n<div class=bars>\n";
  for (const auto &[name, time] : list)
    os << formatv("<div class=bar><span class=label>{0}</span><span "
                  "class=track><span class=fill style=\"width:{1:f1}%\">"
                  "</span></span><span class=value>{1:f1} % &middot; {2:f2} "
                  "s</span></div>\n",
                  moe::escapeHtml(name), 100 * time / sum, time);
  os << "</div>\n";
}
} // namespace

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

std::string moe::renderReport(const json::Object &facts,
                              const json::Array &runs) {
  std::string page;
  raw_string_ostream os(page);
  std::string model = text(facts, "model");
  os << "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n"
        "<meta name=viewport content=\"width=device-width\">\n<title>"
     << model << " &middot; moe-opt</title>\n<style>" << reportStyle
     << "</style></head>\n<body><main>\n<h1>" << model
     << "</h1>\n<p class=note>" << text(facts, "producer");
  if (facts.getString("target"))
    os << " &middot; compiled for <code>" << text(facts, "target") << "</code>";
  os << "</p>\n";
  summary(os, facts);
  layers(os, facts);
  evaluation(os, runs);
  moe::plotCounts(os, runs);
  heatMaps(os, runs);
  moe::tabulateMeasures(os, runs);
  moe::plotSimilarity(os, facts);
  phases(os, runs);
  operations(os, facts);
  os << "<footer>Written by moe-opt.</footer>\n</main></body></html>\n";
  return page;
}
