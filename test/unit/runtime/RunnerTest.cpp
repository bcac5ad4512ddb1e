// Options, roles, sampling, scoring, comparison.
#include "runtime/Core/Json.h"
#include "runtime/Runner/Compare.h"
#include "runtime/Runner/Options.h"
#include "runtime/Runner/Roles.h"
#include "runtime/Runner/TokenBits.h"

#include <cmath>
#include <gtest/gtest.h>
#include <map>

using namespace moe::rt;

namespace {

Result<Options> parse(std::vector<const char *> arguments,
                      bool withModel = false) {
  arguments.insert(arguments.begin(), "model");
  return parseOptions(static_cast<int>(arguments.size()), arguments.data(),
                      withModel);
}

/// A port that owns its texts.
struct Port {
  Port(std::string name, int32_t dtype, std::vector<std::string> sizes)
      : name(std::move(name)), symbols(std::move(sizes)) {
    for (std::string &symbol : symbols) {
      bool fixed = !symbol.empty() && std::isdigit(symbol[0]);
      dims.push_back(fixed ? std::stoll(symbol) : -1);
      if (fixed)
        symbol.clear();
    }
    for (const std::string &symbol : symbols)
      names.push_back(symbol.c_str());
    port = {this->name.c_str(), dtype, static_cast<int32_t>(dims.size()),
            dims.data(), names.data()};
  }
  Port(const Port &) = delete;

  std::string name;
  std::vector<std::string> symbols;
  std::vector<int64_t> dims;
  std::vector<const char *> names;
  moe_port port;
};

} // namespace

TEST(Options, ParsesEveryForm) {
  auto options =
      parse({"--input", "a=b.npy", "--input=x=y=z.npy", "--threads=3", "--rtol",
             "0.5", "--bench=7", "--dim", "seq=12", "-help"});
  ASSERT_TRUE(options) << options.error().message;
  ASSERT_EQ(options->inputs.size(), 2u);
  EXPECT_EQ(options->inputs[0], Assignment("a", "b.npy"));
  EXPECT_EQ(options->inputs[1], Assignment("x", "y=z.npy"));
  EXPECT_EQ(options->threads, 3);
  EXPECT_EQ(options->rtol, 0.5);
  EXPECT_TRUE(options->bench && options->help);
  EXPECT_EQ(options->benchRuns, 7);
  auto run = parse({"m.so", "--generate", "--prompt", "--x", "--seed",
                    "18446744073709551615"},
                   true);
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_EQ(run->model, "m.so");
  EXPECT_EQ(run->prompt, "--x");
  EXPECT_EQ(run->seed, UINT64_MAX);
}

TEST(Options, SaysWhatIsWrong) {
  auto error = [](std::vector<const char *> arguments, bool withModel = false) {
    auto options = parse(std::move(arguments), withModel);
    EXPECT_FALSE(options);
    return options.error().message;
  };
  EXPECT_EQ(error({"--nope"}), "unknown option '--nope'");
  EXPECT_EQ(error({"x.onnx"}), "unexpected argument 'x.onnx'");
  EXPECT_EQ(error({"a", "b"}, true), "unexpected argument 'b'");
  EXPECT_EQ(error({}, true),
            "which model? Give an .onnx file, or a library or a bundle made by "
            "moe-opt");
  EXPECT_EQ(error({"--input"}), "--input needs a value: NAME=FILE.npy");
  EXPECT_EQ(error({"--input", "x"}),
            "--input: 'x' is not of the form name=value");
  EXPECT_EQ(error({"--threads", "0"}),
            "--threads: '0' is not a whole number from 1 to 1024");
  EXPECT_EQ(error({"--threads", "-1"}),
            "--threads: '-1' is not a whole number from 1 to 1024");
  EXPECT_EQ(error({"--rtol", "nan"}), "--rtol: 'nan' is not a number >= 0");
  EXPECT_EQ(error({"--seed", "99999999999999999999"}),
            "--seed: '99999999999999999999' is not a whole number >= 0");
  EXPECT_EQ(error({"--generate=1"}), "--generate takes no value");
  EXPECT_EQ(error({"--generate", "--bench"}),
            "--generate, --eval and --bench exclude each other");
}

TEST(Roles, FindsThoseOfADecoderByName) {
  Port ids("input_ids", MOE_I64, {"batch", "seq"});
  Port mask("attention_mask", MOE_I64, {"batch", "total"});
  Port positions("position_ids", MOE_I64, {"batch", "seq"});
  Port key("past_key_values.0.key", MOE_F32, {"batch", "2", "past", "32"});
  Port value("past_key_values.0.value", MOE_F32, {"batch", "2", "past", "32"});
  Port logits("logits", MOE_F32, {"batch", "seq", "256"});
  Port newValue("present.0.value", MOE_F32, {"batch", "2", "total", "32"});
  Port newKey("present.0.key", MOE_F32, {"batch", "2", "total", "32"});
  Roles roles = findRoles(
      {&mask.port, &positions.port, &key.port, &value.port, &ids.port},
      {&newValue.port, &newKey.port, &logits.port}, {});
  EXPECT_EQ(roles.tokens, "input_ids");
  EXPECT_EQ(roles.mask, "attention_mask");
  EXPECT_EQ(roles.positions, "position_ids");
  EXPECT_EQ(roles.logits, "logits");
  EXPECT_EQ(roles.vocabulary, 256);
  ASSERT_EQ(roles.caches.size(), 2u);
  EXPECT_EQ(roles.caches[0].second, "present.0.key");
  EXPECT_EQ(roles.caches[1].second, "present.0.value");
  EXPECT_TRUE(roles.others.empty());
}

