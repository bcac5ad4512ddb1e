#include "codegen/Report/CompressionPlots.h"

#include "codegen/Report/Html.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>
#include <optional>

using namespace llvm;
using namespace moe;

namespace {
struct Step {
  std::string name; // escaped
  double bytes = 0, expertBytes = 0;
  std::optional<double> error, bits;
  const json::Object *entry = nullptr;

  double number(StringRef key) const {
    return entry->getNumber(key).value_or(0);
  }
};

std::vector<Step> stepsOf(const json::Object &facts) {
  std::vector<Step> steps;
  const json::Array *list = facts.getArray("compression");
  if (!list)
    return steps;
  for (const json::Value &value : *list) {
    const json::Object *entry = value.getAsObject();
    if (!entry)
      continue;
    Step step;
    step.entry = entry;
    step.name = textOf(*entry, "step");
    if (step.name.empty())
      step.name = "original";
    step.bytes = step.number("bytes");
    step.expertBytes = std::min(step.number("expert_bytes"), step.bytes);
    step.error = entry->getNumber("output_error");
    step.bits = entry->getNumber("bits_per_byte");
    steps.push_back(std::move(step));
  }
  return steps;
}

std::string percent(double part, double whole) {
  return whole > 0 ? formatv("{0:f1} %", 100 * part / whole).str() : "&ndash;";
}

/// A stem from `x` with a drop at its end, and a text behind.
void lollipop(raw_ostream &os, double x, double y, double length,
              const std::string &text) {
  os << formatv("<line x1={0} x2={1:f1} y1={2} y2={2} class=stem /><circle "
                "cx={1:f1} cy={2} r=4 class=drop /><text x={3:f1} y={4}>"
                "{5}</text>\n",
                x, x + length, y, x + length + 10, y + 4, text);
}

void chart(raw_ostream &os, ArrayRef<Step> steps) {
  constexpr int width = 1140, row = 48, head = 30;
  constexpr double barWidth = 430, errorAt = 640, bitsAt = 890, stem = 130;
  double most = 1, mostError = 0, mostLoss = 0;
  std::optional<double> first = steps.front().bits;
  bool hasBits = false;
  for (const Step &step : steps) {
    most = std::max(most, step.bytes);
    mostError = std::max(mostError, step.error.value_or(0));
    hasBits |= step.bits.has_value();
    if (step.bits && first)
      mostLoss = std::max(mostLoss, std::abs(*step.bits - *first));
  }
  os << formatv("<figure><svg class=chart viewBox=\"0 0 {0} {1}\" role=img "
                "aria-label=\"Bytes after each step\">\n",
                width, head + row * static_cast<int>(steps.size()));
  os << "<text x=0 y=12 class=strong>Bytes of weights</text>"
        "<rect x=118 y=3 width=11 height=11 rx=2 class=mark /><text x=134 y=12 "
        "class=faint>experts</text><rect x=192 y=3 width=11 height=11 rx=2 "
        "class=rest /><text x=208 y=12 class=faint>everything else</text>\n";
  bool hasError = llvm::any_of(
      steps, [](const Step &step) { return step.error.has_value(); });
  if (hasError)
    os << formatv("<text x={0} y=12 class=strong>Output error</text>\n",
                  errorAt);
  if (hasBits)
    os << formatv("<text x={0} y=12 class=strong>Bits per byte</text>\n",
                  bitsAt);
  for (auto [i, step] : llvm::enumerate(steps)) {
    int top = head + row * static_cast<int>(i), bar = top + 16;
    double experts = step.expertBytes / most * barWidth,
           rest = (step.bytes - step.expertBytes) / most * barWidth;
    os << formatv("<text x=0 y={0}>{1}</text>\n", top + 9, step.name);
    os << formatv("<rect x=0 y={0} width={1:f2} height=16 class=mark><title>"
                  "experts: {2}</title></rect><rect x={1:f2} y={0} "
                  "width={3:f2} height=16 class=rest><title>everything else: "
                  "{4}</title></rect>",
                  bar, experts, bytesText(step.expertBytes), rest,
                  bytesText(step.bytes - step.expertBytes));
    os << formatv("<text x={0:f1} y={1}>{2} &middot; {3}</text>\n",
                  experts + rest + 8, bar + 12, bytesText(step.bytes),
                  percent(step.bytes, steps.front().bytes));
    if (step.error)
      lollipop(os, errorAt, bar + 8,
               mostError > 0 ? stem * *step.error / mostError : 0,
               formatv("{0:f4}", *step.error).str());
    if (!step.bits)
      continue;
    double loss = first ? *step.bits - *first : 0;
    std::string text = formatv("{0:f4}", *step.bits).str();
    if (first && i > 0)
      text +=
          formatv(" ({0}{1:f4})", loss < 0 ? "&minus;" : "+", std::abs(loss));
    lollipop(os, bitsAt, bar + 8,
             mostLoss > 0 ? stem * std::abs(loss) / mostLoss : 0, text);
  }
  os << "</svg></figure>\n";
}

void table(raw_ostream &os, ArrayRef<Step> steps) {
  HtmlTable rows;
  auto optional = [](std::optional<double> value) {
    return value ? formatv("{0:f4}", *value).str() : "&ndash;";
  };
  for (const Step &step : steps)
    rows.push_back({"<div class=step>" + breakable(step.name) + "</div>",
                    countText(step.number("params")), bytesText(step.bytes),
                    bytesText(step.expertBytes) + " &middot; " +
                        percent(step.expertBytes, steps.front().expertBytes),
                    countText(step.number("active_params")),
                    bytesText(step.number("bytes_read_per_token")),
                    countText(step.number("flops_per_token")),
                    optional(step.error), optional(step.bits)});
  writeTable(os,
             {"Step", "Parameters", "Bytes", "Expert bytes", "Active",
              "Read/token", "FLOP/token", "Output error", "Bits/byte"},
             rows);
}
} // namespace

void moe::plotCompression(raw_ostream &os, const json::Object &facts) {
  std::vector<Step> steps = stepsOf(facts);
  if (steps.empty())
    return;
  os << "<h2>What compression cost</h2>\n<p class=note>The model after each "
        "step. Output error: of the MoE layers on inputs that the profile "
        "sampled, relative, root mean square over layers. Bits per byte: "
        "measured by running the model. Active parameters and FLOP are those "
        "of experts that one token meets; read per token are bytes of all "
        "weights that decoding one token reads, not the peak memory of a "
        "run.</p>\n";
  chart(os, steps);
  os << "<br>\n";
  table(os, steps);
}
