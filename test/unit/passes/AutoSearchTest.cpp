// What --compress=auto asks for, tries and chooses, on made-up figures.
#include "passes/Compress/AutoSearch.h"
#include "passes/Compress/Compress.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <gtest/gtest.h>
#include <map>

using namespace llvm;
using namespace moe;

static std::string slip(StringRef text) {
  auto request = parseAuto(text);
  if (request)
    return *request ? "none" : "steps";
  StringRef tail = "; auto{bytes=50%,max-loss=0.02} asks for half of the bytes "
                   "at a loss of 0.02 at most";
  std::string why = toString(request.takeError());
  EXPECT_TRUE(StringRef(why).ends_with(tail)) << why;
  StringRef rest = StringRef(why).drop_back(tail.size());
  EXPECT_TRUE(rest.consume_front("--compress=auto: ")) << why;
  return rest.str();
}

TEST(AutoRequest, IsTakenApart) {
  auto request = parseAuto(" auto{ bytes=12.5%, max-loss=0.02 } ");
  ASSERT_TRUE(static_cast<bool>(request));
  ASSERT_TRUE(request->has_value());
  EXPECT_EQ((*request)->bytes, 0.125);
  EXPECT_EQ((*request)->maxLoss, 0.02);
  EXPECT_EQ((*request)->bytesText, "12.5%");
  EXPECT_EQ(slip("auto{max-loss=0 bytes=1}"), "none");
  EXPECT_EQ(slip("auto {bytes=100%,max-loss=5%}"), "none");
  EXPECT_EQ(slip("quantize{int4}"), "steps");
  EXPECT_EQ(slip("automatic{x}"), "steps");
}

TEST(AutoRequest, SlipsAreNamed) {
  std::string number = " is a number that is not negative, not '";
  for (const char *value : {"inf", "-inf", "nan", "-0.1", "abc", "", "%"})
    EXPECT_EQ(slip("auto{bytes=50%,max-loss=" + std::string(value) + "}"),
              "max-loss" + number + value + "'");
  for (const char *value : {"inf%", "nan", "-5%", "abc", "1e999"})
    EXPECT_EQ(slip("auto{bytes=" + std::string(value) + ",max-loss=1}"),
              "bytes" + number + value + "'");
  for (const char *value : {"0%", "0", "100.01%", "50"})
    EXPECT_EQ(slip("auto{bytes=" + std::string(value) + ",max-loss=1}"),
              "bytes is a share of the model's bytes, above 0 and at most "
              "100%, not '" +
                  std::string(value) + "'");
  EXPECT_EQ(slip("auto{bytes=50%,bytes=30%}"), "'bytes' is given twice");
  EXPECT_EQ(slip("auto{bytes=50%,max-loss=1,max-loss=1}"),
            "'max-loss' is given twice");
  EXPECT_EQ(slip("auto{bytes=50%,loss=1}"),
            "'loss' is neither bytes nor max-loss");
  EXPECT_EQ(slip("auto{bytes=50%}"), "needs both bytes and max-loss");
  EXPECT_EQ(slip("auto{}"), "needs both bytes and max-loss");
  for (const char *text : {"auto", "auto{bytes=50%", "auto=1"})
    EXPECT_EQ(slip(text), "needs {bytes=SHARE,max-loss=NUMBER}");
  for (const char *text :
       {"auto{bytes=50%,max-loss=1},quantize{int4}", "auto,quantize{int4}"})
    EXPECT_EQ(slip(text), "goes alone, without other steps");
  auto steps = parseSteps("quantize{int4},auto{bytes=50%,max-loss=1}");
  ASSERT_FALSE(static_cast<bool>(steps));
  EXPECT_EQ(toString(steps.takeError()),
            "--compress: auto{...} goes alone, without other steps");
}

namespace {
/// A model of 1000 bytes on which recipes do as they are told; all others are
/// refused.
struct Fake {
  struct Figures {
    int64_t bytes;
    double predicted;
    double loss = NAN;
  };
  std::map<std::string, Figures> figures;
  std::vector<std::string> tried, measured;
  bool measures = false;
  AutoTrials trials;

