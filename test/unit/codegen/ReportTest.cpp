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
