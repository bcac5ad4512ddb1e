#include "runtime/Bank/Safetensors.h"
#include "runtime/Core/Json.h"
#include "runtime/Runner/Random.h"

#include <gtest/gtest.h>

using namespace moe::rt;

namespace {

std::string file(const std::string &header, size_t data) {
  std::string out;
  for (int i = 0; i < 8; ++i)
    out += static_cast<char>(header.size() >> 8 * i & 0xFF);
  return out + header + std::string(data, 'x');
}

const std::string good = file(R"({"__metadata__": {"format": "pt"},
 "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16]},
 "a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
 "empty": {"dtype": "I64", "shape": [0, 7], "data_offsets": [4, 4]}})",
                              16);

std::string error(const std::string &bytes) {
  auto parsed = parseSafetensors(bytes, "f");
  EXPECT_FALSE(parsed);
  return parsed.error().message;
}

} // namespace

TEST(Safetensors, ReadsTheHeader) {
  auto parsed = parseSafetensors(good, "f");
  ASSERT_TRUE(parsed) << parsed.error().message;
  ASSERT_EQ(parsed->tensors.size(), 3u);
  EXPECT_EQ(parsed->tensors[0].name, "a");
  EXPECT_EQ(parsed->tensors[1].name, "empty");
  EXPECT_EQ(parsed->tensors[2].name, "b");
  EXPECT_EQ(parsed->tensors[2].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(parsed->tensors[2].offset, good.size() - 12);
  EXPECT_EQ(parsed->tensors[2].size, 12u);
  EXPECT_EQ(parsed->metadata["format"], "pt");
  EXPECT_EQ(safetensorsType("BF16"), MOE_BF16);
  EXPECT_EQ(safetensorsType("F8_E4M3"), 0);
}

TEST(Safetensors, SaysWhatIsWrong) {
  auto one = [](const std::string &entry, size_t data = 4) {
    return error(file("{\"t\": " + entry + "}", data));
  };
  EXPECT_EQ(error("abc"),
            "'f': not a safetensors file: too short for a header");
  EXPECT_EQ(error("\x93NUMPY\x01\x01 and more"),
            "'f': not a safetensors file: its header would have "
            "72437270444330643 bytes");
  EXPECT_EQ(error(file("[]", 0)),
            "'f': not a safetensors file: its header is no JSON object");
  EXPECT_EQ(error(file("{\"a\": ", 0)), "'f': its header is malformed JSON");
  EXPECT_EQ(error(file("{\"a\":" + std::string(100000, '['), 0)),
            "'f': its header is malformed JSON");
  EXPECT_EQ(one(R"({"dtype": "F32", "shape": [1]})"),
            "'f': tensor 't' lacks dtype, shape or data_offsets");
  EXPECT_EQ(one(R"({"dtype": "F33", "shape": [1], "data_offsets": [0, 4]})"),
            "'f': tensor 't' has the unknown type 'F33'");
  EXPECT_EQ(one(R"({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]})"),
            "'f': tensor 't' has a size that is no whole number >= 0");
  EXPECT_EQ(one(R"({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]})"),
            "'f': tensor 't' has 4 bytes, its shape and type need 8");
  EXPECT_EQ(one(R"({"dtype": "F32", "shape": [4294967296, 4294967296],
                    "data_offsets": [0, 4]})"),
            "'f': tensor 't' has 4 bytes, its shape and type need more than "
            "2^64");
  std::string ones = "1";
  for (int i = 0; i < 64; ++i)
    ones += ",1";
  std::string deep = R"({"dtype": "F32", "data_offsets": [0, 4], "shape": [)";
  EXPECT_EQ(one(deep + ones + "]}"),
            "'f': tensor 't' has 65 dimensions, more than 64");
  EXPECT_TRUE(parseSafetensors(
      file("{\"t\": " + deep + ones.substr(2) + "]}}", 4), "f"));
  std::string many = "{\"t\":[1";
  for (size_t i = 2; i < mostJsonValues; ++i)
    many += ",1";
  EXPECT_EQ(error(file(many + "]}", 0)),
            "'f': tensor 't' lacks dtype, shape or data_offsets");
  EXPECT_EQ(error(file(many + ",1]}", 0)),
            "'f': its header has more than 4194304 values, which no file of "
            "weights needs");
  EXPECT_EQ(one(R"({"dtype": "F32", "shape": [1], "data_offsets": [4, 0]})"),
            "'f': tensor 't' has bad data_offsets");
  EXPECT_EQ(one(R"({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]})", 8),
            "'f': tensor 't' begins at 4 where 0 was expected: data must "
            "neither overlap nor leave holes");
  EXPECT_EQ(one(R"({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})", 3),
            "'f': truncated: tensor 't' ends at 4, there are 3 bytes of data");
  EXPECT_EQ(one(R"({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})", 9),
            "'f': has 5 bytes behind its last tensor");
  EXPECT_EQ(
      error(file(R"({"t": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                           "t": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})",
                 1)),
      "'f': its header holds a name twice");
}

TEST(Safetensors, SurvivesMutations) {
  Random random(5);
  int refused = 0;
  for (int i = 0; i < 10000; ++i) {
    std::string bytes = good;
    for (uint64_t edits = 1 + random.below(3); edits; --edits)
      bytes[random.below(bytes.size())] = static_cast<char>(
          random.below(2) ? random.next() : "{}[]\",:09-e"[random.below(11)]);
    if (random.below(8) == 0)
      bytes.resize(random.below(bytes.size() + 1));
    refused += !parseSafetensors(bytes, "f");
  }
  EXPECT_GT(refused, 5000);
}
