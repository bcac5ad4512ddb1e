#include "codegen/Report/Report.h"

#include <gtest/gtest.h>

using namespace llvm;

TEST(Report, EscapesNamesOfTheModel) {
  json::Object facts{{"model", "<script>alert(1)</script>&\"x\""}};
  std::string page = moe::renderReport(facts, {});
  EXPECT_EQ(page.find("<script>"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;x"),
            std::string::npos);
}

TEST(Report, LeavesOutWhatIsNotKnown) {
  std::string page = moe::renderReport(json::Object{{"model", "m"}}, {});
  EXPECT_EQ(page.find("Expert use"), std::string::npos);
  EXPECT_EQ(page.find("Parameters"), std::string::npos);
}

TEST(Report, ShowsSharesOfTheChoices) {
  json::Array runs{json::Object{
      {"name", "prose"},
      {"bits_per_byte", 1.93},
      {"layers", json::Array{json::Object{{"name", "0"},
                                          {"counts", json::Array{1, 3}}}}}}};
  std::string page = moe::renderReport(json::Object{{"model", "m"}}, runs);
  EXPECT_NE(page.find(">25.0<"), std::string::npos);
  EXPECT_NE(page.find(">75.0<"), std::string::npos);
  EXPECT_NE(page.find("1.9300"), std::string::npos);
}

TEST(Report, SurvivesARunThatChoseNothing) {
  json::Array runs{json::Object{
      {"name", "empty"},
      {"layers", json::Array{json::Object{{"name", "0"},
                                          {"counts", json::Array{0, 0}}}}}}};
  EXPECT_NE(moe::renderReport(json::Object{{"model", "m"}}, runs).find(">0.0<"),
            std::string::npos);
}

namespace {
/// A ledger of two steps, and three recipes of which one was run.
json::Object compressed() {
  json::Object first{{"step", ""},
                     {"params", 2000000},
                     {"bytes", 8000000},
                     {"expert_params", 1500000},
                     {"expert_bytes", 6e6},
                     {"active_params", 500000.0},
                     {"flops_per_token", 1e6},
                     {"bytes_read_per_token", 4e6},
                     {"bits_per_byte", 2.0}};
  json::Object last = first;
  last["step"] = "quantize{<int4>}";
  last["bytes"] = 4000000;
  last["expert_bytes"] = 2000000;
  last["output_error"] = 0.0625;
  last["bits_per_byte"] = 1.9;
  auto recipe = [](const char *steps, double share, double error) {
    return json::Object{{"steps", steps},
                        {"share", share},
                        {"output_error", error},
                        {"front", true},
                        {"chosen", false}};
  };
  json::Object chosen = recipe("b<c", 0.25, 0.2);
  chosen["loss"] = -0.03;
  chosen["chosen"] = true;
  return json::Object{
      {"model", "m"},
      {"compression", json::Array{std::move(first), std::move(last)}},
      {"front", json::Array{recipe("a", 0.5, 0.1), std::move(chosen),
                            recipe("d", 0.1, 0.9)}},
      {"front_limits", json::Object{{"share", 0.3}, {"loss", 0.05}}},
      {"front_refused",
       json::Array{json::Object{{"steps", "e<f"}, {"why", "a < b"}}}}};
}

size_t countOf(const std::string &page, const std::string &what) {
  size_t n = 0;
  for (size_t at = page.find(what); at != std::string::npos;
       at = page.find(what, at + 1))
    ++n;
  return n;
}
} // namespace

TEST(Report, ShowsWhatCompressionCost) {
  std::string page = moe::renderReport(compressed(), {});
  EXPECT_NE(
      page.find("<div class=step>quantize{&lt;int4&gt;}</div></td><td>2.00 "
                "M</td><td>4.00 "
                "MB</td><td>2.00 MB &middot; 33.3 %</td>"),
      std::string::npos);
  EXPECT_EQ(page.find("<int4>"), std::string::npos);
  EXPECT_NE(page.find("1.9000 (&minus;0.1000)"), std::string::npos);
  // Bars: 430 wide for the original, 6 of its 8 MB experts; half of it after.
  EXPECT_NE(page.find("width=322.50"), std::string::npos);
  EXPECT_EQ(countOf(page, "width=107.50"), 3u);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
}

TEST(Report, FillsWhatWasMeasured) {
  std::string page = moe::renderReport(compressed(), {});
  // In the chart of predictions and in that of measured losses.
  EXPECT_EQ(countOf(page, "r=4.5 class=mark><title>b&lt;c"), 2u);
  EXPECT_EQ(countOf(page, "class=hollow><title>"), 2u);
  EXPECT_EQ(countOf(page, "class=ring"), 2u);
  EXPECT_NE(page.find("loss -0.0300 bits per byte"), std::string::npos);
  EXPECT_NE(page.find("at most 30.0 % of the bytes"), std::string::npos);
}

TEST(Report, SaysWhatWasRefused) {
  std::string page = moe::renderReport(compressed(), {});
  EXPECT_NE(page.find("<code>e&lt;f</code></div></td><td><div class=name>a "
                      "&lt; b</div>"),
            std::string::npos);
}

TEST(Report, SurvivesAnOddLedger) {
  json::Object facts{
      {"model", "m"},
      {"compression", json::Array{json::Object{}, 3, json::Object{}}},
      {"front", json::Array{json::Object{}, "x"}},
      {"front_refused", json::Array{json::Object{}, "x"}}};
  std::string page = moe::renderReport(facts, {});
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find("inf"), std::string::npos);
}
