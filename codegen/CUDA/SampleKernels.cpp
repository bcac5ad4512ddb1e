// From logits to a token. Rows are long and few, so a first kernel finds the
// largest number of each part of them with all multiprocessors; then one block
// has a row, and looks into no part that cannot have one of the top.
#include "codegen/CUDA/SampleKernels.h"
#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"
#include "runtime/Device/KernelChoice.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;
using rt::kSamplePart, rt::kSampleWords;

/// Numbers of a part that a lane has: `lane`, `lane` + 32...
static constexpr int64_t kOfLane = kSamplePart / 32;
static constexpr int64_t kWarps = kLayerThreads / 32;
/// Below the keys of all numbers.
static constexpr int64_t kNoKey = INT32_MIN;

namespace {
/// What both kernels know.
struct Rows {
  CudaBuilder &k;
  Type element;
  Num logits, stride, width, scratch;
  Num parts, lane;

  Rows(CudaBuilder &k, Type element, ArrayRef<Num> arguments)
      : k(k), element(element), logits(arguments[0]), stride(arguments[1]),
        width(arguments[2]), scratch(arguments[4]),
        parts(k.ceilDiv(width, kSamplePart)), lane(k.lane()) {}

  Num read(Num row, Num i) {
    return k.convert(k.load(element, logits, row * stride + i), k.f32());
  }
  /// An integer in the order of numbers, for which 0 and -0 are the same.
  Num keyOf(Num x) {
    Num zero = k.real(0);
    return turned(k.bitcast(k.select(x == zero, zero, x), k.i32()));
  }
  Num numberOf(Num key) { return k.bitcast(turned(key), k.f32()); }
  /// Bits of negative numbers grow the other way.
  Num turned(Num bits) {
    return k.select(bits < bits.like(0),
                    k.exclusiveOr(bits, k.word(0x7fffffff)), bits);
  }
  /// Where the words of kind `which` of a row are.
  Num words(Num row, int64_t which) {
    return (row * kSampleWords + which) * parts;
  }
  Num small(int64_t value) { return k.word(static_cast<uint32_t>(value)); }
};

/// A block has a row.
struct Choice {
  Rows &r;
  CudaBuilder &k;
  Num row, topK, inverse;
  Num largest = {}, largestKey = {}; ///< of the row
  /// What is above this key is kept, and `equals` of those with it.
  Num threshold = {}, equals = {};

  /// Words of a part: its largest number, a part that may have one of the top,
  /// the sum of weights up to the end of that part, and how many keys of it, or
  /// of those before it, equal the threshold.
  enum { Largest, Listed, Sum, Equal };
  Num at(int64_t which) { return r.words(row, which); }
  Num largestOf(Num part) {
    return k.load(k.f32(), r.scratch, at(Largest) + part);
  }

  Num sumOfBlock(Num count) {
    return ofBlock(k, count, [](Num a, Num b) { return a + b; });
  }
  Num countAtLeast(Num n, Num key, llvm::function_ref<Num(Num)> keyAt);
  Num lastKey(Num n, Num wanted, Num low, llvm::function_ref<Num(Num)> keyAt);
  Num firstBadPart();
  void reportBad(Num part, Num slots);
  void findLargest();
  Num list(Num least);
  Num keyInList(Num i);
  /// What a lane has of a part.
  struct Part {
    Nums keys, numbers;
  };
  Part load(Num part);
  Num weightOf(Num x);
  void weigh(Num listed);
  void addUp(Num listed);
  Num partAt(Num listed, Num target, Num total);
  Num tokenAt(Num part, Num target, Num seen);
  void pick(Num listed, Num slots);
  void run(Num slots);
};
} // namespace

/// How many of `n` keys are `key` or more.
Num Choice::countAtLeast(Num n, Num key, llvm::function_ref<Num(Num)> keyAt) {
  Num zero = r.small(0), one = r.small(1);
  Num own = k.loop(k.thread(), n, kLayerThreads, {zero},
                   [&](Num i, ArrayRef<Num> carried) -> Nums {
                     Num isLess = keyAt(i) < key;
                     return {carried[0] + k.select(isLess, zero, one)};
                   })[0];
  return sumOfBlock(own);
}

