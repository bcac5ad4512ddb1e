#include "runtime/Core/Caches.h"
#include "runtime/Core/Session.h"
#include "test/unit/runtime/FakeModels.h"
#include "test/unit/runtime/FakeOffload.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace moe::rt;
using namespace moe::test;

namespace {

/// The append model, and what it should hold.
class Sequences {
public:
  explicit Sequences(uint64_t memoryLimit = 0,
                     const moert_model &model = appendModel()) {
    moe_session_options options = {};
    options.threads = 1;
    options.memory_limit = memoryLimit;
    auto created = Session::create(model, options);
    EXPECT_TRUE(created);
    session = std::move(*created);
  }

  void begin(int64_t newBatch) {
    batch = newBatch;
    session->reset();
    for (int c = 0; c < 2; ++c) {
      rows[c].assign(batch, {});
      give("past", c, {}, 0);
    }
  }

  /// Appends `seq` rows to each sequence; the model fails if `negative`.
  Status step(int64_t seq, bool negative = false) {
    for (int c = 0; c < 2; ++c) {
      fresh[c].assign(batch * seq * 2, 0);
      for (float &value : fresh[c])
        value = static_cast<float>(next++ % 1000);
      if (negative)
        fresh[c][0] = -1;
      give("fresh", c, fresh[c], seq);
    }
    Status status = session->run();
    if (status.ok())
      for (int c = 0; c < 2; ++c)
        for (int64_t b = 0; b < batch; ++b)
          rows[c][b].insert(rows[c][b].end(), fresh[c].begin() + b * seq * 2,
                            fresh[c].begin() + (b + 1) * seq * 2);
    return status;
  }

  /// What a caller that keeps the rows itself does.
  void givePast() {
    for (int c = 0; c < 2; ++c) {
      kept[c] = dense(c);
      give("past", c, kept[c], static_cast<int64_t>(rows[c][0].size()) / 2);
    }
  }

  std::vector<float> dense(int c) const {
    std::vector<float> all;
    for (const auto &sequence : rows[c])
      all.insert(all.end(), sequence.begin(), sequence.end());
    return all;
  }

  void expectRows() {
    float sum = 0;
    for (int c = 0; c < 2; ++c) {
      auto present = session->output(c ? "present.1" : "present.0");
      ASSERT_TRUE(present);
      std::vector<float> want = dense(c);
      ASSERT_EQ(present->shape[0], batch);
      ASSERT_EQ(present->shape[1] * batch * 2, int64_t(want.size()));
      EXPECT_EQ(
          std::memcmp(present->data, want.data(), want.size() * sizeof(float)),
          0);
      for (float value : want)
        sum += value;
    }
    EXPECT_EQ(*static_cast<float *>(session->output("sum")->data), sum);
  }

  std::unique_ptr<Session> session;

private:
  void give(const char *what, int c, const std::vector<float> &values,
            int64_t length) {
    moe_tensor tensor = {
        const_cast<float *>(values.data()), MOE_F32, 3, {batch, length, 2}};
    std::string name = std::string(what) + (c ? ".1" : ".0");
    ASSERT_TRUE(session->setInput(name.c_str(), tensor).ok());
  }

  int64_t batch = 0;
  int next = 1;
  std::vector<std::vector<float>> rows[2]; // by sequence
  std::vector<float> fresh[2], kept[2];
};

} // namespace

TEST(Caches, AppendInPlaceAsElsewhere) {
  Sequences here, elsewhere;
  ASSERT_TRUE(here.session->feedBack("present.0", "past.0").ok());
  ASSERT_TRUE(here.session->feedBack("present.1", "past.1").ok());
  for (int64_t batch : {1, 3, 2}) {
    here.begin(batch);
    elsewhere.begin(batch);
    for (int64_t seq : {5, 1, 1, 0, 57, 1, 1, 200, 1, 1, 700, 1}) {
      ASSERT_TRUE(here.step(seq).ok());
      here.expectRows();
      elsewhere.givePast();
      ASSERT_TRUE(elsewhere.step(seq).ok());
      elsewhere.expectRows();
    }
  }
}

