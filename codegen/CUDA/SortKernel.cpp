// Which slots an expert has, without atomics: the order must not depend on
// which thread comes first.
#include "codegen/CUDA/CudaBuilder.h"
#include "codegen/CUDA/LayerKernels.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
using Nums = KernelBuilder::Nums;
constexpr int64_t kWarps = kLayerThreads / 32;

/// One block. Every warp has every kWarps-th expert and looks at all slots, 32
/// at a time.
struct Sort {
  CudaBuilder &k;
  int64_t experts, entries;
  Num ids, table, slots, lane, warp;

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

  /// The expert of a slot, or -1.
  Num expertOf(Num slot);
  /// Calls `body(slot, before)` where the slot is one of `expert`, with the
  /// number of its slots that come before; returns how many there are.
  Num visit(Num expert, llvm::function_ref<void(Num, Num)> body);
  void forExperts(llvm::function_ref<void(Num)> body);
  /// From the counts in `counts` where each expert begins, there and in
  /// `offsets`, and the list of those that have slots. One warp.
  void scan(Num counts, Num offsets, Num active, Num activeCount);
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

Num Sort::visit(Num expert, llvm::function_ref<void(Num, Num)> body) {
  Num below = k.lanesBelow(lane);
  return k.loop(k.integer(0), slots, 32, {k.integer(0)},
                [&](Num first, ArrayRef<Num> carried) -> Nums {
                  Num slot = first + lane;
                  Num mine = expertOf(slot) == expert;
                  Num bits = k.ballot(mine);
                  Num before = carried[0] +
                               k.convert(k.countBits(bits & below), k.i64());
                  k.when(mine, [&] { body(slot, before); });
                  return {carried[0] + k.convert(k.countBits(bits), k.i64())};
                })[0];
}

void Sort::forExperts(llvm::function_ref<void(Num)> body) {
  k.loop(warp, k.integer(experts), kWarps, body);
}

void Sort::scan(Num counts, Num offsets, Num active, Num activeCount) {
  Num zero = k.integer(0), below = k.lanesBelow(lane);
  Nums ends = k.loop(
      zero, k.integer(experts), 32, {zero, zero},
      [&](Num first, ArrayRef<Num> carried) -> Nums {
        Num expert = first + lane;
        Num inside = expert < k.integer(experts);
        Num count = k.choose(
            inside, [&] { return read(counts, expert); }, [&] { return zero; });
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
          write(begin, counts, expert);
          write(begin, offsets, expert);
        });
        k.when(has, [&] {
          Num at = carried[1] + k.convert(k.countBits(bits & below), k.i64());
          write(expert, active, at);
        });
        return {carried[0] + ofWarp(sum, k.integer(31)),
                carried[1] + k.convert(k.countBits(bits), k.i64())};
      });
  k.when(lane == zero, [&] {
    write(ends[0], offsets, k.integer(experts));
    write(ends[1], activeCount, zero);
  });
}

void moe::cuda::emitSort(ModuleOp module, StringRef name,
                         const LayerShape &shape, int64_t entries) {
  MLIRContext *context = module.getContext();
  Type pointer = CudaBuilder::global(context);
  SmallVector<Type> types(8, pointer);
  types[2] = IntegerType::get(context, 32);
  CudaBuilder::kernel(
      module, name, types, kLayerThreads, shape.experts * 4,
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num order = arguments[4], place = arguments[5];
        Num slots = k.convert(arguments[2], k.i64()) * shape.topK;
        Sort sort = {k,     shape.experts, entries, arguments[0], arguments[1],
                     slots, k.lane(),      k.warp()};
        Num counts = k.shared(0), zero = k.integer(0);
        sort.forExperts([&](Num expert) {
          Num count = sort.visit(expert, [](Num, Num) {});
          k.when(sort.lane == zero, [&] { sort.write(count, counts, expert); });
        });
        k.barrier();
        k.when(sort.warp == zero, [&] {
          sort.scan(counts, arguments[3], arguments[6], arguments[7]);
        });
        k.barrier();
        sort.forExperts([&](Num expert) {
          Num begin = sort.read(counts, expert);
          sort.visit(expert, [&](Num slot, Num before) {
            sort.write(slot, order, begin + before);
            sort.write(begin + before, place, slot);
          });
        });
        k.loop(k.thread(), slots, kLayerThreads, [&](Num slot) {
          k.when(sort.expertOf(slot) < zero,
                 [&] { sort.write(k.integer(-1), place, slot); });
        });
      });
}
