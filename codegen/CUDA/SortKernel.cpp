// Which slots an expert has, and the inputs as the experts read them. The order
// must not depend on which thread comes first, so that numbers of slots are
// counted, and places follow from counts.
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/LayerKernels.h"
#include "codegen/CUDA/TileShapes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
using Nums = KernelBuilder::Nums;

/// One block. Each warp has a run of slots, and a count for every expert in
/// shared memory: of its slots first, then where the next of them goes.
struct Sort {
  CudaBuilder &k;
  int64_t experts, entries, warps;
  Num ids, table, slots, lane, warp, counts;

  Num read(Num base, Num index) {
    return k.convert(k.load(k.i32(), base, index), k.i64());
  }
  void write(Num value, Num base, Num index) {
    k.store(k.convert(value, k.i32()), base, index);
  }
  Num ofWarp(Num value, Num lane) {
    return k.convert(k.shuffle(k.convert(value, k.i32()),
                               k.convert(lane, k.i32()),
                               moegpu::ShuffleKind::Idx),
                     k.i64());
  }
  Num bitsOf(Num bits) { return k.convert(k.countBits(bits), k.i64()); }

  /// The expert of a slot, or -1.
  Num expertOf(Num slot);
  /// Calls `body(slot, expert)` for the warp's slots, 32 at a time and in
  /// order, and for a few behind the last.
  void forSlots(llvm::function_ref<void(Num, Num)> body);
  void count();
  /// From the counts where each expert begins, in `offsets`, and in place of
  /// the counts where each warp's slots of it do; the list of those that have
  /// slots. One warp.
  void scan(Num offsets, Num active, Num activeCount);
  /// Writes the list again, experts with many slots first.
  void order(Num slots, Num manyCount, Num active);
  static constexpr int64_t kMany = HopperShape::kSomeSlots + 1;
  void put(Num order, Num place);
  /// The lanes whose expert is this lane's, as bits.
  Num alike(Num expert);
};
} // namespace

Num Sort::expertOf(Num slot) {
  Num none = k.integer(-1);
  auto no = [&] { return none; };
  return k.choose(
      slot < slots,
      [&] {
        Num id = read(ids, slot);
        return k.choose((none < id) & (id < k.integer(entries)),
                        [&] {
                          // A table that names no expert names none.
                          Num expert = read(table, id);
                          return k.select(expert < k.integer(experts), expert,
                                          none);
                        },
                        no);
      },
      no);
}

void Sort::forSlots(llvm::function_ref<void(Num, Num)> body) {
  constexpr int64_t step = 32 * SortShape::kAhead;
  int64_t all = warps * step;
  Num run = (slots + k.integer(all - 1)) / all * step;
  Num begin = warp * run;
  k.loop(begin, k.min(begin + run, slots), step, [&](Num first) {
    // All reads are on their way before the first is waited for.
    Nums chosen;
    for (int64_t i = 0; i < SortShape::kAhead; ++i)
      chosen.push_back(expertOf(first + lane + 32 * i));
    for (int64_t i = 0; i < SortShape::kAhead; ++i)
      body(first + lane + 32 * i, chosen[i]);
  });
}

void Sort::count() {
  k.loop(k.thread(), k.integer(warps * experts), 32 * warps,
         [&](Num i) { k.store(k.word(0), counts, i); });
  k.barrier();
  forSlots([&](Num, Num expert) {
    k.when(k.integer(-1) < expert,
           [&] { k.atomicAdd(k.word(1), counts, warp * experts + expert); });
  });
}

void Sort::scan(Num offsets, Num active, Num activeCount) {
  Num zero = k.integer(0), below = k.lanesBelow(lane);
  Nums ends = k.loop(
      zero, k.integer(experts), 32, {zero, zero, zero},
      [&](Num first, ArrayRef<Num> carried) -> Nums {
        Num expert = first + lane;
        Num inside = expert < k.integer(experts);
        Num known = k.min(expert, k.integer(experts - 1));
        // Read at once, not one after the other.
        Nums own;
        for (int64_t w = 0; w < warps; ++w)
          own.push_back(read(counts, known + w * experts));
        Num count = zero;
        for (Num n : own)
          count = count + n;
        count = k.select(inside, count, zero);
        Num sum = count;
        for (int64_t step : {1, 2, 4, 8, 16}) {
          Num other = k.convert(k.shuffle(k.convert(sum, k.i32()),
                                          k.convert(k.integer(step), k.i32()),
                                          moegpu::ShuffleKind::Up),
                                k.i64());
          sum = sum + k.select(lane < k.integer(step), zero, other);
        }
        Num has = zero < count;
        Num bits = k.ballot(has);
        k.when(inside, [&] {
          Num begin = carried[0] + sum - count;
          write(begin, offsets, expert);
          Num at = begin;
          for (int64_t w = 0; w < warps; ++w) {
            write(at, counts, expert + w * experts);
            at = at + own[w];
          }
        });
        k.when(has, [&] {
          write(expert, active, carried[1] + bitsOf(bits & below));
        });
        return {carried[0] + ofWarp(sum, k.integer(31)),
                carried[1] + bitsOf(bits),
                carried[2] + bitsOf(k.ballot(k.integer(kMany - 1) < count))};
      });
  k.when(lane == zero, [&] {
    write(ends[0], offsets, k.integer(experts));
    write(ends[1], activeCount, zero);
  });
  k.when((zero < ends[2]) & (ends[2] < ends[1]),
         [&] { order(ends[0], ends[2], active); });
}

