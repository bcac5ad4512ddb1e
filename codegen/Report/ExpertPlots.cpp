#include "codegen/Report/ExpertPlots.h"

#include "codegen/Report/Html.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Base64.h"
#include "llvm/Support/CRC.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace moe;

namespace {
std::vector<double> listOf(const json::Object &object, StringRef key) {
  std::vector<double> out;
  if (const json::Array *list = object.getArray(key))
    for (const json::Value &value : *list)
      out.push_back(value.getAsNumber().value_or(0));
  return out;
}

/// Calls `use(run, layer)` for all layers of all runs.
void forLayers(
    const json::Array &runs,
    function_ref<void(const json::Object &, const json::Object &)> use) {
  for (const json::Value &value : runs) {
    const json::Object *run = value.getAsObject();
    const json::Array *list = run ? run->getArray("layers") : nullptr;
    if (!list)
      continue;
    for (const json::Value &entry : *list)
      if (const json::Object *layer = entry.getAsObject();
          layer && layer->getString("name"))
        use(*run, *layer);
  }
}

//===----------------------------------------------------------------------===//
// Images: PNG of 8 bits with a palette, stored without compression
//===----------------------------------------------------------------------===//

void big32(std::string &out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out += static_cast<char>(value >> shift);
}

void chunk(std::string &out, StringRef type, StringRef data) {
  std::string body = (type + data).str();
  big32(out, static_cast<uint32_t>(data.size()));
  out += body;
  big32(out, crc32(arrayRefFromStringRef(body)));
}

/// zlib's format, stored blocks only.
std::string stored(StringRef data) {
  std::string out("\x78\x01", 2);
  uint32_t a = 1, b = 0; // Adler-32
  for (unsigned char c : data) {
    a = (a + c) % 65521;
    b = (b + a) % 65521;
  }
  do {
    StringRef block = data.take_front(65535);
    data = data.drop_front(block.size());
    auto size = static_cast<uint16_t>(block.size());
    out += data.empty() ? '\1' : '\0';
    for (uint16_t value : {size, static_cast<uint16_t>(~size)}) {
      out += static_cast<char>(value & 255);
      out += static_cast<char>(value >> 8);
    }
    out += block;
  } while (!data.empty());
  big32(out, b << 16 | a);
  return out;
}

/// Blue for negative, pale for none, red for positive numbers.
std::string palette() {
  std::string out;
  const double ends[2][3] = {{33, 102, 172}, {178, 24, 43}};
  const double middle[3] = {247, 247, 247};
  for (int i = 0; i < 256; ++i) {
    double value = std::clamp((i - 127.5) / 127.5, -1.0, 1.0);
    for (int c = 0; c < 3; ++c)
      out += static_cast<char>(std::lround(
          middle[c] + std::abs(value) * (ends[value > 0][c] - middle[c])));
  }
  return out;
}

/// An `[n, n]` matrix of numbers in [-1, 1] as the address of an image.
std::string image(ArrayRef<double> values, size_t n) {
  std::string header, rows, png("\x89PNG\r\n\x1a\n", 8);
  big32(header, static_cast<uint32_t>(n));
  big32(header, static_cast<uint32_t>(n));
  header += std::string("\x08\x03\0\0\0", 5);
  for (size_t i = 0; i < n; ++i) {
    rows += '\0'; // no filter
    for (size_t j = 0; j < n; ++j)
      rows += static_cast<char>(std::lround(
          std::clamp(values[i * n + j], -1.0, 1.0) * 127.5 + 127.5));
  }
  chunk(png, "IHDR", header);
  chunk(png, "PLTE", palette());
  chunk(png, "IDAT", stored(rows));
  chunk(png, "IEND", "");
  return "data:image/png;base64," + encodeBase64(png);
}

struct Range {
  double least = 0, most = 0, mean = 0;
};

/// Of the numbers off the diagonal.
Range offDiagonal(ArrayRef<double> values, size_t n) {
  Range range;
  size_t seen = 0;
  for (size_t i = 0; i < n * n; ++i) {
    if (i / n == i % n)
      continue;
    range.least = seen ? std::min(range.least, values[i]) : values[i];
    range.most = seen ? std::max(range.most, values[i]) : values[i];
    range.mean += values[i];
    ++seen;
  }
  if (seen)
    range.mean /= static_cast<double>(seen);
  return range;
}

void figure(raw_ostream &os, ArrayRef<double> values, size_t n, StringRef title,
            StringRef note) {
  os << "<figure><figcaption>" << title << "</figcaption><img src=\""
     << image(values, n) << "\" alt=\"" << title << "\"><div class=note>"
     << note << "</div></figure>\n";
}

/// Cosines: colours reach as far as the largest off the diagonal.
void similarity(raw_ostream &os, const json::Object &layer, StringRef key,
                StringRef title) {
  size_t n = static_cast<size_t>(layer.getInteger("experts").value_or(0));
  std::vector<double> values = listOf(layer, key);
  if (n == 0 || values.size() != n * n)
    return;
  Range range = offDiagonal(values, n);
  double scale = std::max({std::abs(range.least), std::abs(range.most), 1e-9});
  std::vector<double> colours = values;
  for (double &value : colours)
    value /= scale;
  figure(os, colours, n, title,
         formatv("mean {0:f3}, {1:f3} to {2:f3}", range.mean, range.least,
                 range.most)
             .str());
}

/// Counts of ranks against an even spread.
void rankTable(raw_ostream &os, const json::Object &layer) {
  size_t n = static_cast<size_t>(layer.getInteger("experts").value_or(0));
  std::vector<double> values = listOf(layer, "ranks");
  if (n == 0 || values.size() != n * n)
    return;
  double rows = layer.getNumber("rows").value_or(0);
  double even = rows / static_cast<double>(n);
  for (double &value : values)
    value = even > 0 ? (value - even) / (2 * even) : 0;
  figure(os, values, n, "Router rank against norm of the output",
         "rows: highest logit first; columns: largest norm first");
}
} // namespace

