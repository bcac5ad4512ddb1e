#include "runtime/Core/Session.h"
#include "test/unit/runtime/FakeModels.h"

#include <atomic>
#include <gtest/gtest.h>
#include <thread>

using namespace moe::rt;
using namespace moe::test;

namespace {

std::unique_ptr<Session> open(const moert_model &model, int threads = 2) {
  EXPECT_TRUE(checkDescriptor(model).ok());
  moe_session_options options = {};
  options.threads = threads;
  options.record_experts = options.record_phases = 1;
  auto session = Session::create(model, options);
  EXPECT_TRUE(session);
  return std::move(*session);
}

moe_tensor tensor(void *data, int32_t dtype, std::vector<int64_t> shape) {
  moe_tensor result = {data, dtype, static_cast<int32_t>(shape.size()), {}};
  std::copy(shape.begin(), shape.end(), result.shape);
  return result;
}

Status runFail(Session &session, int64_t how) {
  EXPECT_TRUE(session.setInput("how", tensor(&how, MOE_I64, {1})).ok());
  return session.run();
}

} // namespace

TEST(Session, AddsInEveryShapeAndThreadCount) {
  for (int threads : {1, 2, 4}) {
    auto session = open(addModel(), threads);
    for (int64_t n : {0, 1, 2, 3, 7, 600, 5000}) {
      std::vector<float> x(n * 4 + 1), y(n * 4 + 1);
      for (int64_t i = 0; i < n * 4; ++i) {
        x[i] = static_cast<float>(i);
        y[i] = static_cast<float>(2 * i);
      }
      ASSERT_TRUE(
          session->setInput("x", tensor(x.data(), MOE_F32, {n, 4})).ok());
      ASSERT_TRUE(
          session->setInput("y", tensor(y.data(), MOE_F32, {n, 4})).ok());
      ASSERT_TRUE(session->run().ok());
      auto sum = session->output("sum");
      ASSERT_TRUE(sum);
      ASSERT_EQ(sum->shape[0], n);
      for (int64_t i = 0; i < n * 4; ++i)
        ASSERT_EQ(static_cast<float *>(sum->data)[i],
                  3 * static_cast<float>(i));
    }
  }
}

TEST(Session, NamesWhatIsWrongWithAnInput) {
  auto session = open(addModel());
  float data[64] = {};
  auto message = [&](const char *name, const moe_tensor &tensor) {
    return session->setInput(name, tensor).message;
  };
  EXPECT_EQ(message("z", tensor(data, MOE_F32, {1, 4})),
            "the model has no input 'z'; its inputs are 'x', 'y'");
  EXPECT_EQ(message("x", tensor(data, MOE_F64, {1, 4})),
            "input 'x' is float64 [1, 4], must be float32 [n, 4]");
  EXPECT_EQ(message("x", tensor(data, MOE_F32, {1, 5})),
            "input 'x' is float32 [1, 5], must be float32 [n, 4]");
  EXPECT_EQ(message("x", tensor(data, MOE_F32, {4})),
            "input 'x' is float32 [4], must be float32 [n, 4]");
  EXPECT_EQ(message("x", tensor(nullptr, MOE_F32, {1, 4})),
            "input 'x' has no data");
  EXPECT_EQ(message("x", tensor(data, MOE_F32, {int64_t(1) << 61, 4})),
            "input 'x' has the impossible shape [2305843009213693952, 4]");
  EXPECT_EQ(message("x", tensor(data, MOE_F32, {-2, 4})),
            "input 'x' has the impossible shape [-2, 4]");
  EXPECT_EQ(message("x", {data, MOE_F32, 9, {}}),
            "input 'x' is of rank 9, must be float32 [n, 4]");
}

TEST(Session, WantsEveryInputAndEqualSymbols) {
  auto session = open(addModel());
  float data[64] = {};
  EXPECT_EQ(session->run().message, "input 'x' is missing: float32 [n, 4]");
  EXPECT_FALSE(session->output("sum"));
  ASSERT_TRUE(session->setInput("x", tensor(data, MOE_F32, {2, 4})).ok());
  ASSERT_TRUE(session->setInput("y", tensor(data, MOE_F32, {3, 4})).ok());
  EXPECT_EQ(session->run().message,
            "size 'n' is 2 in input 'x' but 3 in input 'y'");
}

TEST(Session, FailuresBecomeMessages) {
  for (int threads : {1, 4}) {
    auto session = open(failModel(), threads);
    EXPECT_TRUE(runFail(*session, 0).ok());
    Status status = runFail(*session, 1);
    EXPECT_EQ(status.code, Code::ModelFailed);
    EXPECT_EQ(status.message, "NaN in router of layer 3 at token 17");
    // The lowest chunk wins, whoever was first.
    for (int i = 0; i < 50; ++i)
      EXPECT_EQ(runFail(*session, 2).message, "chunk 3 of the region");
    status = runFail(*session, 3);
    EXPECT_EQ(status.code, Code::OutOfMemory);
    EXPECT_EQ(
        status.message,
        "cannot allocate 1152921504606846976 bytes of memory for the run");
    EXPECT_EQ(runFail(*session, 4).code, Code::OutOfMemory);
    status = runFail(*session, 5);
    EXPECT_EQ(status.code, Code::Internal);
    EXPECT_EQ(status.message, "the model broke its promise: output 'out' is "
                              "float32 [2], must be float32 [1]");
    // And then it works again.
    EXPECT_TRUE(runFail(*session, 0).ok());
    EXPECT_EQ(*static_cast<float *>(session->output("out")->data), 1);
  }
}