// Rows that are fed back stay on the device, until somebody wants to see them.
TEST(Caches, AppendOnADevice) {
  Sequences there(0, deviceAppendModel());
  FakeOffload &device = lastOffload();
  ASSERT_TRUE(there.session->feedBack("present.0", "past.0").ok());
  ASSERT_TRUE(there.session->feedBack("present.1", "past.1").ok());
  for (int64_t batch : {1, 3, 2}) {
    there.begin(batch);
    for (int64_t seq : {5, 1, 1, 0, 57, 1, 1, 200, 1, 1, 700, 1}) {
      device.downloads = 0;
      ASSERT_TRUE(there.step(seq).ok());
      // Those of the model's sums alone.
      EXPECT_EQ(device.downloads, 2 * batch);
      there.expectRows();
      EXPECT_EQ(device.downloads, 2 * batch + 2);
    }
  }
  EXPECT_GT(device.used, 0);
  EXPECT_EQ(there.step(1, /*negative=*/true).message, "a negative number");
  there.begin(2);
  ASSERT_TRUE(there.step(3).ok());
  there.expectRows();
}

TEST(Caches, OnADeviceOneOfTwoFedBack) {
  Sequences there(0, deviceAppendModel());
  FakeOffload &device = lastOffload();
  ASSERT_TRUE(there.session->feedBack("present.1", "past.1").ok());
  there.begin(2);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(there.step(1).ok());
    there.expectRows();
    there.givePast();
  }
  // What is not fed back goes with its run.
  EXPECT_LE(device.used, 2 * 128 * 8);
}

TEST(Caches, KeepToTheMemoryOfADevice) {
  Sequences there(0, deviceAppendModel());
  FakeOffload &device = lastOffload();
  device.limit = 5000;
  ASSERT_TRUE(there.session->feedBack("present.0", "past.0").ok());
  ASSERT_TRUE(there.session->feedBack("present.1", "past.1").ok());
  there.begin(1);
  Status status;
  for (int i = 0; i < 100 && status.ok(); ++i)
    status = there.step(50);
  EXPECT_EQ(status.code, Code::OutOfMemory);
  EXPECT_EQ(status.message, "the device that a test plays is full");
  there.begin(1);
  ASSERT_TRUE(there.step(4).ok());
  there.expectRows();
}

// What is in the caches of one reader is dense for the next one.
TEST(Caches, ASecondReaderComesLate) {
  for (const moert_model *model : {&appendModel(), &deviceAppendModel()}) {
    Sequences sequences(0, *model);
    ASSERT_TRUE(sequences.session->feedBack("present.0", "past.0").ok());
    sequences.begin(2);
    ASSERT_TRUE(sequences.step(3).ok());
    std::vector<float> zero = sequences.dense(0);
    ASSERT_TRUE(sequences.session->feedBack("present.0", "past.1").ok());
    ASSERT_TRUE(sequences.step(1).ok());
    auto second = sequences.session->output("present.1");
    ASSERT_TRUE(second);
    ASSERT_EQ(second->shape[1], 4);
    auto *rows = static_cast<const float *>(second->data);
    for (int64_t b = 0; b < 2; ++b)
      EXPECT_EQ(std::memcmp(rows + b * 8, zero.data() + b * 6, 3 * 8), 0);
  }
}

TEST(Caches, BeginWithWhatTheCallerGives) {
  Sequences sequences;
  sequences.begin(2);
  ASSERT_TRUE(sequences.step(9).ok());
  sequences.givePast();
  ASSERT_TRUE(sequences.session->feedBack("present.0", "past.0").ok());
  ASSERT_TRUE(sequences.session->feedBack("present.1", "past.1").ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(sequences.step(2).ok());
    sequences.expectRows();
  }
}

TEST(Caches, OneOfTwoFedBack) {
  Sequences sequences;
  ASSERT_TRUE(sequences.session->feedBack("present.1", "past.1").ok());
  sequences.begin(2);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(sequences.step(1).ok());
    sequences.expectRows();
    sequences.givePast();
  }
}

// Each reader must get dense rows, so nothing stays in place.
TEST(Caches, OneOutputForTwoInputs) {
  Sequences sequences;
  ASSERT_TRUE(sequences.session->feedBack("present.0", "past.0").ok());
  ASSERT_TRUE(sequences.session->feedBack("present.0", "past.1").ok());
  sequences.begin(2);
  ASSERT_TRUE(sequences.step(3).ok());
  ASSERT_TRUE(sequences.step(3).ok());
  auto first = sequences.session->output("present.0");
  auto second = sequences.session->output("present.1");
  // Past 1 is present 0 of the run before.
  EXPECT_EQ(std::memcmp(first->data, second->data, 3 * 8), 0);
}