void moe::plotCounts(raw_ostream &os, const json::Array &runs) {
  MapVector<StringRef, std::vector<double>> sums;
  forLayers(runs, [&](const json::Object &, const json::Object &layer) {
    std::vector<double> counts = listOf(layer, "counts");
    std::vector<double> &sum = sums[*layer.getString("name")];
    sum.resize(std::max(sum.size(), counts.size()));
    for (size_t e = 0; e < counts.size(); ++e)
      sum[e] += counts[e];
  });
  if (sums.empty())
    return;
  os << "<h2>Choices per expert</h2>\n<p class=note>Over all runs; the line is "
        "an even spread.</p>\n<div class=heat>\n";
  for (const auto &[name, counts] : sums) {
    double all = 0, most = 0;
    for (double n : counts) {
      all += n;
      most = std::max(most, n);
    }
    double width = 320, height = 90, step = width / counts.size();
    double top = std::max(most, 1.0) * 1.05;
    os << "<figure><figcaption>layer " << escapeHtml(name)
       << formatv("</figcaption><svg viewBox=\"0 0 {0} {1}\" width={0} "
                  "height={1}>",
                  int(width), int(height));
    for (size_t e = 0; e < counts.size(); ++e) {
      double bar = counts[e] / top * height;
      os << formatv("<rect x={0:f2} y={1:f2} width={2:f2} height={3:f2} "
                    "class=mark><title>expert {4}: {5:f0} choices, {6:f2} "
                    "%</title></rect>",
                    e * step + step * 0.08, height - bar, step * 0.84, bar, e,
                    counts[e], all > 0 ? 100 * counts[e] / all : 0);
    }
    double even = height - all / counts.size() / top * height;
    os << formatv("<line x1=0 x2={0} y1={1:f2} y2={1:f2} class=even /></svg>"
                  "</figure>\n",
                  int(width), even);
  }
  os << "</div>\n";
}