TEST(Session, RecordsExpertsAndPhases) {
  auto session = open(addModel());
  float data[8] = {};
  ASSERT_TRUE(session->setInput("x", tensor(data, MOE_F32, {2, 4})).ok());
  ASSERT_TRUE(session->setInput("y", tensor(data, MOE_F32, {2, 4})).ok());
  ASSERT_TRUE(session->run().ok());
  ASSERT_TRUE(session->run().ok());
  const auto &counts = session->context().recorder.expertCounts();
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_STREQ(counts[0].layer, "layers.0");
  ASSERT_EQ(counts[0].experts, 3);
  EXPECT_EQ(counts[0].counts[0], 2u);
  EXPECT_EQ(counts[0].counts[1], 0u);
  EXPECT_EQ(counts[0].counts[2], 4u);
  const auto &phases = session->context().recorder.phases();
  ASSERT_EQ(phases.size(), 2u);
  EXPECT_STREQ(phases[1].name, "add");
  EXPECT_EQ(phases[1].run, 1);
  EXPECT_LE(phases[1].begin_ns, phases[1].end_ns);
}

// Eight steps of one token each through the cache, against one run of eight.
TEST(Session, FeedsCachesBack) {
  auto session = open(textModel());
  ASSERT_TRUE(session->feedBack("present.0.key", "past.0.key").ok());
  EXPECT_EQ(session->feedBack("logits", "input_ids").message,
            "output 'logits' is float32 [batch, seq, 256], it cannot become "
            "input 'input_ids', which is int64 [batch, seq]");
  EXPECT_FALSE(session->feedBack("present.0.key", "past.0.key").ok());
  for (int repeat = 0; repeat < 2; ++repeat) {
    ASSERT_TRUE(
        session->setInput("past.0.key", tensor(nullptr, MOE_F32, {1, 0, 1}))
            .ok());
    int64_t sum = 0;
    for (int64_t step = 0; step < 8; ++step) {
      int64_t token = 10 + step, position = step;
      std::vector<int64_t> mask(step + 1, 1);
      sum += token;
      ASSERT_TRUE(
          session->setInput("input_ids", tensor(&token, MOE_I64, {1, 1})).ok());
      ASSERT_TRUE(
          session->setInput("position_ids", tensor(&position, MOE_I64, {1, 1}))
              .ok());
      ASSERT_TRUE(session
                      ->setInput("attention_mask",
                                 tensor(mask.data(), MOE_I64, {1, step + 1}))
                      .ok());
      Status status = session->run();
      ASSERT_TRUE(status.ok()) << status.message;
      auto logits = session->output("logits");
      EXPECT_EQ(static_cast<float *>(logits->data)[sum + 1], 3);
      EXPECT_EQ(session->output("present.0.key")->shape[1], step + 1);
    }
    session->reset();
    EXPECT_FALSE(session->output("logits"));
  }
}

// Sessions of one model, each on its own thread with its own pool.
TEST(Session, SessionsRunSideBySide) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int user = 0; user < 4; ++user)
    users.emplace_back([&wrong, user] {
      auto session = open(addModel());
      std::vector<float> x(400, static_cast<float>(user)), y(400, 1);
      for (int i = 0; i < 50; ++i) {
        bool done =
            session->setInput("x", tensor(x.data(), MOE_F32, {100, 4})).ok() &&
            session->setInput("y", tensor(y.data(), MOE_F32, {100, 4})).ok() &&
            session->run().ok();
        float *sum = static_cast<float *>(session->output("sum")->data);
        wrong += !done || sum[399] != static_cast<float>(user + 1);
      }
    });
  for (std::thread &user : users)
    user.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Model, RefusesWhatItCannotRun) {
  moert_model model = addModel();
  model.magic = 1;
  EXPECT_EQ(checkDescriptor(model).code, Code::Internal);
  model = addModel();
  model.abi_major = 9;
  EXPECT_EQ(checkDescriptor(model).message,
            "the model was compiled for runtime interface 9.6, this runtime "
            "has 1.6");
  model = addModel();
  model.cpu_features = "+sse2,warp-drive";
  EXPECT_EQ(checkDescriptor(model).message,
            "the model was compiled for a processor with warp-drive, which "
            "this one lacks; recompile with --target=cpu:native here or "
            "--target=cpu:x86-64-v3");
}