/// The first warp's counts are where experts begin by now.
void Sort::order(Num slots, Num manyCount, Num active) {
  Num below = k.lanesBelow(lane), zero = k.integer(0);
  // Other lanes wrote them, and what is written again.
  moegpu::NamedBarrierOp::create(k.b, k.loc, k.word(1).value, 32);
  k.loop(zero, k.integer(experts), 32, {zero, manyCount},
         [&](Num first, ArrayRef<Num> carried) -> Nums {
           Num expert = first + lane, last = k.integer(experts - 1);
           Num begin = read(counts, k.min(expert, last));
           Num next = read(counts, k.min(expert + 1, last));
           Num end = k.select(expert < last, next, slots);
           // Nobody has slots behind the last expert.
           Num count = k.select(last < expert, zero, end - begin);
           auto put = [&](Num is, Num at) {
             Num bits = k.ballot(is);
             k.when(is,
                    [&] { write(expert, active, at + bitsOf(bits & below)); });
             return at + bitsOf(bits);
           };
           Num isMany = k.integer(kMany - 1) < count;
           Num isSome = (zero < count) & (count < k.integer(kMany));
           return {put(isMany, carried[0]), put(isSome, carried[1])};
         });
}

Num Sort::alike(Num expert) {
  Num number = k.convert(expert + k.integer(1), k.i32()), same = k.word(~0u);
  for (unsigned bit = 0; bit < llvm::Log2_64_Ceil(experts + 1); ++bit) {
    Num isSet =
        (k.shift(number, -static_cast<int64_t>(bit)) & k.word(1)) == k.word(1);
    Num set = k.ballot(isSet);
    same = same & k.exclusiveOr(set, k.select(isSet, k.word(0), k.word(~0u)));
  }
  return same;
}

void Sort::put(Num order, Num place) {
  Num below = k.lanesBelow(lane), none = k.integer(-1);
  forSlots([&](Num slot, Num expert) {
    Num same = alike(expert), before = same & below;
    // The first of them takes places for all.
    Num isFirst = (before == k.word(0)) & (none < expert);
    Num taken = k.choose(
        isFirst,
        [&] {
          return k.atomicAdd(k.countBits(same), counts,
                             warp * experts + expert);
        },
        [&] { return k.word(0); });
    Num lowest = same & (k.word(0) - same);
    Num at = ofWarp(k.convert(taken, k.i64()), bitsOf(lowest - k.word(1))) +
             bitsOf(before);
    k.when(slot < slots, [&] {
      Num has = none < expert;
      k.when(has, [&] { write(slot, order, at); });
      write(k.select(has, at, none), place, slot);
    });
  });
}

// One block sorts, and all others round meanwhile.
void moe::cuda::emitPrepare(ModuleOp module, StringRef name,
                            const LayerShape &shape, int64_t entries) {
  MLIRContext *context = module.getContext();
  Type pointer = CudaBuilder::global(context);
  SmallVector<Type> types(10, pointer);
  types[2] = IntegerType::get(context, 32);
  int64_t warps = SortShape::warps(shape.experts), threads = 32 * warps;
  CudaBuilder::kernel(
      module, name, types, static_cast<int32_t>(threads),
      4 * warps * shape.experts, [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num tokens = k.convert(arguments[2], k.i64()), zero = k.integer(0);
        Num block = k.block(), others = k.grid() - 1;
        k.when(block == zero, [&] {
          Sort sort = {k,
                       shape.experts,
                       entries,
                       warps,
                       arguments[0],
                       arguments[1],
                       tokens * shape.topK,
                       k.lane(),
                       k.warp(),
                       k.shared(0)};
          sort.count();
          k.barrier();
          k.when(sort.warp == zero,
                 [&] { sort.scan(arguments[3], arguments[6], arguments[7]); });
          k.barrier();
          sort.put(arguments[4], arguments[5]);
        });
        Num isAlone = others == zero;
        k.when(isAlone | (zero < block), [&] {
          Num own = k.select(isAlone, zero, block - 1);
          roundRows(k, shape, arguments[8], tokens, arguments[9],
                    own * threads + k.thread(),
                    k.max(others, k.integer(1)) * threads);
        });
      });
}
