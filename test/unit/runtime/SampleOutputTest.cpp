// Outputs that stay on a device, and tokens of outputs wherever these are.
#include "runtime/Core/Session.h"
#include "test/unit/runtime/FakeModels.h"
#include "test/unit/runtime/FakeOffload.h"

#include <atomic>
#include <cmath>
#include <gtest/gtest.h>
#include <thread>

using namespace moe::rt;
using namespace moe::test;

namespace {

/// A session of a model whose first output is x + 1, or x + y with y = 1.
class Sums {
public:
  explicit Sums(const moert_model &model) : model(model) {
    moe_session_options options = {};
    options.threads = 1;
    auto created = Session::create(model, options);
    EXPECT_TRUE(created);
    session = std::move(*created);
  }

  Status run(std::vector<float> rows) {
    x = std::move(rows);
    ones.assign(x.size(), 1);
    auto n = static_cast<int64_t>(x.size()) / 4;
    EXPECT_TRUE(session->setInput("x", {x.data(), MOE_F32, 2, {n, 4}}).ok());
    if (model.num_inputs > 1)
      EXPECT_TRUE(
          session->setInput("y", {ones.data(), MOE_F32, 2, {n, 4}}).ok());
    return session->run();
  }

  const char *name() const { return model.outputs[0].name; }
  std::vector<float> output() {
    auto found = session->output(name());
    EXPECT_TRUE(found);
    auto *data = static_cast<const float *>(found->data);
    return {data, data + found->shape[0] * 4};
  }
  /// The tokens, or what is wrong.
  Result<std::vector<int64_t>> sample(const moe_sampling &sampling) {
    std::vector<int64_t> tokens(std::max(1u, sampling.sequences), -7);
    Status status = session->sample(name(), sampling, tokens.data());
    if (!status.ok())
      return status;
    return tokens;
  }
  std::string refusal(const moe_sampling &sampling) {
    return sample(sampling).error().message;
  }

  const moert_model &model;
  std::unique_ptr<Session> session;
  std::vector<float> x, ones;
};

moe_sampling sampling(uint32_t sequences, double temperature = 0,
                      uint64_t topK = 0, const double *uniform = nullptr) {
  return {sizeof(moe_sampling), sequences, temperature, topK, uniform};
}

using Tokens = std::vector<int64_t>;
using Rows = std::vector<float>;

} // namespace

TEST(SampleOutput, OutputsComeWhenTheyAreWanted) {
  Sums sums(deviceResultModel());
  FakeOffload &device = lastOffload();
  for (int n : {2, 5, 1}) {
    device.downloads = device.waits = 0;
    Rows rows(static_cast<size_t>(4 * n), static_cast<float>(n));
    ASSERT_TRUE(sums.run(rows).ok());
    EXPECT_EQ(device.downloads, 0);
    // What fails there fails the run.
    EXPECT_EQ(device.waits, 1);
    EXPECT_EQ(device.used, 16 * n);
    for (float &value : rows)
      value += 1;
    EXPECT_EQ(sums.output(), rows);
    EXPECT_EQ(sums.output(), rows);
    EXPECT_EQ(device.downloads, 1);
    EXPECT_EQ(device.used, 0);
  }
  // Nothing is kept of a run that failed, nor of one of nothing.
  EXPECT_EQ(sums.run({-200, 0, 0, 0}).message, "a small number");
  EXPECT_EQ(device.used, 0);
  ASSERT_TRUE(sums.run({1, 2, 3, 4}).ok());
  EXPECT_EQ(device.used, 16);
  sums.session->reset();
  EXPECT_EQ(device.used, 0);
  ASSERT_TRUE(sums.run({}).ok());
  EXPECT_EQ(sums.output(), Rows());
  EXPECT_EQ(device.used, 0);
}

TEST(SampleOutput, WhatIsFedBackComesFirst) {
  Sums sums(deviceResultModel());
  FakeOffload &device = lastOffload();
  ASSERT_TRUE(sums.session->feedBack("y", "x").ok());
  ASSERT_TRUE(sums.run({1, 2, 3, 4}).ok());
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(sums.session->run().ok());
  EXPECT_EQ(device.downloads, 3);
  EXPECT_EQ(device.used, 16);
  EXPECT_EQ(sums.output(), (Rows{5, 6, 7, 8}));
}

