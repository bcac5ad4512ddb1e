#include "runtime/Bank/Profile.h"
#include "runtime/Bank/Safetensors.h"
#include "runtime/Core/File.h"
#include "runtime/Core/Json.h"
#include "runtime/Core/Measures.h"
#include "runtime/Core/Sample.h"
#include "runtime/Runner/Random.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace moe::rt;

namespace {

template <typename T>
ProfileTensor tensor(const std::string &name, int32_t dtype,
                     std::vector<int64_t> shape, std::vector<T> values) {
  return {name, dtype, std::move(shape),
          std::string(reinterpret_cast<const char *>(values.data()),
                      values.size() * sizeof(T))};
}

Profile small(std::vector<uint64_t> keys = {3, 5}) {
  std::vector<float> rows;
  for (uint64_t key : keys)
    rows.push_back(static_cast<float>(key) * 10);
  int64_t n = static_cast<int64_t>(keys.size());
  Profile profile = {"m", "abc", 7, {}};
  profile.layers.push_back(
      {"layers.0 \"x\"",
       {tensor<int64_t>("counts", MOE_I64, {3}, {1, 0, 4}),
        tensor<int64_t>("tokens", MOE_I64, {1}, {5}),
        tensor<double>("score_sum", MOE_F64, {3}, {0.5, 1.5, 3}),
        tensor<float>("sample", MOE_F32, {n, 1}, rows),
        tensor<uint64_t>("sample_keys", MOE_U64, {n}, keys)}});
  return profile;
}

std::string path(const char *name) { return testing::TempDir() + name; }

std::string bytesOf(const Profile &profile) {
  std::string file = path("profile.moeprof");
  EXPECT_TRUE(writeProfile(profile, file).ok());
  auto bytes = readFile(file);
  EXPECT_TRUE(bytes);
  return std::string(bytes->view());
}

std::string errorOf(const std::string &bytes) {
  auto parsed = parseProfile(bytes, "f");
  EXPECT_FALSE(parsed);
  return parsed.error().message;
}

/// What reading says of a profile that was changed.
std::string errorAfter(void (*change)(Profile &)) {
  Profile profile = small();
  change(profile);
  return errorOf(bytesOf(profile));
}

std::string addError(void (*change)(Profile &)) {
  Profile into = small(), from = small();
  change(from);
  std::string before = bytesOf(into);
  Status status = addProfile(into, from, "f");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(bytesOf(into), before);
  return status.message;
}

moert_tensor values(int32_t dtype, std::vector<int64_t> shape, void *data) {
  moert_tensor out = {data, dtype, static_cast<int32_t>(shape.size()), {}};
  std::copy(shape.begin(), shape.end(), out.shape);
  return out;
}

} // namespace

TEST(Profile, ReadsWhatItWrites) {
  auto read = parseProfile(bytesOf(small()), "f");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->model, "m");
  EXPECT_EQ(read->fingerprint, "abc");
  EXPECT_EQ(read->seed, 7u);
  ASSERT_EQ(read->layers.size(), 1u);
  const ProfileLayer *layer = read->find("layers.0 \"x\"");
  ASSERT_TRUE(layer);
  EXPECT_EQ(layer->experts(), 3);
  EXPECT_EQ(layer->width(), 1);
  EXPECT_EQ(layer->numbers("counts"), (std::vector<double>{1, 0, 4}));
  EXPECT_EQ(layer->numbers("score_sum"), (std::vector<double>{0.5, 1.5, 3}));
  EXPECT_TRUE(layer->numbers("weight_sum").empty());
}

TEST(Profile, AddsUp) {
  Profile into = small({1, 3, 9}), from = small({2, 3});
  from.layers.push_back({"other", {from.layers[0].tensors[0]}});
  ASSERT_TRUE(addProfile(into, from, "f").ok());
  const ProfileLayer &layer = into.layers[0];
  EXPECT_EQ(layer.numbers("counts"), (std::vector<double>{2, 0, 8}));
  EXPECT_EQ(layer.numbers("score_sum"), (std::vector<double>{1, 3, 6}));
  const ProfileTensor *keys = layer.find("sample_keys");
  ASSERT_EQ(keys->shape, (std::vector<int64_t>{4}));
  const uint64_t wanted[] = {1, 2, 3, 9};
  EXPECT_EQ(std::memcmp(keys->bytes.data(), wanted, sizeof(wanted)), 0);
  const float *rows = layer.find("sample")->as<float>();
  EXPECT_EQ(std::vector<float>(rows, rows + 4),
            (std::vector<float>{10, 20, 30, 90}));
  EXPECT_TRUE(into.find("other"));
  EXPECT_TRUE(checkProfile(into, "sum").ok());
}

