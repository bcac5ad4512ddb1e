// What entries without matrices add: copies of tokens and constants.
#include "passes/Convert/MoEConverter.h"
#include "passes/Convert/ScalarCode.h"

using namespace mlir;
using namespace moe;

/// Element `index` (of a vector, or of a matrix) of a slice of `bank`.
static Value elementOf(Code c, Value bank, SliceAttr slice, ValueRange index) {
  SmallVector<Value> places(index);
  if (slice.getTransposed() && places.size() == 2)
    std::swap(places[0], places[1]);
  ArrayRef<int64_t> ranges = slice.getRanges();
  SmallVector<Value> indices;
  size_t next = 0;
  int64_t rank = cast<RankedTensorType>(bank.getType()).getRank();
  for (int64_t d = 0; d < rank; ++d) {
    bool selected = 3 * d < static_cast<int64_t>(ranges.size());
    int64_t start = selected ? ranges[3 * d] : 0;
    int64_t step = selected ? ranges[3 * d + 2] : 1;
    if (step == 0) {
      indices.push_back(c.index(start));
      continue;
    }
    Value scaled =
        arith::MulIOp::create(c.b, c.loc, places[next++], c.index(step));
    indices.push_back(c.plus(scaled, c.index(start)));
  }
  return c.at(bank, indices);
}

Value MoEConverter::weightOf(Operation *at, SliceAttr slice) {
  auto bank = symbols.lookup<BankOp>(slice.getBank().getValue());
  return WeightOp::create(builder, at->getLoc(), bank.getTensorType(),
                          slice.getBank());
}

/// Whether slot j of a token chose `entry`.
static Value isChosen(Code c, Value ids, Value t, Value j, int64_t entry) {
  Value id = tensor::ExtractOp::create(c.b, c.loc, ids, ValueRange{t, j});
  Value wanted = arith::ConstantOp::create(
      c.b, c.loc, c.b.getIntegerAttr(id.getType(), entry));
  return c.is(arith::CmpIPredicate::eq, id, wanted);
}

Value MoEConverter::nullExperts(ApplyOp apply, ArrayRef<NullEntry> nulls,
                                int64_t outputs) {
  builder.setInsertionPoint(apply);
  Location loc = apply.getLoc();
  Value x = apply.getTokens()[0], ids = apply.getIds()[0];
  Value weights = apply.getWeights()[0];
  int64_t slots = cast<RankedTensorType>(ids.getType()).getDimSize(1);
  int64_t features = cast<RankedTensorType>(x.getType()).getDimSize(1);
  Type type = realTypeOf(apply.getResult(0).getType());
  Code c(builder, loc, type);
  // Of each entry: its vector, and how much of the token it takes.
  struct Parts {
    Value value, share;
  };
  SmallVector<Parts> parts;
  for (const NullEntry &null : nulls) {
    NullExpertOp entry = null.entry;
    Parts own;
    if (entry.getKind() == NullKind::Constant)
      own.value = weightOf(apply, *entry.getValue());
    if (auto mix = entry.getMix()) {
      Value matrix = weightOf(apply, *mix);
      Value init = destination(builder, loc, x, 1, type);
      // The first of a softmax over two.
      own.share = c.fill(init, [&](Code c, ValueRange i) {
        Value gap = c.fold(
            c.index(features), c.number(0), [&](Code c, Value n, Value sum) {
              Value first = elementOf(c, matrix, *mix, {c.index(0), n});
              Value second = elementOf(c, matrix, *mix, {c.index(1), n});
              return c.add(sum,
                           c.mul(c.sub(first, second), c.at(x, {i[0], n})));
            });
        return c.sigmoid(gap);
      });
    }
    parts.push_back(own);
  }
  Value init = destination(builder, loc, x, outputs, type);
  return c.fill(init, [&](Code c, ValueRange i) {
    return c.fold(c.index(slots), c.number(0), [&](Code c, Value j, Value sum) {
      Value w = c.at(weights, {i[0], j});
      for (auto [null, own] : llvm::zip(nulls, parts)) {
        NullExpertOp entry = null.entry;
        Value y;
        if (own.value)
          y = elementOf(c, own.value, *entry.getValue(), i[1]);
        if (own.share) {
          Value share = c.at(own.share, {i[0], c.index(0)});
          y = c.add(c.mul(share, c.at(x, i)),
                    c.mul(c.sub(c.number(1), share), y));
        }
        if (!y)
          y = c.at(x, i);
        Value chosen =
            arith::ConstantOp::create(c.b, loc, c.b.getBoolAttr(false));
        for (int64_t column : null.columns)
          chosen = c.either(chosen, isChosen(c, ids, i[0], j, column));
        sum = c.select(chosen, c.add(sum, c.mul(w, y)), sum);
      }
      return sum;
    });
  });
}
