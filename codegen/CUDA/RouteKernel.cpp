#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/OpWriter.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Elements = OpWriter::Elements;
using Nums = KernelBuilder::Nums;

/// Experts of a lane, and groups, are registers.
static constexpr int64_t kMostExperts = 1024, kMostGroups = 32;

namespace {
/// A warp has a token; lane i its experts i, i + 32..., and its choices i, i +
/// 32...
struct Route {
  CudaBuilder &k;
  OpWriter &w;
  moert::RouteOp op;
  int64_t experts, choices;
  Num lane; ///< i32
  OpWriter::Memory logits, bias, ids, weights;
  std::optional<OpWriter::Size> count;

  Num expert(size_t r) { return lane + int64_t(32 * r); }
  Num small(int64_t value) { return lane.like(value); }
  bool late(moert::Score score) {
    return op.getSelectFirst() && op.getScore() == score;
  }
  bool early(moert::Score score) {
    return !op.getSelectFirst() && op.getScore() == score;
  }
  /// What the parts of all lanes come to.
  Num sum(ArrayRef<Num> parts);
  void softmax(Nums &values, llvm::function_ref<Num(size_t)> isOne);
  void limitGroups(Nums &choice);
  /// The first of the experts of all lanes, taken out of `choice`.
  Num take(Nums &choice);
  void token(Num t);
};
} // namespace

Num Route::sum(ArrayRef<Num> parts) {
  Num all = parts[0];
  for (Num part : parts.drop_front())
    all = all + part;
  return k.warpSum(all);
}

void Route::softmax(Nums &values, llvm::function_ref<Num(size_t)> isOne) {
  Num top = k.real(-INFINITY), zero = k.real(0);
  for (auto [r, value] : llvm::enumerate(values))
    top = k.max(k.select(isOne(r), value, k.real(-INFINITY)), top);
  top = warpMax(k, top);
  for (auto [r, value] : llvm::enumerate(values))
    value = k.select(isOne(r), cuda::exp(k, value - top), zero);
  Num all = sum(values);
  for (Num &value : values)
    value = value / all;
}

void Route::limitGroups(Nums &choice) {
  int64_t groups = op.getGroups(), members = experts / groups;
  Num lowest = k.real(-INFINITY);
  Nums ranks;
  for (int64_t g = 0; g < groups; ++g) {
    // The best two, of the lane and then of the warp.
    Num best = lowest, next = lowest;
    auto add = [&](Num one, Num two) {
      Num less = k.min(one, best);
      best = k.max(one, best);
      next = k.max(k.max(two, next), less);
    };
    for (auto [r, value] : llvm::enumerate(choice))
      add(k.select(expert(r) / members == small(g), value, lowest), lowest);
    for (int64_t step : {16, 8, 4, 2, 1}) {
      Num one = k.shuffle(best, small(step), moegpu::ShuffleKind::Xor);
      Num two = k.shuffle(next, small(step), moegpu::ShuffleKind::Xor);
      add(one, two);
    }
    ranks.push_back(op.getGroupTop2() && members > 1 ? best + next : best);
  }
  Nums kept;
  for (int64_t g = 0; g < groups; ++g) {
    Num ahead = small(0);
    for (int64_t o = 0; o < groups; ++o) {
      Num isAhead = ranks[g] < ranks[o];
      if (o < g)
        isAhead = isAhead | (ranks[o] == ranks[g]);
      ahead = ahead + k.select(isAhead, small(1), small(0));
    }
    kept.push_back(ahead < small(op.getTopGroups()));
  }
  Num mask = k.real(op.getGroupMaskValue().convertToDouble());
  for (auto [r, value] : llvm::enumerate(choice)) {
    Num isKept = kept[0] & (expert(r) / members == small(0));
    for (int64_t g = 1; g < groups; ++g)
      isKept = isKept | (kept[g] & (expert(r) / members == small(g)));
    value = k.select(isKept, value, mask);
  }
}

Num Route::take(Nums &choice) {
  bool high = op.getTiesHigh();
  Num none = small(high ? -1 : experts), best = k.real(-INFINITY), id = none;
  auto add = [&](Num value, Num e) {
    Num isFirst = high ? id < e : e < id;
    Num better = (best < value) | ((best == value) & isFirst);
    best = k.select(better, value, best);
    id = k.select(better, e, id);
  };
  for (auto [r, value] : llvm::enumerate(choice))
    add(value, expert(r));
  for (int64_t step : {16, 8, 4, 2, 1}) {
    Num value = k.shuffle(best, small(step), moegpu::ShuffleKind::Xor);
    Num e = k.shuffle(id, small(step), moegpu::ShuffleKind::Xor);
    add(value, e);
  }
  // Nothing but NaN is left.
  id = k.select(id == none, small(high ? 0 : experts - 1), id);
  for (auto [r, value] : llvm::enumerate(choice))
    value = k.select(expert(r) == id, k.real(NAN), value);
  return id;
}