void moe::tabulateMeasures(raw_ostream &os, const json::Array &runs) {
  static const std::pair<const char *, const char *> columns[] = {
      {"median_ratio", "Median ratio"},
      {"layer_cosine", "Layer cosine"},
      {"block_cosine", "Block cosine"},
      {"output_norm", "Output norm"}};
  std::string rows;
  raw_string_ostream body(rows);
  forLayers(runs, [&](const json::Object &run, const json::Object &layer) {
    std::vector<double> scores = listOf(layer, "mean_scores");
    if (scores.empty())
      return;
    auto [least, most] = std::minmax_element(scores.begin(), scores.end());
    body << "<tr><td>" << escapeHtml(*layer.getString("name")) << "</td><td>"
         << escapeHtml(run.getString("name").value_or("")) << "</td><td>"
         << formatv("{0:f0}", layer.getNumber("tokens").value_or(0))
         << "</td><td>" << formatv("{0:f4} &ndash; {1:f4}", *least, *most)
         << "</td>";
    for (auto [key, title] : columns) {
      std::optional<double> value = layer.getNumber(key);
      body << "<td>" << (value ? formatv("{0:f4}", *value).str() : "&ndash;")
           << "</td>";
    }
    body << "</tr>\n";
  });
  if (rows.empty())
    return;
  os << "<h2>Measured in runs</h2>\n<p class=note>Mean probability of the "
        "least and the most likely expert; ratio of the second to the first "
        "weight; cosine of the residual stream before and after the layer, and "
        "its block.</p>\n<div class=scroll><table><thead><tr><th>Layer</th>"
        "<th>Run</th><th>Tokens</th><th>Mean probability</th>";
  for (auto [key, title] : columns)
    os << "<th>" << title << "</th>";
  os << "</tr></thead><tbody>\n" << rows << "</tbody></table></div>\n";
}

void moe::plotSimilarity(raw_ostream &os, const json::Object &facts) {
  const json::Array *layers = facts.getArray("expert_similarity");
  if (!layers || layers->empty())
    return;
  os << "<h2>How alike experts are</h2>\n<p class=note>Cosines between "
        "experts: of their matrices, of their outputs on rows that the "
        "profile sampled, of their rows in the router. Red: alike, blue: "
        "opposite; the strongest colour is the largest off the diagonal. "
        "R&sup2; says how well router rows predict the cosines of "
        "matrices.</p>\n";
  for (const json::Value &value : *layers) {
    const json::Object *layer = value.getAsObject();
    if (!layer)
      continue;
    os << "<section class=plot><h3>layer "
       << escapeHtml(layer->getString("layer").value_or("")) << "</h3>\n";
    if (std::optional<StringRef> note = layer->getString("note"))
      os << "<p class=note>Not compared: " << escapeHtml(*note) << ".</p>\n";
    os << "<div class=heat>\n";
    similarity(os, *layer, "weights", "Matrices");
    similarity(os, *layer, "outputs", "Outputs");
    similarity(os, *layer, "router", "Router rows");
    rankTable(os, *layer);
    os << "</div>\n";
    if (const json::Array *fits = layer->getArray("fits")) {
      os << "<p class=note>";
      for (const json::Value &entry : *fits)
        if (const json::Object *fit = entry.getAsObject()) {
          os << "<span class=fit><b>"
             << escapeHtml(fit->getString("matrix").value_or(""))
             << "</b> mean "
             << formatv("{0:f3}", fit->getNumber("mean").value_or(0));
          if (std::optional<double> r2 = fit->getNumber("r2"))
            os << formatv(", R&sup2; {0:f2}", *r2);
          os << "</span> ";
        }
      os << "</p>\n";
    }
    os << "</section>\n";
  }
}