/// A key that `wanted` of `n` keys reach, but no key above it is reached by so
/// many, unless the number is exact; `low` is known to be reached by so many.
Num Choice::lastKey(Num n, Num wanted, Num low,
                    llvm::function_ref<Num(Num)> keyAt) {
  auto wide = [&](Num key) { return k.convert(key, k.i64()); };
  return k.convert(
      k.loop(k.integer(0), k.integer(32), 1, {wide(low), wide(largestKey)},
             [&](Num, ArrayRef<Num> carried) -> Nums {
               Num least = carried[0], most = carried[1];
               return either(
                   k, least < most,
                   [&]() -> Nums {
                     Num middle = least + (most - least + 1) / 2;
                     Num count = wide(
                         countAtLeast(n, k.convert(middle, k.i32()), keyAt));
                     Num isFew = count < wanted;
                     return {k.select(isFew, least, middle),
                             k.select(isFew, middle - 1,
                                      k.select(count == wanted, middle, most))};
                   },
                   [&]() -> Nums { return {least, most}; });
             })[0],
      k.i32());
}

/// The first part with a number that is none, or their number.
Num Choice::firstBadPart() {
  Num none = k.convert(r.parts, k.i32());
  Num own =
      k.loop(k.thread(), r.parts, kLayerThreads, {none},
             [&](Num part, ArrayRef<Num> carried) -> Nums {
               Num x = largestOf(part);
               return {k.select(x == x, carried[0],
                                k.min(k.convert(part, k.i32()), carried[0]))};
             })[0];
  return ofBlock(k, own, [&](Num a, Num b) { return k.min(a, b); });
}

void Choice::reportBad(Num part, Num slots) {
  k.when(k.thread() == 0, [&] {
    Num first = k.convert(part, k.i64()) * kSamplePart;
    Num end = k.min(first + kSamplePart, r.width);
    Num found = k.fold(first, end, end, [&](Num i, Num found) {
      Num x = r.read(row, i);
      return k.select(x == x, found, k.min(i, found));
    });
    k.store(k.integer(-1) - found, slots, row);
  });
}

void Choice::findLargest() {
  Num own = k.loop(k.thread(), r.parts, kLayerThreads, {r.small(kNoKey)},
                   [&](Num part, ArrayRef<Num> carried) -> Nums {
                     return {k.max(r.keyOf(largestOf(part)), carried[0])};
                   })[0];
  largestKey = ofBlock(k, own, [&](Num a, Num b) { return k.max(a, b); });
  largest = r.numberOf(largestKey);
}

/// Lists the parts whose largest key is `least` or more; gives their number.
Num Choice::list(Num least) {
  k.when(k.thread() / 32 == 0, [&] {
    Num count = k.loop(
        k.integer(0), r.parts, 32, {k.integer(0)},
        [&](Num first, ArrayRef<Num> carried) -> Nums {
          Num part = first + r.lane;
          Num known = k.min(part, r.parts - 1);
          Num isLess = r.keyOf(largestOf(known)) < least;
          Num isOne = (part < r.parts) & (isLess == isLess.like(0));
          Num bits = k.ballot(isOne);
          Num place =
              carried[0] +
              k.convert(k.countBits(bits & k.lanesBelow(r.lane)), k.i64());
          k.when(isOne, [&] {
            k.store(k.convert(part, k.i32()), r.scratch, at(Listed) + place);
          });
          return {carried[0] + k.convert(k.countBits(bits), k.i64())};
        })[0];
    k.when(r.lane == 0,
           [&] { k.store(k.convert(count, k.i32()), k.shared(0), r.lane); });
  });
  k.barrier();
  Num count = at32(k, k.shared(0), k.integer(0));
  k.barrier();
  return count;
}

/// Key `i` of the parts that are listed; behind the row there are none.
Num Choice::keyInList(Num i) {
  Num part = at32(k, r.scratch, at(Listed) + i / kSamplePart);
  Num place = part * kSamplePart + i % kSamplePart;
  return k.choose(
      place < r.width, [&] { return r.keyOf(r.read(row, place)); },
      [&] { return r.small(kNoKey); });
}

Choice::Part Choice::load(Num part) {
  Part made;
  for (int64_t j = 0; j < kOfLane; ++j) {
    Num place = part * kSamplePart + r.lane + 32 * j;
    Num isOne = place < r.width;
    Num x = k.choose(
        isOne, [&] { return r.read(row, place); },
        [&] { return k.real(-INFINITY); });
    made.numbers.push_back(x);
    made.keys.push_back(k.select(isOne, r.keyOf(x), r.small(kNoKey)));
  }
  return made;
}

Num Choice::weightOf(Num x) {
  // Of infinity, too.
  return k.select(x == largest, k.real(1),
                  cuda::exp(k, (x - largest) * inverse));
}