// Else their launches would never be the same twice.
TEST(SampleOutput, SessionsTakeTurnsOnADevice) {
  shareOffload(std::make_shared<FakeOffload>());
  std::vector<std::unique_ptr<Sums>> all;
  for (int i = 0; i < 3; ++i)
    all.push_back(std::make_unique<Sums>(deviceResultModel()));
  FakeOffload &device = lastOffload();
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (auto &sums : all)
    users.emplace_back([&sums = *sums, &wrong] {
      for (int i = 0; i < 300; ++i) {
        Rows rows(4096, static_cast<float>(i));
        bool isRight = sums.run(rows).ok();
        wrong += !isRight || sums.output()[4095] != static_cast<float>(i + 1);
      }
    });
  for (std::thread &user : users)
    user.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(device.interruptions, 0);
  EXPECT_EQ(device.used, 0);
  all.clear();
  shareOffload(nullptr);
}

TEST(SampleOutput, TakesTheLastRowOfEachSequence) {
  for (int where : {0, 1, 2}) { // the processor, a device, one that cannot
    Sums sums(where ? deviceResultModel() : addModel());
    if (where)
      lastOffload().samples = where == 1;
    ASSERT_TRUE(sums.run({9, 0, 0, 0, //
                          0, 5, 6, 6, //
                          0, 7, 0, 0, //
                          8, 1, 0, -3})
                    .ok());
    EXPECT_EQ(*sums.sample(sampling(0)), Tokens{0});
    EXPECT_EQ(*sums.sample(sampling(1)), Tokens{0});
    EXPECT_EQ(*sums.sample(sampling(2)), (Tokens{2, 0}));
    EXPECT_EQ(*sums.sample(sampling(4)), (Tokens{0, 2, 1, 0}));
    // Weights of the last row are 1, exp(-7)...
    const double uniform[] = {0.9985, 0.9995};
    EXPECT_EQ(*sums.sample(sampling(1, 1, 0, uniform)), Tokens{0});
    EXPECT_EQ(*sums.sample(sampling(1, 1, 0, uniform + 1)), Tokens{1});
    EXPECT_EQ(*sums.sample(sampling(1, 1, 1, uniform + 1)), Tokens{0});
    // Those of row 1 are exp(-1 / 0.5), 1 and 1.
    EXPECT_EQ(*sums.sample(sampling(2, 0.5, 3, uniform)), (Tokens{3, 0}));
    // Logits came down where they had to.
    if (where)
      EXPECT_EQ(lastOffload().downloads, where == 2);
  }
}

TEST(SampleOutput, SaysWhatIsWrong) {
  Sums sums(addModel());
  EXPECT_EQ(sums.refusal(sampling(1)), "there is no output 'sum' before a run");
  ASSERT_TRUE(sums.run({1, 2, 3, 4, 5, 6, 7, 8, 1, 1, NAN, 1}).ok());
  EXPECT_EQ(sums.refusal(sampling(2)),
            "output 'sum' is float32 [3, 4], which is no row of logits, or as "
            "many as another, for each of 2 sequences");
  EXPECT_EQ(sums.refusal(sampling(3)), "the model's logit of token 2 is NaN");
  EXPECT_EQ(sums.refusal(sampling(1, -1)),
            "the temperature of sampling is a number from 0 on, not -1");
  EXPECT_EQ(sums.refusal(sampling(1, NAN)),
            "the temperature of sampling is a number from 0 on, not nan");
  EXPECT_EQ(sums.refusal(sampling(1, 1)),
            "sampling with a temperature needs random numbers");
  const double one = 1;
  EXPECT_EQ(sums.refusal(sampling(1, 1, 0, &one)),
            "random numbers are from 0 to below 1, not 1");
  ASSERT_TRUE(sums.run({}).ok());
  EXPECT_EQ(sums.refusal(sampling(1)),
            "output 'sum' is float32 [0, 4], which is no row of logits, or as "
            "many as another, for each of 1 sequences");
  int64_t token;
  EXPECT_EQ(sums.session->sample("z", sampling(1), &token).code,
            Code::NotFound);
}
