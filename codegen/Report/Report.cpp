#include "codegen/Report/Report.h"

#include "codegen/Report/CompressionPlots.h"
#include "codegen/Report/ExpertPlots.h"
#include "codegen/Report/Html.h"
#include "codegen/Report/ReportStyle.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>

using namespace llvm;
using namespace moe;

namespace {
void card(raw_ostream &os, StringRef title, StringRef value,
          StringRef note = "") {
  os << "<div class=card><div class=title>" << title << "</div><div class=big>"
     << value << "</div><div class=note>" << note << "</div></div>\n";
}

void summary(raw_ostream &os, const json::Object &facts) {
  os << "<div class=cards>\n";
  auto number = [&](StringRef key) { return facts.getNumber(key).value_or(0); };
  if (facts.get("parameters"))
    card(os, "Parameters", countText(number("parameters")),
         countText(number("active_parameters")) + " active per token");
  if (facts.get("weight_bytes"))
    card(os, "Weights", bytesText(number("weight_bytes")), "as stored");
  if (facts.get("flops_per_token"))
    card(os, "Work per token", countText(number("flops_per_token")) + "FLOP",
         "in MoE layers and raised projections");
  if (facts.get("executable_bytes"))
    card(os, "Executable", bytesText(number("executable_bytes")),
         bytesText(number("code_bytes")) + " without weights");
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
  HtmlTable rows;
  for (const json::Value &value : *list) {
    const json::Object *layer = value.getAsObject();
    if (!layer)
      continue;
    std::string experts = textOf(*layer, "experts");
    if (layer->getInteger("null_experts").value_or(0))
      experts += " + " + textOf(*layer, "null_experts") + " null";
    rows.push_back(
        {textOf(*layer, "layer"), experts, textOf(*layer, "top_k"),
         textOf(*layer, "router"), textOf(*layer, "expert"),
         textOf(*layer, "hidden") + " &rarr; " + textOf(*layer, "inner"),
         countText(layer->getNumber("parameters").value_or(0)),
         bytesText(layer->getNumber("bytes").value_or(0)),
         countText(layer->getNumber("flops_per_token").value_or(0)),
         textOf(*layer, "encoding")});
  }
  writeTable(os,
             {"Layer", "Experts", "Per token", "Router", "Expert", "Widths",
              "Parameters", "Bytes", "FLOP/token", "Found as"},
             rows);
}

void operations(raw_ostream &os, const json::Object &facts) {
  const json::Array *list = facts.getArray("ops");
  if (!list || list->empty())
    return;
  os << "<h2>What the graph became</h2>\n";
  HtmlTable rows;
  for (const json::Value &value : *list)
    if (const json::Object *op = value.getAsObject())
      rows.push_back({"<code>" + textOf(*op, "op") + "</code>",
                      textOf(*op, "count"), textOf(*op, "what")});
  writeTable(os, {"Operation", "Count", "Meaning"}, rows);
}

void evaluation(raw_ostream &os, const json::Array &runs) {
  HtmlTable rows;
  for (const json::Value &value : runs) {
    const json::Object *run = value.getAsObject();
    if (!run || !run->getNumber("bits_per_byte"))
      continue;
    double tokens = run->getNumber("tokens_per_second").value_or(0);
    rows.push_back({textOf(*run, "name"),
                    formatv("{0:f4}", *run->getNumber("bits_per_byte")).str(),
                    tokens ? countText(tokens) : "&ndash;"});
  }
  if (rows.empty())
    return;
  os << "<h2>Evaluation</h2>\n";
  writeTable(os, {"Text", "Bits per byte", "Tokens/s"}, rows);
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
      Row row{textOf(*run, "name"), {}};
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

std::string moe::renderReport(const json::Object &facts,
                              const json::Array &runs) {
  std::string page;
  raw_string_ostream os(page);
  std::string model = textOf(facts, "model");
  os << "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n"
        "<meta name=viewport content=\"width=device-width\">\n<title>"
     << model << " &middot; moe-opt</title>\n<style>" << reportStyle
     << "</style></head>\n<body><main>\n<h1>" << model
     << "</h1>\n<p class=note>" << textOf(facts, "producer");
  if (facts.getString("target"))
    os << " &middot; compiled for <code>" << textOf(facts, "target")
       << "</code>";
  os << "</p>\n";
  summary(os, facts);
  moe::plotCompression(os, facts);
  moe::plotFront(os, facts);
  if (facts.getArray("compression") && !runs.empty())
    os << "<p class=\"note below\">Expert profiles below are of the model "
          "before "
          "compression.</p>\n";
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
