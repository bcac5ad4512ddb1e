// Memory, threads, element types and messages.
#include "runtime/Core/Arena.h"
#include "runtime/Core/CpuFeatures.h"
#include "runtime/Core/Run.h"
#include "runtime/Core/Scratch.h"
#include "runtime/Core/Symbols.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Core/ThreadPool.h"
#include "runtime/IRInterface.h"
#include "runtime/Runner/Random.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>
#include <set>

using namespace moe::rt;

// --- Arena ---

// Random allocation and release, every block filled with its own pattern.
TEST(Arena, BlocksNeverOverlap) {
  Arena arena;
  Random random(1);
  struct Held {
    unsigned char *data;
    int64_t size;
    unsigned char pattern;
  };
  std::vector<Held> held;
  auto intact = [](const Held &h) {
    for (int64_t i = 0; i < h.size; ++i)
      if (h.data[i] != h.pattern)
        return false;
    return true;
  };
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 3000; ++i) {
      if (held.size() > 60 || (!held.empty() && random.below(3) == 0)) {
        size_t at = random.below(held.size());
        ASSERT_TRUE(intact(held[at]));
        arena.release(held[at].data);
        held.erase(held.begin() + static_cast<long>(at));
        continue;
      }
      int64_t size = static_cast<int64_t>(random.below(1u << random.below(19)));
      auto *data = static_cast<unsigned char *>(arena.allocate(size));
      ASSERT_NE(data, nullptr);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
      ASSERT_TRUE(arena.owns(data));
      unsigned char pattern = static_cast<unsigned char>(i);
      std::memset(data, pattern, size);
      held.push_back({data, size, pattern});
    }
    for (const Held &h : held)
      ASSERT_TRUE(intact(h));
    held.clear();
    arena.reset();
  }
}

TEST(Arena, RecyclesInsteadOfGrowing) {
  Arena arena;
  for (int run = 0; run < 2; ++run) {
    for (int i = 0; i < 20; ++i)
      ASSERT_NE(arena.allocate(3 << 20), nullptr);
    arena.reset();
  }
  uint64_t steady = arena.mapped();
  for (int run = 0; run < 20; ++run) {
    for (int i = 0; i < 20; ++i)
      ASSERT_NE(arena.allocate(3 << 20), nullptr);
    arena.reset();
  }
  EXPECT_EQ(arena.mapped(), steady);
  // Freed neighbours join again: the whole fits after the parts.
  void *a = arena.allocate(20 << 20), *b = arena.allocate(20 << 20);
  arena.release(a);
  arena.release(b);
  ASSERT_NE(arena.allocate(40 << 20), nullptr);
  EXPECT_EQ(arena.mapped(), steady);
}

TEST(Arena, RefusesSizesThatCannotBe) {
  Arena arena(64 << 20);
  EXPECT_EQ(arena.allocate(-1), nullptr);
  EXPECT_EQ(arena.allocate(INT64_MIN), nullptr);
  EXPECT_EQ(arena.allocate(INT64_MAX), nullptr);
  EXPECT_EQ(arena.allocate(65 << 20), nullptr);
  EXPECT_NE(arena.allocate(0), nullptr);
  EXPECT_NE(arena.allocate(30 << 20), nullptr);
  EXPECT_EQ(arena.allocate(40 << 20), nullptr);
  arena.release(nullptr);
  int here;
  EXPECT_FALSE(arena.owns(&here));
}

TEST(Scratch, StacksAndReturns) {
  Scratch scratch;
  auto *a = static_cast<char *>(scratch.allocate(100));
  Scratch::Mark mark = scratch.mark();
  std::memset(a, 7, 100);
  for (int64_t size : {1, 1000, 1 << 20, 3 << 20}) {
    void *data = scratch.allocate(size);
    ASSERT_NE(data, nullptr);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
    std::memset(data, 1, size);
  }
  EXPECT_EQ(a[99], 7);
  scratch.release(mark);
  EXPECT_EQ(scratch.allocate(-1), nullptr);
  EXPECT_EQ(scratch.allocate(INT64_MAX), nullptr);
  scratch.release({});
  EXPECT_NE(scratch.allocate(4 << 20), nullptr);
}