  /// The chosen steps, or what is wrong.
  std::string search(StringRef text) {
    auto request = cantFail(parseAuto(text));
    AutoTools tools;
    tools.progress = [](StringRef) {};
    tools.apply = [&](StringRef shape,
                      StringRef storage) -> Expected<Candidate> {
      tried.push_back(joinSteps(shape, storage));
      auto found = figures.find(tried.back());
      if (found == figures.end())
        return createStringError(shape.empty() ? "no such type"
                                               : "no such shape");
      Candidate candidate;
      candidate.bytes = found->second.bytes;
      candidate.predicted = found->second.predicted;
      return candidate;
    };
    if (measures)
      tools.measure = [&](StringRef steps) -> Expected<double> {
        measured.push_back(steps.str());
        double loss = figures.at(steps.str()).loss;
        if (loss == 7)
          return createStringError("disk full");
        return loss;
      };
    trials = AutoTrials();
    trials.originalBytes = 1000;
    if (Error error = searchRecipe(*request, tools, trials))
      return toString(std::move(error));
    return trials.chosen;
  }
  std::string printed() const {
    std::string text;
    raw_string_ostream os(text);
    trials.print(os);
    return text;
  }
};
const std::string kInt8 = "quantize{int8}", kInt4 = "quantize{int4,mode=aware}",
                  kNf4 = "quantize{nf4,mode=aware}",
                  kMxfp4 = "quantize{mxfp4,mode=aware}",
                  kMerge = "merge-experts{ratio=25%}",
                  kHalf = "narrow-experts{50%,budget=layer,multiple=32}";
} // namespace

TEST(AutoSearch, TakesTheLeastPredictedErrorThatFits) {
  Fake fake;
  fake.figures = {{kInt8, {300, 0.01}},
                  {kInt4, {150, 0.1}},
                  {kNf4, {150, 0.2}},
                  {kMerge, {800, 0.3}},
                  {kHalf, {150, 0.1}}};
  EXPECT_EQ(fake.search("auto{bytes=15%,max-loss=0.1}"), kInt4)
      << "of what is equal, the shorter";
  EXPECT_EQ(fake.search("auto{bytes=100%,max-loss=0.1}"), kInt8);
  EXPECT_EQ(fake.search("auto{bytes=0.14999,max-loss=1}"),
            "--compress=auto: no recipe makes the model as small as 0.14999 of "
            "its bytes; the smallest, " +
                kInt4 + ", takes 15.00%");
  EXPECT_EQ(fake.search("auto{bytes=15%,max-loss=0.099}"),
            "--compress=auto: the best recipe within 15% of the bytes, " +
                kInt4 +
                ", loses 0.1000 of the output, more than max-loss=0.099");
  EXPECT_EQ(fake.trials.chosen, "");
}

TEST(AutoSearch, PrintsWhatCanBeAskedFor) {
  Fake fake;
  fake.figures = {{kInt4, {123, 0.012341}}};
  std::string text = fake.search("auto{bytes=12%,max-loss=1}");
  EXPECT_TRUE(StringRef(text).ends_with("takes 12.30%")) << text;
  EXPECT_EQ(fake.search("auto{bytes=12.30%,max-loss=1}"), kInt4);
  text = fake.search("auto{bytes=13%,max-loss=0.01234}");
  EXPECT_NE(text.find("loses 0.0124 of the output, more than max-loss=0.01234"),
            std::string::npos)
      << text;
  EXPECT_EQ(fake.search("auto{bytes=13%,max-loss=0.0124}"), kInt4);
}

TEST(AutoSearch, RecipesReadAsTheyArePrinted) {
  Fake fake;
  fake.search("auto{bytes=1%,max-loss=1}");
  for (const std::string &recipe : fake.tried) {
    auto steps = parseSteps(recipe);
    ASSERT_TRUE(static_cast<bool>(steps)) << recipe;
    std::string text;
    for (const CompressStep &step : *steps)
      text += (text.empty() ? "" : ",") + step.text;
    EXPECT_EQ(text, recipe);
  }
}