// Older files do not say which router they are of, and add up all the same.
TEST(Profile, KeepsTheRouterOfEither) {
  Profile with = small(), without = small();
  std::vector<uint8_t> hash(32, 7);
  with.layers[0].tensors.push_back(tensor("router", MOE_U8, {32}, hash));
  auto read = parseProfile(bytesOf(with), "f");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->layers[0].router(), std::string(32, 7));
  EXPECT_EQ(without.layers[0].router(), "");
  ASSERT_TRUE(addProfile(without, with, "f").ok());
  EXPECT_EQ(without.layers[0].router(), std::string(32, 7));
  EXPECT_EQ(without.layers[0].numbers("counts")[2], 8);
  ASSERT_TRUE(addProfile(with, small(), "f").ok());
  EXPECT_EQ(with.layers[0].router(), std::string(32, 7));
  with.layers[0].tensors.back().shape = {16};
  with.layers[0].tensors.back().bytes.resize(16);
  EXPECT_EQ(errorOf(bytesOf(with)),
            "'f': 'router' of layer 'layers.0 \"x\"' has the shape [16], which "
            "does not fit the others");
}

TEST(Profile, RefusesToAddAnotherRouter) {
  Profile into = small(), from = small();
  for (Profile *profile : {&into, &from})
    profile->layers[0].tensors.push_back(
        tensor("router", MOE_U8, {32}, std::vector<uint8_t>(32, 7)));
  EXPECT_TRUE(addProfile(into, from, "f").ok());
  from.layers[0].tensors.back().bytes[5] = 8;
  std::string before = bytesOf(into);
  EXPECT_EQ(addProfile(into, from, "f").message,
            "profile 'f' is of another router of layer 'layers.0 \"x\"': what "
            "two routers chose cannot be added up");
  EXPECT_EQ(bytesOf(into), before);
}

TEST(Profile, RefusesToAddWhatDoesNotFit) {
  EXPECT_EQ(addError([](Profile &p) { p.fingerprint = "0123456789abcdef"; }),
            "profile 'f' is of another model, 'm' (0123456789ab), not of 'm' "
            "(abc)");
  EXPECT_EQ(addError([](Profile &p) { p.seed = 8; }),
            "profile 'f' samples with seed 8, not with 7: their samples cannot "
            "be merged");
  EXPECT_EQ(addError([](Profile &p) {
              p.layers[0].tensors.erase(p.layers[0].tensors.begin() + 2);
            }),
            "profile 'f' lacks 'score_sum' of layer 'layers.0 \"x\"', which "
            "was measured here: models compiled with another --instrument "
            "cannot share a profile");
  EXPECT_EQ(addError([](Profile &p) {
              p.layers[0].tensors.push_back(
                  tensor<double>("weight_sum", MOE_F64, {3}, {1, 2, 3}));
            }),
            "profile 'f' has 'weight_sum' of layer 'layers.0 \"x\"', which was "
            "not measured here: models compiled with another --instrument "
            "cannot share a profile");
  EXPECT_EQ(addError([](Profile &p) {
              p.layers[0].tensors[0].shape = {2};
              p.layers[0].tensors[0].bytes.resize(16);
            }),
            "profile 'f' has 'counts' of shape [2] for layer 'layers.0 "
            "\"x\"', not [3]");
}