// --- ThreadPool ---

TEST(ThreadPool, RunsEveryChunkOnce) {
  for (int threads = 1; threads <= 4; ++threads) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (uint32_t chunks : {0u, 1u, 2u, 3u, 64u, 1000u}) {
      for (int repeat = 0; repeat < 50; ++repeat) {
        std::vector<int> counts(chunks + 1);
        pool.run(
            chunks,
            [](void *counts, uint32_t chunk, int) {
              ++(*static_cast<std::vector<int> *>(counts))[chunk];
            },
            &counts);
        for (uint32_t i = 0; i < chunks; ++i)
          ASSERT_EQ(counts[i], 1);
      }
    }
  }
}

namespace {

struct Sum {
  std::vector<double> parts;
  std::vector<std::pair<int64_t, int64_t>> ranges;
};

/// Sums of 1/i over the ranges that moert_parallel_for chooses.
Sum harmonic(int threads, int64_t n, int64_t grain) {
  struct Arguments {
    Sum sum;
    int64_t n, grain;
    std::atomic<int> next{0};
  } arguments;
  arguments.sum.parts.resize(1000);
  arguments.sum.ranges.resize(1000);
  arguments.n = n;
  arguments.grain = grain;
  RunContext context(threads);
  EXPECT_TRUE(context
                  .execute(
                      [](void *a) {
                        auto &outer = *static_cast<Arguments *>(a);
                        moert_parallel_for(
                            outer.n, outer.grain,
                            [](void *a, int64_t begin, int64_t end) {
                              auto &inner = *static_cast<Arguments *>(a);
                              int slot = inner.next.fetch_add(1);
                              double total = 0;
                              for (int64_t i = begin; i < end; ++i)
                                total += 1.0 / static_cast<double>(i + 1);
                              inner.sum.parts[slot] = total;
                              inner.sum.ranges[slot] = {begin, end};
                            },
                            a);
                      },
                      &arguments)
                  .ok());
  arguments.sum.parts.resize(arguments.next);
  arguments.sum.ranges.resize(arguments.next);
  std::sort(arguments.sum.parts.begin(), arguments.sum.parts.end());
  std::sort(arguments.sum.ranges.begin(), arguments.sum.ranges.end());
  return arguments.sum;
}

} // namespace

TEST(ParallelFor, RangesDependOnSizesOnly) {
  for (int64_t n : {1, 5, 6, 100, 12345, 1000000}) {
    for (int64_t grain : {1, 5, 64}) {
      Sum one = harmonic(1, n, grain);
      int64_t covered = 0;
      for (auto [begin, end] : one.ranges) {
        EXPECT_EQ(begin, covered);
        EXPECT_EQ(begin % grain, 0);
        EXPECT_LT(begin, end);
        covered = end;
      }
      EXPECT_EQ(covered, n);
      EXPECT_LE(one.ranges.size(), 256u);
      if (n <= grain)
        EXPECT_EQ(one.ranges.size(), 1u);
      for (int threads : {2, 3, 4}) {
        Sum many = harmonic(threads, n, grain);
        EXPECT_EQ(one.ranges, many.ranges);
        EXPECT_EQ(one.parts, many.parts);
      }
    }
  }
}

TEST(ParallelFor, HugeAndEmptyRangesDoNotOverflow) {
  RunContext context(2);
  static std::atomic<int64_t> last;
  last = 0;
  auto body = [](void *) {
    auto note = [](void *, int64_t, int64_t end) {
      int64_t seen = last.load();
      while (seen < end && !last.compare_exchange_weak(seen, end)) {
      }
    };
    moert_parallel_for(0, 1, note, nullptr);
    moert_parallel_for(-5, 1, note, nullptr);
    moert_parallel_for(INT64_MAX, 1, note, nullptr);
    moert_parallel_for(INT64_MAX, INT64_MAX - 1, note, nullptr);
    moert_parallel_for(100, -1, note, nullptr);
  };
  EXPECT_TRUE(context.execute(body, nullptr).ok());
  EXPECT_EQ(last, INT64_MAX);
}