TEST(Caches, CrossedLinksStayDense) {
  Sequences sequences;
  ASSERT_TRUE(sequences.session->feedBack("present.0", "past.1").ok());
  ASSERT_TRUE(sequences.session->feedBack("present.1", "past.0").ok());
  sequences.begin(1);
  ASSERT_TRUE(sequences.step(2).ok());
  std::vector<float> zero = sequences.dense(0);
  ASSERT_TRUE(sequences.step(1).ok());
  auto present = sequences.session->output("present.1");
  EXPECT_EQ(std::memcmp(present->data, zero.data(), 2 * 8), 0);
}

TEST(Caches, FailedRunStartsOver) {
  Sequences sequences;
  ASSERT_TRUE(sequences.session->feedBack("present.0", "past.0").ok());
  ASSERT_TRUE(sequences.session->feedBack("present.1", "past.1").ok());
  sequences.begin(1);
  ASSERT_TRUE(sequences.step(3).ok());
  EXPECT_EQ(sequences.step(1, /*negative=*/true).message, "a negative number");
  EXPECT_FALSE(sequences.session->output("present.0"));
  // As before the first run: the input that was given, here an empty one.
  sequences.begin(1);
  ASSERT_TRUE(sequences.step(2).ok());
  sequences.expectRows();
}

TEST(Caches, KeepToTheMemoryLimit) {
  Sequences sequences(uint64_t(16) << 20);
  ASSERT_TRUE(sequences.session->feedBack("present.0", "past.0").ok());
  ASSERT_TRUE(sequences.session->feedBack("present.1", "past.1").ok());
  sequences.begin(1);
  Status status;
  for (int i = 0; i < 100 && status.ok(); ++i)
    status = sequences.step(100000);
  EXPECT_EQ(status.code, Code::OutOfMemory);
  sequences.begin(1);
  ASSERT_TRUE(sequences.step(4).ok());
  sequences.expectRows();
}

TEST(Caches, RowsStayWhereTheyAre) {
  Caches caches(0);
  caches.link(0, 1);
  char past[32] = "0123456789abcdef0123456789abcde";
  int64_t capacity = 0;
  auto other = caches.append(2, 0, Caches::Host, {past, 2, 1, 1, 16}, capacity);
  ASSERT_TRUE(other);
  EXPECT_EQ(*other, nullptr);
  caches.beginRun();
  char *data = static_cast<char *>(
      *caches.append(1, 0, Caches::Host, {past, 2, 1, 1, 16}, capacity));
  ASSERT_NE(data, nullptr);
  EXPECT_GE(capacity, 2);
  EXPECT_EQ(std::memcmp(data + capacity * 16, past + 16, 16), 0);
  EXPECT_FALSE(caches.holds(0));
  caches.endRun(true);
  EXPECT_TRUE(caches.holds(0));
  int64_t rows = 2, moves = 0;
  for (; rows < 1000; ++rows) {
    caches.beginRun();
    void *again =
        *caches.append(1, 0, Caches::Host, {data, 2, rows, 1, 16}, capacity);
    moves += again != data;
    data = static_cast<char *>(again);
    caches.endRun(true);
  }
  // 128, 256, 512, 1024
  EXPECT_LE(moves, 4);
  EXPECT_EQ(std::memcmp(data + capacity * 16, past + 16, 16), 0);
  // Rows that are not those of the last run, and sizes that overflow.
  caches.beginRun();
  Status others =
      caches.append(1, 0, Caches::Host, {data, 2, 7, 1, 16}, capacity).error();
  EXPECT_EQ(others.code, Code::Internal);
  EXPECT_EQ(others.message, "rows of a cache are not those of its last run");
  caches.beginRun();
  Status tooLong =
      caches.append(1, 0, Caches::Host, {past, 2, 1, INT64_MAX, 16}, capacity)
          .error();
  EXPECT_EQ(tooLong.code, Code::OutOfMemory);
  EXPECT_EQ(tooLong.message,
            "a sequence of 1 rows cannot get 9223372036854775807 more");
  caches.endRun(false);
  EXPECT_FALSE(caches.holds(0));
}