TEST(Profile, SaysWhatIsWrong) {
  EXPECT_EQ(errorOf(""), "'f': an empty file, not an expert profile");
  EXPECT_EQ(errorOf("{\"format\": \"moe-profile\"}"),
            "'f': not an expert profile of version 2; JSON profiles of version "
            "1 are not read any more");
  EXPECT_EQ(errorOf(safetensorsHeader({}, {})),
            "'f': not an expert profile, but other tensors");
  std::string good = bytesOf(small());
  EXPECT_EQ(errorOf(good.substr(0, good.size() - 1)),
            "'f': truncated: tensor 'layers.0.sample_keys' ends at 80, there "
            "are 79 bytes of data");
  EXPECT_EQ(errorOf(good.substr(0, 40)).substr(0, 27),
            "'f': not a safetensors file");
  auto metadata = [](const char *version) {
    return safetensorsHeader({{"format", "moe-profile"}, {"version", version}},
                             {});
  };
  EXPECT_EQ(errorOf(metadata("3.0")),
            "'f': a profile of version '3.0', but 2 is read here");
  EXPECT_EQ(errorOf(metadata("2.2")), "'f': a profile of version '2.2', newer "
                                      "than 2.1, which this program knows");
  EXPECT_EQ(errorOf(metadata("2.0")), "'f': a profile without 'model'");
  EXPECT_EQ(errorOf(metadata("2.1")), "'f': a profile without 'model'");
  EXPECT_EQ(errorAfter([](Profile &p) {
              p.layers[0].tensors.erase(p.layers[0].tensors.begin());
            }),
            "'f': layer 'layers.0 \"x\"' has no counts");
  EXPECT_EQ(errorAfter([](Profile &p) {
              p.layers[0].tensors[2].shape = {2};
              p.layers[0].tensors[2].bytes.resize(16);
            }),
            "'f': 'score_sum' of layer 'layers.0 \"x\"' has the shape [2], "
            "which does not fit the others");
  EXPECT_EQ(errorAfter([](Profile &p) {
              std::swap(p.layers[0].tensors[4].bytes[0],
                        p.layers[0].tensors[4].bytes[8]);
            }),
            "'f': 'sample_keys' of layer 'layers.0 \"x\"' does not ascend");
  EXPECT_EQ(errorAfter([](Profile &p) { p.layers[0].tensors.pop_back(); }),
            "'f': 'sample' of layer 'layers.0 \"x\"' is there without its "
            "other half");
  EXPECT_EQ(errorAfter([](Profile &p) { p.layers.push_back(p.layers[0]); }),
            "'f': has two layers 'layers.0 \"x\"'");
}

// Such sums would decide about experts all the same.
TEST(Profile, RefusesImpossibleNumbers) {
  auto with = [](ProfileTensor added) {
    Profile profile = small();
    ProfileLayer &layer = profile.layers[0];
    for (ProfileTensor &tensor : layer.tensors)
      if (tensor.name == added.name) {
        tensor = added;
        return errorOf(bytesOf(profile));
      }
    layer.tensors.push_back(std::move(added));
    return errorOf(bytesOf(profile));
  };
  auto message = [](const char *measure, const char *what) {
    return std::string("'f': '") + measure + "' of layer 'layers.0 \"x\"' " +
           what;
  };
  double nan = NAN;
  EXPECT_EQ(with(tensor<int64_t>("counts", MOE_I64, {3}, {1, 0, -4})),
            message("counts", "is negative at 2"));
  EXPECT_EQ(with(tensor<double>("score_sum", MOE_F64, {3}, {1, nan, 2})),
            message("score_sum", "is not finite at 1"));
  EXPECT_EQ(with(tensor<float>("sample", MOE_F32, {2, 1}, {1, INFINITY})),
            message("sample", "is not finite at 1"));
  EXPECT_EQ(
      with(tensor<double>("input_square_sum", MOE_F64, {3, 1}, {1, -1e-9, 2})),
      message("input_square_sum", "is negative at 1"));
  EXPECT_EQ(with(tensor<double>("logit_gram", MOE_F64, {3, 3},
                                {1, -1, -1, -1, 1, -1, -1, -1, -1})),
            message("logit_gram", "is negative at 8"));
  EXPECT_EQ(with(tensor<double>("block_cosine", MOE_F64, {2}, {1, -1})),
            message("block_cosine", "is negative at 1"));
  // Logits, and cosines, may be negative.
  Profile good = small();
  good.layers[0].tensors[2] =
      tensor<double>("score_sum", MOE_F64, {3}, {-1, 0, -2});
  good.layers[0].tensors.push_back(
      tensor<double>("block_cosine", MOE_F64, {2}, {-1, 2}));
  good.layers[0].tensors.push_back(tensor<double>(
      "logit_gram", MOE_F64, {3, 3}, {1, -1, 0, -1, 1, 0, 0, 0, 0}));
  EXPECT_TRUE(checkProfile(good, "f").ok());
}

TEST(Profile, NamesEachTensorOnce) {
  Profile twice = small();
  twice.layers[0].tensors.push_back(twice.layers[0].tensors[0]);
  EXPECT_EQ(checkProfile(twice, "f").message,
            "'f': 'counts' of layer 'layers.0 \"x\"' is there twice");
  std::map<std::string, std::string> metadata = {
      {"format", "moe-profile"}, {"version", "2.1"}, {"model", "m"},
      {"fingerprint", ""},       {"seed", "0"},      {"layers", "[\"x\"]"}};
  std::vector<ArchiveTensor> tensors = {{"layers.0.counts", "I64", {1}, 0, 8},
                                        {"layers.00.counts", "I64", {1}, 0, 8}};
  EXPECT_EQ(errorOf(safetensorsHeader(metadata, tensors) + std::string(16, 0)),
            "'f': tensor 'layers.00.counts' belongs to no layer");
}