TEST(AutoSearch, GoesOnPastWhatFails) {
  Fake fake;
  fake.figures = {{kInt4, {150, 0.1}}, {kNf4, {160, NAN}}};
  EXPECT_EQ(fake.search("auto{bytes=50%,max-loss=1}"), kInt4);
  // A shape that is refused is not stored in six ways.
  EXPECT_EQ(fake.tried.size(), 6u + 9u);
  EXPECT_EQ(fake.trials.refused.size(), fake.tried.size() - 1);
  std::string text = fake.printed();
  text.erase(0, text.find("refused: "));
  EXPECT_EQ(text,
            "refused: no such type\n"
            "         quantize{int8}\n"
            "         quantize{int8,mixed=int4,mode=aware,bytes=20%}\n"
            "         quantize{nf4,mode=aware,block=0}\n"
            "         quantize{mxfp4,mode=aware}\n"
            "refused: its output error is no finite number\n"
            "         quantize{nf4,mode=aware}\n"
            "refused: no such shape\n"
            "         factorize-experts{ratio=50%,multiple=32,weighted=true,"
            "power=0.5}\n"
            "         factorize-experts{ratio=38%,multiple=4,weighted=true,"
            "power=0.5}\n"
            "         narrow-experts{12.5%,budget=layer,multiple=32}\n"
            "         narrow-experts{25%,budget=layer,multiple=32}\n"
            "         narrow-experts{50%,budget=layer,multiple=32}\n"
            "         prune-experts{ratio=12.5%,reconstruction,search=greedy,"
            "rows=512}\n"
            "         prune-experts{ratio=25%,reconstruction,search=greedy,"
            "rows=512}\n"
            "         prune-experts{ratio=50%,reconstruction,search=greedy,"
            "rows=512}\n"
            "         merge-experts{ratio=25%}\n");
  json::Array refused = fake.trials.refusedJSON();
  EXPECT_EQ(refused.size(), fake.trials.refused.size());
  EXPECT_EQ(refused[0].getAsObject()->getString("steps"), kInt8);
  EXPECT_EQ(refused[0].getAsObject()->getString("why"), "no such type");
}

TEST(AutoSearch, SaysWhyNothingFits) {
  Fake fake;
  EXPECT_EQ(fake.search("auto{bytes=50%,max-loss=1}"),
            "--compress=auto: no recipe fits this model: no such type "
            "(quantize{int8}); no such shape "
            "(factorize-experts{ratio=50%,multiple=32,weighted=true,power=0.5"
            "})");
}

TEST(AutoSearch, MeasuresTheBestOfEachKind) {
  Fake fake;
  fake.measures = true;
  fake.figures = {{kInt8, {300, 0.01, 0.001}},
                  {kInt4, {150, 0.1, 0.02}},
                  {kNf4, {150, 0.2, 0.01}},
                  {kMerge, {400, 0.6, 0.5}},
                  {kHalf, {500, 0.5, 0.01}}};
  EXPECT_EQ(fake.search("auto{bytes=45%,max-loss=1}"), kInt8);
  EXPECT_EQ(fake.measured,
            (std::vector<std::string>{kInt8, kMerge, kInt4, kNf4}));
  // Of an equal loss, the smaller.
  fake.figures[kInt8].loss = 0.01;
  EXPECT_EQ(fake.search("auto{bytes=45%,max-loss=1}"), kNf4);
  EXPECT_EQ(fake.search("auto{bytes=45%,max-loss=0.001}"),
            "--compress=auto: the best recipe within 45% of the bytes, " +
                kNf4 +
                ", loses 0.0100 bits per byte, more than max-loss=0.001");
}