TEST(Roles, FindsThoseOfADecoderByStructure) {
  Port a("a", MOE_I64, {"b", "s"});
  Port b("b", MOE_I64, {"b", "t"});
  Port c("c", MOE_I64, {"b", "s"});
  Port d("d", MOE_F32, {"b", "2", "p", "32"});
  Port e("e", MOE_F32, {"b", "2", "p", "32"});
  Port out("out", MOE_F32, {"b", "s", "256"});
  Port f("f", MOE_F32, {"b", "2", "t", "32"});
  Port g("g", MOE_F32, {"b", "2", "t", "32"});
  Roles roles = findRoles({&a.port, &b.port, &c.port, &d.port, &e.port},
                          {&out.port, &f.port, &g.port}, {});
  EXPECT_EQ(roles.tokens, "a");
  EXPECT_EQ(roles.mask, "b");
  EXPECT_EQ(roles.positions, "c");
  EXPECT_EQ(roles.logits, "out");
  ASSERT_EQ(roles.caches.size(), 2u);
  EXPECT_EQ(roles.caches[0], Assignment("d", "f"));
  EXPECT_EQ(roles.caches[1], Assignment("e", "g"));
}

TEST(Roles, CachesGrowWhereTheSymbolChanges) {
  Port ids("input_ids", MOE_I64, {"batch", "seq"});
  Port past("past", MOE_F32, {"batch", "2", "past", "width"});
  Port present("present", MOE_F32, {"batch", "2", "total", "width"});
  EXPECT_EQ(growingAxis(past.port, present.port, &ids.port), 2);
  EXPECT_TRUE(isBatchAxis(past.port, 0, &ids.port));
  EXPECT_FALSE(isBatchAxis(past.port, 3, &ids.port));
  // Without symbols: the first axis is the batch, the last free one grows.
  Port bare("past", MOE_F32, {"", "2", "", "32"});
  EXPECT_EQ(growingAxis(bare.port, bare.port, &ids.port), 2);
  EXPECT_TRUE(isBatchAxis(bare.port, 0, &ids.port));
  Port fixed("past", MOE_F32, {"1", "2", "past", "32"});
  EXPECT_EQ(growingAxis(fixed.port, fixed.port, &ids.port), 2);
  EXPECT_FALSE(isBatchAxis(fixed.port, 0, &ids.port));
}

TEST(Roles, OverridesWinAndTheRestIsNamed) {
  Port a("input_ids", MOE_I64, {"b", "s"});
  Port b("mystery", MOE_I64, {"b", "s"});
  Port c("scale", MOE_F32, {"1"});
  Port out("y", MOE_F32, {"b", "s", "256"});
  Roles roles = findRoles({&a.port, &b.port, &c.port}, {&out.port},
                          {{"mystery", "tokens"}, {"input_ids", "positions"}});
  EXPECT_EQ(roles.tokens, "mystery");
  EXPECT_EQ(roles.positions, "input_ids");
  EXPECT_EQ(roles.others, std::vector<std::string>{"scale"});
  // A classifier has neither tokens nor logits of a vocabulary.
  Port image("image", MOE_F32, {"b", "3", "32", "32"});
  EXPECT_EQ(findRoles({&image.port}, {&out.port}, {}).tokens, "");
}

TEST(TokenBits, OfAToken) {
  double uniform[256] = {};
  EXPECT_DOUBLE_EQ(bitsOfToken(uniform, 256, 7), 8);
  double logits[] = {0, std::log(3.0)};
  EXPECT_NEAR(bitsOfToken(logits, 2, 0), 2, 1e-12);
  EXPECT_NEAR(bitsOfToken(logits, 2, 1), std::log2(4.0 / 3), 1e-12);
  double large[] = {1000, 1000};
  EXPECT_DOUBLE_EQ(bitsOfToken(large, 2, 0), 1);
  double broken[] = {0, NAN};
  EXPECT_TRUE(std::isnan(bitsOfToken(broken, 2, 0)));
}

TEST(Compare, CountsAndFindsTheWorst) {
  float got[] = {1, 2, 3.5f, NAN, INFINITY, 0};
  float want[] = {1, 2.1f, 3, NAN, INFINITY, 0};
  moe_tensor a = {got, MOE_F32, 2, {2, 3}}, b = {want, MOE_F32, 2, {2, 3}};
  Comparison result = compare(a, b, 0, 0.2);
  EXPECT_EQ(result.elements, 6);
  EXPECT_EQ(result.failed, 1);
  EXPECT_EQ(result.worst, 2);
  EXPECT_EQ(result.difference, 0.5);
  EXPECT_EQ(indexText(result.worst, a), "[0, 2]");
  EXPECT_EQ(compare(a, b, 1, 0).failed, 0);
  // NaN or infinity against a number is never within a tolerance.
  want[3] = 0;
  EXPECT_EQ(compare(a, b, 1e9, 1e9).failed, 1);
  want[3] = NAN;
  got[4] = 5;
  EXPECT_EQ(compare(a, b, 1e9, 1e9).failed, 1);
  // Types may differ, shapes may not.
  int64_t whole[] = {1, 2, 3};
  double wide[] = {1, 2, 3};
  EXPECT_EQ(
      compare({whole, MOE_I64, 1, {3}}, {wide, MOE_F64, 1, {3}}, 0, 0).failed,
      0);
  EXPECT_EQ(compare({whole, MOE_I64, 1, {3}}, {wide, MOE_F64, 2, {1, 3}}, 0, 0)
                .shapeMismatch,
            "is [3], expected [1, 3]");
}

TEST(Json, EscapesStrings) {
  EXPECT_EQ(jsonString("a\"b\\c\n\x01"), "\"a\\\"b\\\\c\\u000a\\u0001\"");
}