TEST(Profile, SurvivesMutations) {
  Random random(5);
  std::string good = bytesOf(small());
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = good;
    for (uint64_t edits = 1 + random.below(3); edits; --edits)
      bytes[random.below(bytes.size())] = static_cast<char>(
          random.below(2) ? random.next() : "{}[]\",:09-e"[random.below(11)]);
    if (random.below(8) == 0)
      bytes.resize(random.below(bytes.size() + 1));
    refused += !parseProfile(bytes, "f");
  }
  EXPECT_GT(refused, 2500);
}

TEST(Profile, MedianOfRatios) {
  Profile profile = small();
  std::vector<int64_t> bins(1025);
  bins[100] = 3, bins[1024] = 2;
  ProfileLayer &layer = profile.layers[0];
  EXPECT_FALSE(layer.medianRatio());
  layer.tensors.push_back(tensor("ratio_histogram", MOE_I64, {1025}, bins));
  EXPECT_EQ(*layer.medianRatio(), 100.5 / 1024);
}

TEST(Sample, DependsOnRowsAlone) {
  Random random(1);
  std::vector<std::array<float, 3>> rows(5000);
  for (auto &row : rows)
    for (float &value : row)
      value = static_cast<float>(random.unit());
  rows[7] = rows[4000]; // counts once
  auto sampled = [&](size_t from, size_t to, size_t step) {
    Sample sample(42, 3);
    for (size_t i = from; i < to; i += step)
      sample.add(rows[i].data());
    return sample;
  };
  std::vector<uint64_t> keys, more;
  std::vector<float> values, others;
  sampled(0, rows.size(), 1).write(keys, values);
  ASSERT_EQ(keys.size(), Sample::most);
  std::reverse(rows.begin(), rows.end());
  sampled(0, rows.size(), 1).write(more, others);
  EXPECT_EQ(keys, more);
  EXPECT_EQ(values, others);
  std::vector<uint64_t> all;
  for (const auto &row : rows)
    all.push_back(sampleKey(42, row.data(), 3));
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  EXPECT_EQ(all.size(), rows.size() - 1);
  all.resize(Sample::most);
  EXPECT_EQ(keys, all);
}

TEST(Measures, IgnoreEmptySlotsAndCountTheRest) {
  int32_t ids[] = {0, 2, 2, -1, -1, -1, 9, 1};
  float weights[] = {0.75f, 0.25f, 1, 0, 0, 0, 0.5f, 0.5f};
  moert_tensor tensors[] = {values(MOERT_I32, {4, 2}, ids),
                            values(MOERT_F32, {4, 2}, weights)};
  LayerMeasures layer("l", 0);
  ASSERT_EQ(layer.add(MOERT_CHOICE, 0, 3, tensors, 2), Code::Ok);
  std::vector<moe_layer_measure> list;
  layer.list(list);
  ASSERT_EQ(list.size(), 5u);
  auto at = [&](size_t i, size_t e) {
    return static_cast<const int64_t *>(list[i].value.data)[e];
  };
  EXPECT_STREQ(list[0].name, "counts");
  EXPECT_EQ(at(0, 0), 1);
  EXPECT_EQ(at(0, 1), 1);
  EXPECT_EQ(at(0, 2), 2);
  EXPECT_EQ(at(1, 0), 4); // tokens
  EXPECT_STREQ(list[3].name, "ratio_histogram");
  EXPECT_EQ(at(3, 341), 1); // 0.25 / 0.75
  EXPECT_EQ(at(3, 0), 2);   // one expert only
  EXPECT_STREQ(list[4].name, "coactivation");
  EXPECT_EQ(at(4, 0 * 3 + 2), 1);
  EXPECT_EQ(at(4, 2 * 3 + 2), 2);
  EXPECT_EQ(at(4, 1 * 3 + 2), 0);
}

TEST(Measures, CosinesOfKnownVectors) {
  float before[] = {1, 0, 1, 0}, after[] = {1, 0.1f, 1, 1};
  moert_tensor tensors[] = {values(MOERT_F32, {1, 2, 2}, before),
                            values(MOERT_F32, {1, 2, 2}, after)};
  LayerMeasures layer("l", 0);
  ASSERT_EQ(layer.add(MOERT_SUBLAYER_COSINE, 0, 2, tensors, 2), Code::Ok);
  std::vector<moe_layer_measure> list;
  layer.list(list);
  const auto *sums = static_cast<const double *>(list[0].value.data);
  // He et al. (arXiv 2406.02500), the fixture of their measure: 0.995037 and
  // 0.707107.
  EXPECT_NEAR(sums[0], 0.995037 + 0.707107, 1e-6);
  EXPECT_EQ(sums[1], 2);
}