void Route::token(Num t) {
  Num zero = k.real(0), first = t * experts;
  size_t parts = llvm::divideCeil(experts, 32);
  Num isBad = lane < small(0);
  Nums scores;
  auto isExpert = [&](size_t r) { return expert(r) < small(experts); };
  for (size_t r = 0; r < parts; ++r) {
    Num z = k.choose(
        isExpert(r),
        [&] {
          return w.readReal(logits, first + k.convert(expert(r), k.i64()));
        },
        [&] { return zero; });
    // Infinities are allowed: -inf is a masked expert.
    isBad = isBad | ((z == z) == isBad.like(0));
    scores.push_back(early(moert::Score::Sigmoid) ? sigmoid(k, z) : z);
  }
  Num bad = k.ballot(isBad);
  k.when((bad == bad.like(0)) == isBad.like(0),
         [&] { k.when(lane == small(0), [&] { w.fault(t); }); });
  if (early(moert::Score::Softmax))
    softmax(scores, isExpert);
  Nums choice = scores;
  if (op.getChoiceBias())
    for (size_t r = 0; r < parts; ++r)
      choice[r] = k.choose(
          isExpert(r),
          [&] {
            return scores[r] + w.readReal(bias, k.convert(expert(r), k.i64()));
          },
          [&] { return zero; });
  if (op.getGroups() > 0)
    limitGroups(choice);
  for (size_t r = 0; r < parts; ++r)
    choice[r] = k.select(isExpert(r), choice[r], k.real(NAN));
  // The choices, one after another.
  Nums chosen, values;
  for (int64_t from = 0; from < choices; from += 32) {
    Nums carried = choice;
    carried.append({small(-1), zero});
    carried =
        k.loop(k.integer(0), k.integer(std::min<int64_t>(32, choices - from)),
               1, carried, [&](Num j, ArrayRef<Num> now) {
                 Nums left(now.take_front(parts));
                 Num id = take(left), score = scores[0];
                 for (size_t r = 1; r < parts; ++r)
                   score = k.select(id / 32 == small(r), scores[r], score);
                 score = k.shuffle(score, id % 32, moegpu::ShuffleKind::Idx);
                 Num isMine = k.convert(lane, k.i64()) == j;
                 left.push_back(k.select(isMine, id, now[parts]));
                 left.push_back(k.select(isMine, score, now[parts + 1]));
                 return left;
               });
    values.push_back(carried.pop_back_val());
    chosen.push_back(carried.pop_back_val());
    choice = carried;
  }
  // Their weights.
  Num most = count ? k.convert(w.size(*count), k.i32()) : small(choices);
  auto isOne = [&](size_t c) { return expert(c) < most; };
  auto each = [&](llvm::function_ref<Num(size_t, Num)> change) {
    for (auto [c, value] : llvm::enumerate(values))
      value = k.select(isOne(c), change(c, value), zero);
  };
  auto divide = [&](Num by) {
    each([&](size_t, Num value) {
      return k.select(by == 0, zero, value / by); // leaves zeros
    });
  };
  each([&](size_t, Num value) {
    return late(moert::Score::Sigmoid) ? sigmoid(k, value) : value;
  });
  if (late(moert::Score::Softmax))
    softmax(values, isOne);
  if (op.getNormalize())
    divide(sum(values) + op.getNormEpsilon().convertToDouble());
  if (std::optional<APFloat> ratio = op.getSkipRatio()) {
    Num least = k.shuffle(values[0], small(0), moegpu::ShuffleKind::Idx) *
                ratio->convertToDouble();
    Num emptied = small(0);
    each([&](size_t c, Num value) {
      Num isLow = (small(0) < expert(c)) & isOne(c) & (value < least);
      emptied = emptied | k.ballot(isLow);
      chosen[c] = k.select(isLow, small(-1), chosen[c]);
      return k.select(isLow, zero, value);
    });
    if (op.getNormalize() || late(moert::Score::Softmax)) {
      Num all = sum(values);
      divide(k.select(emptied == small(0), k.real(1), all));
    }
  }
  double scale = op.getScale().convertToDouble();
  each([&](size_t, Num value) { return scale == 1 ? value : value * scale; });
  for (size_t c = 0; c < values.size(); ++c)
    k.when(expert(c) < small(choices), [&] {
      Num at = t * choices + k.convert(expert(c), k.i64());
      w.write(k.select(isOne(c), chosen[c], small(-1)), ids, at);
      w.writeReal(values[c], weights, at);
    });
}

MadeKernel moe::cuda::routeKernel(OpWriter &w, moert::RouteOp op) {
  auto logits = w.memory(op.getLogits(), Elements::Real, "memory of logits");
  OpWriter::Memory bias;
  if (op.getChoiceBias())
    bias = w.memory(op.getChoiceBias(), Elements::Real, "the choice bias");
  auto ids = w.memory(op.getOuts()[0], Elements::Integer, "memory of ids");
  auto weights = w.memory(op.getOuts()[1], Elements::Real, "memory of weights");
  std::optional<OpWriter::Size> count;
  if (op.getCount())
    count = w.number(op.getCount());
  if (w.isRefused())
    return std::nullopt;
  if (!logits.sizes[1].constant || !ids.sizes[1].constant)
    return w.refuse("the number of experts or choices is not constant");
  int64_t experts = *logits.sizes[1].constant, choices = *ids.sizes[1].constant;
  if (experts < 1 || experts > kMostExperts)
    return w.refuse("it has more than 1024 experts, or none");
  if (!ids.element.isInteger(32))
    return w.refuse("ids are not i32");
  if (op.getGroups() > kMostGroups)
    return w.refuse("it has more than 32 groups of experts");
  StringRef layer = op.getLayer().value_or("moe");
  w.takeFaults("a router logit of layer '%s' is not a number (token %lld)",
               layer);
  auto made = w.write("route", 0, [&](CudaBuilder &k) {
    Route route{
        k,      w,    op,  experts, choices, k.convert(k.lane(), k.i32()),
        logits, bias, ids, weights, count};
    forEachWarp(k, w.size(logits, 0), [&](Num t) { route.token(t); });
  });
  if (made && op.getCount())
    w.checkCount(op.getCount(), choices, layer);
  return made;
}