// Bodies may allocate and even open a region; both stay on their thread.
TEST(ParallelFor, NestedRegionsAndAllocationsWork) {
  RunContext context(4);
  static std::atomic<int> visits;
  visits = 0;
  auto outer = [](void *) {
    moert_parallel_for(
        32, 1,
        [](void *, int64_t begin, int64_t) {
          auto *own = static_cast<int64_t *>(moert_alloc(8192));
          own[0] = begin;
          moert_parallel_for(
              3, 1, [](void *, int64_t, int64_t) { ++visits; }, nullptr);
          auto *more = static_cast<int64_t *>(moert_scratch(8192));
          more[0] = -1;
          if (own[0] != begin)
            moert_fail(7, "scratch was shared", nullptr, 0);
          moert_free(own);
        },
        nullptr);
  };
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(context.execute(outer, nullptr).ok());
  EXPECT_EQ(visits, 20 * 32 * 3);
}

TEST(RunContext, ExpandsMessages) {
  EXPECT_EQ(expandMessage("%s: token %lld", "router\x1b[2J", -3),
            "router\\x1b[2J: token -3");
  EXPECT_EQ(expandMessage("100% sure", nullptr, 0), "100% sure");
  EXPECT_EQ(expandMessage("%s", nullptr, 0), "?");
  EXPECT_EQ(expandMessage(nullptr, nullptr, 0), "unknown failure");
}

TEST(RunContext, LatestMemoryOutlivesOneMoreRun) {
  RunContext context(1);
  static char *data[3];
  static int run;
  for (run = 0; run < 3; ++run) {
    context.nextArena(/*keepLatest=*/true);
    ASSERT_TRUE(context
                    .execute(
                        [](void *) {
                          data[run] = static_cast<char *>(moert_alloc(1000));
                          std::memset(data[run], 'a' + run, 1000);
                        },
                        nullptr)
                    .ok());
    if (run)
      EXPECT_EQ(data[run - 1][999], 'a' + run - 1);
  }
  EXPECT_NE(data[0], data[1]);
}

// A function that is added to the interface must be added to the table.
TEST(Symbols, AreThoseOfTheInterface) {
  std::ifstream file(MOE_SOURCE_DIR "/runtime/IRInterface.h");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::regex declaration("^(?:void|void \\*|int32_t)\\s*(moert_\\w+)\\(",
                         std::regex::multiline);
  std::set<std::string> declared, listed;
  for (std::sregex_iterator it(text.begin(), text.end(), declaration), end;
       it != end; ++it)
    declared.insert((*it)[1]);
  for (const RuntimeSymbol *symbol = runtimeSymbols(); symbol->name; ++symbol)
    listed.insert(symbol->name);
  EXPECT_EQ(declared, listed);
  EXPECT_EQ(declared.size(), 20u);
}

// --- Tensor ---

TEST(Tensor, HalvesRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    auto half = static_cast<uint16_t>(bits);
    float wide = halfToFloat(half), wider = bfloat16ToFloat(half);
    if (!std::isnan(wide))
      ASSERT_EQ(floatToHalf(wide), half);
    else
      ASSERT_TRUE(std::isnan(halfToFloat(floatToHalf(wide))));
    if (!std::isnan(wider))
      ASSERT_EQ(floatToBfloat16(wider), half);
    else
      ASSERT_TRUE(std::isnan(bfloat16ToFloat(floatToBfloat16(wider))));
  }
}