/// Of each part the weight of what is above the threshold, and how many equal
/// it.
void Choice::weigh(Num listed) {
  k.loop(k.warp(), listed, kWarps, [&](Num i) {
    Part part = load(at32(k, r.scratch, at(Listed) + i));
    Num sum = k.real(0), equal = r.small(0);
    for (auto [key, x] : llvm::zip(part.keys, part.numbers)) {
      sum = sum + k.select(threshold < key, weightOf(x), k.real(0));
      equal = equal + k.countBits(k.ballot(key == threshold));
    }
    sum = k.warpSum(sum);
    k.when(r.lane == 0, [&] {
      k.store(sum, r.scratch, at(Sum) + i);
      k.store(equal, r.scratch, at(Equal) + i);
    });
  });
  k.barrier();
}

/// Makes of these what all parts up to one have, one after the other, so that
/// a part adds nothing only if it has nothing. One warp.
void Choice::addUp(Num listed) {
  // The threshold of a row that is kept whole is no number.
  Num one = k.select(equals == 0, k.real(0), weightOf(r.numberOf(threshold)));
  k.loop(k.integer(0), listed, 32, {k.real(0), r.small(0)},
         [&](Num first, ArrayRef<Num> carried) -> Nums {
           Num i = first + r.lane, known = k.min(i, listed - 1);
           Num isOne = i < listed;
           Num sum = k.load(k.f32(), r.scratch, at(Sum) + known);
           Num equal = k.load(k.i32(), r.scratch, at(Equal) + known);
           sum = k.select(isOne, sum, k.real(0));
           equal = k.select(isOne, equal, r.small(0));
           Num all = carried[0], seen = carried[1];
           Nums done =
               k.loop(k.integer(0), k.integer(32), 1, {all, seen, all, seen},
                      [&](Num lane, ArrayRef<Num> now) -> Nums {
                        Num more = ofLane(k, equal, lane);
                        Num left = k.max(equals - now[1], r.small(0));
                        Num kept = k.convert(k.min(more, left), k.f32());
                        Num sums = now[0] + (ofLane(k, sum, lane) + kept * one);
                        Num counts = now[1] + more, isMine = r.lane == lane;
                        return {sums, counts, k.select(isMine, sums, now[2]),
                                k.select(isMine, counts, now[3])};
                      });
           k.when(isOne, [&] {
             k.store(done[2], r.scratch, at(Sum) + i);
             k.store(done[3], r.scratch, at(Equal) + i);
           });
           return {done[0], done[1]};
         });
}

/// Where the first bit is.
static Num firstBit(CudaBuilder &k, Num bits) {
  Num lowest = bits & (bits.like(0) - bits);
  return k.convert(k.countBits(lowest - 1), k.i64());
}

/// The place in the list of the part in which the sum of weights passes
/// `target`. A sum that rounds to all of them has the last part with weight.
Num Choice::partAt(Num listed, Num target, Num total) {
  return k.loop(
      k.integer(0), listed, 32, {k.integer(-1)},
      [&](Num first, ArrayRef<Num> carried) -> Nums {
        Num i = first + r.lane, known = k.min(i, listed - 1);
        Num sum = k.load(k.f32(), r.scratch, at(Sum) + known);
        Num isPast = (target < sum) | (sum == total);
        Num bits = k.ballot((i < listed) & isPast);
        Num isNone = (k.integer(-1) < carried[0]) | (bits == bits.like(0));
        return {k.select(isNone, carried[0], first + firstBit(k, bits))};
      })[0];
}

/// The token of `part` where the sum of the part's weights passes `target`, if
/// those before the part have `seen` keys that equal the threshold. From zero
/// on, and so exactly: beside the weights of all parts those of this one may be
/// too small to be seen.
Num Choice::tokenAt(Num part, Num target, Num seen) {
  Part loaded = load(part);
  Num sum = k.real(0);
  Nums sums; // up to each number
  for (auto [key, x] : llvm::zip(loaded.keys, loaded.numbers)) {
    Num bits = k.ballot(key == threshold);
    Num rank = seen + k.countBits(bits & k.lanesBelow(r.lane));
    seen = seen + k.countBits(bits);
    Num isKept = (threshold < key) | ((key == threshold) & (rank < equals));
    Num weight = k.select(isKept, weightOf(x), k.real(0));
    Nums done = k.loop(k.integer(0), k.integer(32), 1, {sum, sum},
                       [&](Num lane, ArrayRef<Num> now) -> Nums {
                         Num all = now[0] + ofLane(k, weight, lane);
                         return {all, k.select(r.lane == lane, all, now[1])};
                       });
    sum = done[0];
    sums.push_back(done[1]);
  }
  Num token = k.integer(-1);
  for (auto [j, upTo] : llvm::enumerate(sums)) {
    Num bits = k.ballot((target < upTo) | (upTo == sum));
    Num isNone = (k.integer(-1) < token) | (bits == bits.like(0));
    token = k.select(isNone, token,
                     part * kSamplePart + int64_t(32 * j) + firstBit(k, bits));
  }
  return token;
}

