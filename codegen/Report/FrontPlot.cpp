#include "codegen/Report/CompressionPlots.h"
#include "codegen/Report/Html.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

using namespace llvm;
using namespace moe;

namespace {
struct Recipe {
  std::string steps; // escaped
  double share = 0, error = 0;
  std::optional<double> loss;
  bool isOnFront = false, isChosen = false;
  size_t label = 0;

  bool isNamed() const { return isOnFront || isChosen || loss; }
};

std::vector<Recipe> recipesOf(const json::Object &facts) {
  std::vector<Recipe> recipes;
  const json::Array *list = facts.getArray("front");
  if (!list)
    return recipes;
  for (const json::Value &value : *list) {
    const json::Object *entry = value.getAsObject();
    if (!entry)
      continue;
    Recipe recipe;
    recipe.steps = textOf(*entry, "steps");
    recipe.share = entry->getNumber("share").value_or(0);
    recipe.error = entry->getNumber("output_error").value_or(0);
    recipe.loss = entry->getNumber("loss");
    recipe.isOnFront = entry->getBoolean("front").value_or(false);
    recipe.isChosen = entry->getBoolean("chosen").value_or(false);
    recipes.push_back(std::move(recipe));
  }
  llvm::sort(recipes, [](const Recipe &a, const Recipe &b) {
    return std::tie(a.share, a.error, a.steps) <
           std::tie(b.share, b.error, b.steps);
  });
  size_t label = 0;
  for (Recipe &recipe : recipes)
    if (recipe.isNamed())
      recipe.label = ++label;
  return recipes;
}

/// 1, 2 or 5 times a power of ten, so that `span` has about five of them.
double tick(double span) {
  double power = std::pow(10, std::floor(std::log10(span / 5)));
  double lead = span / 5 / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

struct Point {
  double x, y;
};

/// Finds room for small labels beside points.
class Labels {
public:
  explicit Labels(ArrayRef<Point> taken) : taken(taken) {}

  Point place(Point at) {
    static constexpr Point around[] = {
        {11, -8}, {-11, -8}, {11, 16}, {-11, 16}, {0, -13},
        {0, 21},  {22, 4},   {-22, 4}, {20, -18}, {-20, -18}};
    Point best = {at.x + around[0].x, at.y + around[0].y};
    double most = -1;
    for (Point offset : around) {
      Point here = {at.x + offset.x, at.y + offset.y};
      double room = 1e9;
      for (Point other : taken)
        room = std::min(room,
                        std::hypot(other.x - here.x, other.y - (here.y - 4)));
      for (Point other : placed)
        room = std::min(room, std::hypot(other.x - here.x, other.y - here.y));
      room = std::min(room, 11.0); // more is no better than near
      if (room > most)
        best = here, most = room;
    }
    placed.push_back(best);
    return best;
  }

private:
  ArrayRef<Point> taken;
  std::vector<Point> placed;
};

struct Scatter {
  StringRef title, note, axis;
  std::optional<double> limit;
  double shareLimit = 0;
};

/// `height(recipe)` is nothing where it is not in this chart.
template <typename Height>
void scatter(raw_ostream &os, ArrayRef<Recipe> recipes, const Scatter &what,
             const Height &height) {
  constexpr double width = 560, tall = 380, left = 58, right = 16, top = 18,
                   bottom = 46;
  double mostX = what.shareLimit, least = 0, most = what.limit.value_or(0);
  for (const Recipe &recipe : recipes)
    if (std::optional<double> y = height(recipe)) {
      mostX = std::max(mostX, recipe.share);
      least = std::min(least, *y);
      most = std::max(most, *y);
    }
  mostX = mostX > 0 ? mostX * 1.06 : 1;
  double span = most > least ? (most - least) * 1.08 : 1;
  auto at = [&](double share, double y) {
    return Point{left + share / mostX * (width - left - right),
                 tall - bottom - (y - least) / span * (tall - top - bottom)};
  };
  os << "<figure><figcaption>" << what.title
     << formatv(
            "</figcaption><svg class=chart viewBox=\"0 0 {0} {1}\" role=img "
            "aria-label=\"{2}\">\n",
            width, tall, what.title);
  double step = tick(span);
  for (double y = std::ceil(least / step) * step; y <= least + span;
       y += step) {
    Point p = at(0, y);
    os << formatv("<line x1={0} x2={1} y1={2:f1} y2={2:f1} class=axis /><text "
                  "x={3} y={4:f1} text-anchor=end class=faint>{5}</text>\n",
                  left, width - right, p.y, left - 7, p.y + 4,
                  std::abs(y) < step / 2 ? "0"
                  : step < 0.01          ? formatv("{0:f3}", y).str()
                                         : formatv("{0:f2}", y).str());
  }
  step = tick(mostX);
  for (double x = 0; x <= mostX; x += step)
    os << formatv("<text x={0:f1} y={1} text-anchor=middle class=faint>{2:f0} "
                  "%</text>\n",
                  at(x, 0).x, tall - bottom + 18, 100 * x);
  os << formatv("<text x={0} y={1} text-anchor=middle class=faint>share of the "
                "bytes of the original</text><text x={2} y={3} "
                "transform=\"rotate(-90 {2} {3})\" text-anchor=middle "
                "class=faint>{4}</text>\n",
                (left + width) / 2, tall - 8, 13, (top + tall - bottom) / 2,
                what.axis);
  if (what.shareLimit > 0) {
    Point p = at(what.shareLimit, least);
    os << formatv("<line x1={0:f1} x2={0:f1} y1={1} y2={2} class=even><title>"
                  "asked for: at most {3:f1} % of the bytes</title></line>\n",
                  p.x, top, tall - bottom, 100 * what.shareLimit);
  }
  if (what.limit) {
    Point p = at(0, *what.limit);
    os << formatv("<line x1={0} x2={1} y1={2:f1} y2={2:f1} class=even><title>"
                  "asked for: a loss of at most {3:f4}</title></line>\n",
                  left, width - right, p.y, *what.limit);
  }
  std::vector<Point> taken;
  std::string path;
  for (const Recipe &recipe : recipes)
    if (std::optional<double> y = height(recipe)) {
      Point p = at(recipe.share, *y);
      taken.push_back(p);
      if (recipe.isOnFront)
        path += formatv("{0:f1},{1:f1} ", p.x, p.y).str();
    }
  if (!path.empty())
    os << "<polyline points=\"" << path << "\" class=path />\n";
  Labels labels(taken);
  for (const Recipe &recipe : recipes) {
    std::optional<double> y = height(recipe);
    if (!y)
      continue;
    Point p = at(recipe.share, *y);
    os << formatv(
        "<circle cx={0:f1} cy={1:f1} r=4.5 class={2}><title>{3}: {4:f1}"
        " % of the bytes, output error {5:f4}",
        p.x, p.y, recipe.loss ? "mark" : "hollow", recipe.steps,
        100 * recipe.share, recipe.error);
    if (recipe.loss)
      os << formatv(", loss {0:f4} bits per byte", *recipe.loss);
    os << "</title></circle>";
    if (recipe.isChosen)
      os << formatv("<circle cx={0:f1} cy={1:f1} r=8.5 class=ring />", p.x,
                    p.y);
    if (recipe.isNamed()) {
      Point label = labels.place(p);
      os << formatv("<text x={0:f1} y={1:f1} text-anchor=middle class={2}>{3}"
                    "</text>",
                    label.x, label.y, recipe.isChosen ? "warm" : "faint",
                    recipe.label);
    }
    os << "\n";
  }
  os << "</svg><div class=note style=\"max-width:none\">" << what.note
     << "</div></figure>\n";
}

void table(raw_ostream &os, ArrayRef<Recipe> recipes, bool named) {
  HtmlTable rows;
  for (const Recipe &recipe : recipes) {
    if (recipe.isNamed() != named)
      continue;
    std::string what = recipe.isChosen ? "<b>chosen</b>" : "";
    if (recipe.isOnFront)
      what += what.empty() ? "on the front" : ", on the front";
    rows.push_back(
        {named ? std::to_string(recipe.label) : "",
         "<div class=name><code>" + breakable(recipe.steps) + "</code></div>",
         formatv("{0:f1} %", 100 * recipe.share).str(),
         formatv("{0:f4}", recipe.error).str(),
         recipe.loss ? formatv("{0:f4}", *recipe.loss).str() : "&ndash;",
         what});
  }
  if (!rows.empty())
    writeTable(os, {"", "Recipe", "Bytes", "Output error", "Loss", ""}, rows);
}

void refusedTable(raw_ostream &os, const json::Object &facts) {
  HtmlTable rows;
  const json::Array *list = facts.getArray("front_refused");
  for (const json::Value &value : list ? *list : json::Array())
    if (const json::Object *entry = value.getAsObject())
      rows.push_back(
          {"<div class=name><code>" + breakable(textOf(*entry, "steps")) +
               "</code></div>",
           "<div class=name>" + breakable(textOf(*entry, "why")) + "</div>"});
  if (rows.empty())
    return;
  os << "<details><summary>Recipes that could not be tried</summary>\n";
  writeTable(os, {"Recipe", "Why"}, rows);
  os << "</details>\n";
}
} // namespace

void moe::plotFront(raw_ostream &os, const json::Object &facts) {
  std::vector<Recipe> recipes = recipesOf(facts);
  if (recipes.empty())
    return;
  bool isMeasured =
      llvm::any_of(recipes, [](const Recipe &r) { return r.loss.has_value(); });
  std::optional<double> loss;
  double share = 0;
  if (const json::Object *limits = facts.getObject("front_limits")) {
    share = limits->getNumber("share").value_or(0);
    loss = limits->getNumber("loss");
  }
  os << "<h2>Recipes that were tried</h2>\n<p class=note>Filled: run on the "
        "evaluation text. Hollow: only predicted, from the profile's sample. "
        "The line joins the front, of which none is both smaller and better in "
        "prediction; the ring marks the one that was chosen; dashes are what "
        "was asked for. Loss: in bits per byte.</p>\n<div class=charts>\n";
  Scatter predicted = {"Predicted",
                       "Relative error of the outputs of the MoE layers, root "
                       "mean square over layers.",
                       "output error", isMeasured ? std::nullopt : loss, share};
  scatter(os, recipes, predicted,
          [](const Recipe &r) { return std::optional<double>(r.error); });
  if (isMeasured) {
    Scatter measured = {"Measured", "Bits per byte more than the original's.",
                        "loss in bits per byte", loss, share};
    scatter(os, recipes, measured, [](const Recipe &r) { return r.loss; });
  }
  os << "</div>\n";
  table(os, recipes, /*named=*/true);
  if (llvm::any_of(recipes, [](const Recipe &r) { return !r.isNamed(); })) {
    os << "<details><summary>All the others</summary>\n";
    table(os, recipes, /*named=*/false);
    os << "</details>\n";
  }
  refusedTable(os, facts);
}