TEST(AutoSearch, MeasuresAnotherWhereOneFails) {
  Fake fake;
  fake.measures = true;
  fake.figures = {{kInt8, {300, 0.01, 7}},
                  {kInt4, {150, 0.1, NAN}},
                  {kNf4, {150, 0.2, 0.3}},
                  {kMerge, {400, 0.6, 0.5}}};
  EXPECT_EQ(fake.search("auto{bytes=45%,max-loss=1}"), kNf4);
  EXPECT_EQ(fake.measured,
            (std::vector<std::string>{kInt8, kInt4, kNf4, kMerge}));
  EXPECT_EQ(fake.trials.tried.size(), 2u) << "what cannot run is no candidate";
  std::string text = fake.printed();
  EXPECT_NE(text.find("\nrefused: disk full\n         quantize{int8}\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\nrefused: its loss is no finite number\n         " +
                      kInt4 + "\n"),
            std::string::npos)
      << text;
}

TEST(AutoSearch, NeverChoosesWhatCouldNotBeMeasured) {
  Fake fake;
  fake.measures = true;
  fake.figures = {{kInt8, {300, 0.01, 7}}, {kMerge, {900, 0.6, 0.5}}};
  EXPECT_EQ(fake.search("auto{bytes=45%,max-loss=1}"),
            "--compress=auto: no recipe within 45% of the bytes can be "
            "measured: disk full (quantize{int8})");
  EXPECT_EQ(fake.trials.chosen, "");
}

TEST(AutoSearch, LeavesOffWhereNothingCanBeMeasured) {
  Fake fake;
  fake.search("auto{bytes=50%,max-loss=1}"); // to know the names
  fake.measures = true;
  std::vector<std::string> known = fake.tried;
  for (const std::string &shape : {kMerge, kHalf}) {
    fake.figures[shape] = {700, 0.5, 7};
    for (StringRef storage : ArrayRef(known).take_front(6))
      fake.figures[joinSteps(shape, storage)] = {300, 0.5, 7};
  }
  for (const std::string &storage : ArrayRef(known).take_front(6))
    fake.figures[storage] = {300, 0.5, 7};
  std::string why = fake.search("auto{bytes=50%,max-loss=1}");
  EXPECT_TRUE(StringRef(why).starts_with(
      "--compress=auto: no recipe within 50% of the bytes can be measured: "
      "disk full (quantize{int8})"))
      << why;
  EXPECT_EQ(fake.measured.size(), 12u);
}

TEST(AutoSearch, MarksTheFront) {
  Fake fake;
  fake.figures = {{kInt8, {300, 0.01}},
                  {kInt4, {150, 0.1}},
                  {kNf4, {150, 0.1}},
                  {kMxfp4, {140, 0.4}},
                  {kMerge, {300, 0.3}}};
  EXPECT_EQ(fake.search("auto{bytes=20%,max-loss=1}"), kNf4);
  std::string text = fake.printed();
  StringRef table = StringRef(text).take_front(text.find("refused: "));
  EXPECT_EQ(table,
            "   bytes  output error  loss measured  recipe (* on the front, > "
            "chosen)\n"
            "  30.00%        0.0100              -  * quantize{int8}\n"
            "  15.00%        0.1000              - >* "
            "quantize{nf4,mode=aware}\n"
            "  15.00%        0.1000              -    "
            "quantize{int4,mode=aware}\n"
            "  30.00%        0.3000              -    "
            "merge-experts{ratio=25%}\n"
            "  14.00%        0.4000              -  * "
            "quantize{mxfp4,mode=aware}\n");
  json::Array list = fake.trials.toJSON();
  ASSERT_EQ(list.size(), 5u);
  EXPECT_EQ(list[1].getAsObject()->getBoolean("chosen"), true);
  EXPECT_EQ(list[1].getAsObject()->getNumber("share"), 0.15);
  EXPECT_EQ(list[3].getAsObject()->getBoolean("front"), false);
  EXPECT_EQ(list[0].getAsObject()->get("loss"), nullptr);
}