void Choice::pick(Num listed, Num slots) {
  auto read = [&](Type type, int64_t which, Num i) {
    return k.load(type, r.scratch, at(which) + i);
  };
  Num total = read(k.f32(), Sum, listed - 1);
  // The low half of a slot.
  Num target = k.load(k.f32(), slots, row * 2) * total;
  Num i = partAt(listed, target, total), before = k.max(i - 1, k.integer(0));
  Num isFirst = i == 0;
  Num sum = k.select(isFirst, k.real(0), read(k.f32(), Sum, before));
  Num seen = k.select(isFirst, r.small(0), read(k.i32(), Equal, before));
  Num token = tokenAt(at32(k, r.scratch, at(Listed) + i), target - sum, seen);
  k.when(r.lane == 0, [&] { k.store(token, slots, row); });
}

void Choice::run(Num slots) {
  Num bad = firstBadPart();
  k.when(
      bad < k.convert(r.parts, k.i32()), [&] { reportBad(bad, slots); },
      [&] {
        findLargest();
        // So many parts have one of the top at least.
        Num isAll = r.width == topK;
        Num least = k.choose(
            isAll | (r.parts < topK), [&] { return r.small(kNoKey + 1); },
            [&] {
              return lastKey(r.parts, topK, r.small(kNoKey + 1), [&](Num part) {
                return r.keyOf(largestOf(part));
              });
            });
        Num listed = list(least), all = listed * kSamplePart;
        auto keyAt = [&](Num i) { return keyInList(i); };
        Nums limits = either(
            k, isAll, [&]() -> Nums { return {r.small(kNoKey), r.small(0)}; },
            [&]() -> Nums {
              Num key = lastKey(all, topK, least, keyAt);
              Num above = countAtLeast(all, key + 1, keyAt);
              return {key, k.convert(topK, k.i32()) - above};
            });
        threshold = limits[0], equals = limits[1];
        weigh(listed);
        k.when(k.thread() / 32 == 0, [&] { addUp(listed); });
        k.barrier();
        k.when(k.thread() / 32 == 0, [&] { pick(listed, slots); });
      });
  k.barrier(); // before the next row
}

std::pair<std::string, std::string> moe::cuda::sampleKernelNames(Type element) {
  std::string type = typeName(element);
  return {"moe_sample_parts_" + type, "moe_sample_choose_" + type};
}

void moe::cuda::emitSample(ModuleOp kernels, Type element) {
  MLIRContext *context = kernels.getContext();
  Type pointer = CudaBuilder::global(context);
  Type i64 = IntegerType::get(context, 64), f32 = Float32Type::get(context);
  auto [parts, choose] = sampleKernelNames(element);
  SmallVector<Type> types = {pointer, i64, i64, i64, pointer};
  CudaBuilder::kernel(
      kernels, parts, types, kLayerThreads, 0,
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Rows r(k, element, arguments);
        forEachWarp(k, arguments[3] * r.parts, [&](Num i) {
          Num row = i / r.parts, part = i % r.parts;
          Num top = k.real(-INFINITY), isBad = r.lane < k.integer(0);
          for (int64_t j = 0; j < kOfLane; ++j) {
            Num place = part * kSamplePart + r.lane + 32 * j;
            Num x = k.choose(
                place < r.width, [&] { return r.read(row, place); },
                [&] { return k.real(-INFINITY); });
            isBad = isBad | ((x == x) == isBad.like(0));
            top = k.max(x, top);
          }
          top = warpMax(k, top);
          Num bad = k.ballot(isBad);
          top = k.select(bad == bad.like(0), top, k.real(NAN));
          k.when(r.lane == 0, [&] {
            k.store(top, r.scratch, r.words(row, Choice::Largest) + part);
          });
        });
      });
  types.append({i64, f32, pointer});
  CudaBuilder::kernel(kernels, choose, types, kLayerThreads, 4 * kWarps,
                      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
                        Rows r(k, element, arguments);
                        forEachBlock(k, arguments[3], [&](Num row) {
                          Choice choice{r, k, row, arguments[5], arguments[6]};
                          choice.run(arguments[7]);
                        });
                      });
}