TEST(Measures, ScoresOverAllExperts) {
  double logits[] = {0, std::log(3.0)};
  moert_tensor one = values(MOERT_F64, {1, 2}, logits);
  auto sums = [&](int32_t score) {
    LayerMeasures layer("l", 0);
    EXPECT_EQ(layer.add(MOERT_LOGITS, score, 2, &one, 1), Code::Ok);
    std::vector<moe_layer_measure> list;
    layer.list(list);
    EXPECT_STREQ(list[0].name, "score_sum");
    const auto *data = static_cast<const double *>(list[0].value.data);
    return std::vector<double>{data[0], data[1]};
  };
  EXPECT_NEAR(sums(MOERT_SCORE_SOFTMAX)[1], 0.75, 1e-15);
  EXPECT_NEAR(sums(MOERT_SCORE_SIGMOID)[0], 0.5, 1e-15);
  EXPECT_NEAR(sums(MOERT_SCORE_SIGMOID)[1], 0.75, 1e-15);
  EXPECT_EQ(sums(MOERT_SCORE_NONE)[1], std::log(3.0));
}

TEST(Measures, RefuseLayersThatDiffer) {
  int32_t ids[] = {0};
  moert_tensor one = values(MOERT_I32, {1, 1}, ids);
  LayerMeasures layer("l", 0);
  EXPECT_EQ(layer.add(MOERT_CHOICE, 0, 3, &one, 1), Code::Ok);
  EXPECT_EQ(layer.add(MOERT_CHOICE, 0, 4, &one, 1), Code::InvalidArgument);
  LayerMeasures large("l", 0);
  moert_tensor two[] = {one, one};
  EXPECT_EQ(large.add(MOERT_CHOICE, 0, int64_t(1) << 20, two, 2),
            Code::OutOfMemory);
}

TEST(Json, ParsesAndRefuses) {
  auto json = parseJson(R"( {"a": [1, -2.5e3, "x\u00e9\ud83d\ude00\n"],
                            "b": {"c": null, "d": true}} )");
  ASSERT_TRUE(json);
  const Json *list = json->find("a");
  ASSERT_TRUE(list && list->items.size() == 3);
  EXPECT_EQ(list->items[0].asUnsigned(), 1u);
  EXPECT_FALSE(list->items[1].asUnsigned());
  EXPECT_EQ(list->items[2].text, "x\xc3\xa9\xf0\x9f\x98\x80\n");
  EXPECT_FALSE(json->hasDuplicates());
  EXPECT_TRUE(parseJson(R"([{"a": 1, "b": 2, "a": 3}])")->hasDuplicates());
  for (const char *bad :
       {"", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "01", "1.", "-", "1e", "tru",
        "\"\\x\"", "\"\\ud800\"", "\"a\nb\"", "[1] 2", "'a'"})
    EXPECT_FALSE(parseJson(bad)) << bad;
  EXPECT_EQ(jsonString("\xc3\xa9\xff"), "\"\xc3\xa9\\u00ff\"");
}

// What a terminal must not see is escaped, and comes back as it was.
TEST(Json, EscapesHostileCharactersWhole) {
  EXPECT_EQ(jsonString("\xe2\x80\x8b\xc2\x85\x7f"),
            "\"\\u200b\\u0085\\u007f\"");
  Random random(3);
  for (int i = 0; i < 20000; ++i) {
    unsigned point = static_cast<unsigned>(random.below(
        i % 2 ? 0x110000 : 0x2100)); // half of them near the hostile ones
    if (point >= 0xD800 && point < 0xE000)
      continue;
    std::string text = "x";
    auto byte = [&](unsigned value) { text += static_cast<char>(value); };
    if (point < 0x80) {
      byte(point);
    } else if (point < 0x800) {
      byte(0xC0 | point >> 6);
      byte(0x80 | (point & 0x3F));
    } else {
      byte(point < 0x10000 ? 0xE0 | point >> 12 : 0xF0 | point >> 18);
      if (point >= 0x10000)
        byte(0x80 | (point >> 12 & 0x3F));
      byte(0x80 | (point >> 6 & 0x3F));
      byte(0x80 | (point & 0x3F));
    }
    auto back = parseJson(jsonString(text + "y"));
    ASSERT_TRUE(back) << point;
    EXPECT_EQ(back->text, text + "y") << point;
  }
}