TEST(Tensor, HalvesRoundToNearestEven) {
  EXPECT_EQ(floatToHalf(1.0f + 0x1p-11f), 0x3C00); // tie, to even
  EXPECT_EQ(floatToHalf(1.0f + 0x3p-11f), 0x3C02);
  EXPECT_EQ(floatToHalf(1.0f + 0x1.1p-11f), 0x3C01);
  EXPECT_EQ(floatToHalf(65519.0f), 0x7BFF);
  EXPECT_EQ(floatToHalf(65520.0f), 0x7C00);
  EXPECT_EQ(floatToHalf(0x1p-25f), 0); // tie, to even
  EXPECT_EQ(floatToHalf(0x1.8p-25f), 1);
  EXPECT_EQ(floatToHalf(-0x1p-24f), 0x8001);
  EXPECT_EQ(floatToBfloat16(1.0f + 0x1p-8f), 0x3F80);
  EXPECT_EQ(floatToBfloat16(1.0f + 0x3p-8f), 0x3F82);
  EXPECT_EQ(floatToBfloat16(3.4e38f), 0x7F80);
}

TEST(Tensor, SizesDoNotOverflow) {
  int64_t big[] = {int64_t(1) << 40, int64_t(1) << 40};
  EXPECT_FALSE(elementCount(big, 2));
  int64_t empty[] = {int64_t(1) << 40, int64_t(1) << 40, 0};
  EXPECT_EQ(elementCount(empty, 3), 0);
  int64_t negative[] = {0, -1};
  EXPECT_FALSE(elementCount(negative, 2));
  EXPECT_EQ(elementCount(nullptr, 0), 1);
  moe_tensor tensor = {nullptr, MOE_F64, 1, {int64_t(1) << 61}};
  EXPECT_FALSE(byteSize(tensor));
  tensor.dtype = 99;
  EXPECT_FALSE(byteSize(tensor));
}

TEST(Tensor, ElementsRoundTrip) {
  for (int32_t dtype : {MOE_F32, MOE_F64, MOE_F16, MOE_BF16, MOE_U8, MOE_I8,
                        MOE_U16, MOE_I16, MOE_U32, MOE_I32, MOE_U64, MOE_I64}) {
    char data[16] = {};
    setElement(data, dtype, 1, 77);
    EXPECT_EQ(elementAsDouble(data, dtype, 1), 77) << dtypeName(dtype);
    EXPECT_EQ(elementAsDouble(data, dtype, 0), 0) << dtypeName(dtype);
  }
}

// --- Text ---

TEST(Text, HidesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("layers.0/fc1"), "layers.0/fc1");
  EXPECT_EQ(printable("gr\xC3\xBC\xC3\x9F"), "gr\xC3\xBC\xC3\x9F");
  EXPECT_EQ(printable("a\x1b[2Jb\n"), "a\\x1b[2Jb\\x0a");
  EXPECT_EQ(printable("\xC3"), "\\xc3");
  EXPECT_EQ(printable("\xC2\x9B"), "\\xc2\\x9b");          // C1 control
  EXPECT_EQ(printable("\xE2\x80\xAE"), "\\xe2\\x80\\xae"); // bidi override
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80"); // surrogate
  EXPECT_EQ(printable("\xC0\xAF"), "\\xc0\\xaf");          // overlong
  EXPECT_EQ(printable("\xF4\x90\x80\x80").substr(0, 4), "\\xf4"); // too large
  EXPECT_LT(printable(std::string(100000, 'x')).size(), 300u);
}

TEST(CpuFeatures, NamesWhatIsMissing) {
  EXPECT_EQ(missingCpuFeatures(""), "");
  EXPECT_EQ(missingCpuFeatures("-avx512f"), "");
#if defined(__x86_64__)
  EXPECT_EQ(missingCpuFeatures("+sse2,x87,warp,+drive"), "warp,drive");
  EXPECT_EQ(missingCpuFeatures("avx2").empty(),
            static_cast<bool>(__builtin_cpu_supports("avx2")));
  EXPECT_EQ(missingCpuFeatures("avx512f,avx512bw").empty(),
            __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512bw"));
  EXPECT_EQ(missingCpuFeatures("avx512bf16").empty(),
            static_cast<bool>(__builtin_cpu_supports("avx512bf16")));
#endif
}
